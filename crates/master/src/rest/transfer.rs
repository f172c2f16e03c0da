//! Transfers.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use tombolo_api::{Input, Transfer, TransferList, TransferState};
use tombolo_core::control::event::{Recipient, TransferProgress};
use tombolo_core::control::record::{JobNode, JobStatus};
use tombolo_core::id::AttemptId;
use tombolo_core::name::JobName;

use super::authorization::{InProject, Viewer};
use super::build::{BuildPath, find_build, read_jobs};
use super::error::Problems;
use super::extract::Path;
use super::view::brought;
use super::{Application, Error};
use crate::driver::Moving;

/// How the inputs of a build's jobs come
///
/// Those that are there, with the ways that were considered, and those that are on their way.
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}/transfers", tag = "builds", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
    ),
    responses((status = 200, body = TransferList), Problems)
)]
pub(super) async fn list_transfers(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path(path): Path<BuildPath>,
) -> Result<Answer<TransferList>, Error> {
    let build = find_build(&state, &access.project, path.number).await?;
    let jobs = read_jobs(&state, build.id).await?;
    let mut transfers = Vec::new();
    for (node, status) in &jobs {
        let ended = status.as_ended();
        let done = brought(&ended).iter().map(|receipt| {
            let input = Input::from(receipt.clone());
            done(build.number, node, &ended, input)
        });
        transfers.extend(done);
        // An attempt that runs has all that it wanted.
        if status.state.terminal().is_none() && status.inputs.is_empty() {
            let attempt = AttemptId {
                job: node.id,
                epoch: status.epoch,
            };
            let mut moving = state.handle.transfers(attempt);
            moving.sort_by(|one, other| one.progress.parent.cmp(&other.progress.parent));
            transfers.extend(moving.into_iter().map(|moving| on_its_way(build.number, node, moving)));
        }
    }
    Ok(Answer(TransferList { transfers }))
}

fn id(build: u64, job: &JobName, parent: Option<&JobName>) -> String {
    match parent {
        Some(parent) => format!("{build}:{job}:{parent}"),
        None => format!("{build}:{job}"),
    }
}

fn done(build: u64, node: &JobNode, status: &JobStatus, input: Input) -> Transfer {
    Transfer {
        id: match input.cache {
            true => format!("{build}:{}:@cache", node.name),
            false => id(build, &node.name, input.parent.as_ref()),
        },
        job: node.name.clone(),
        parent: input.parent,
        cache: input.cache,
        state: match input.failure {
            Some(_) => TransferState::Failed,
            None => TransferState::Done,
        },
        from: input.from,
        to: status.cluster.clone(),
        route: input.route,
        bytes: input.bytes,
        done_bytes: if input.failure.is_some() { 0 } else { input.bytes },
        moved_bytes: input.moved_bytes,
        milliseconds: input.milliseconds,
        bytes_per_second: match input.failure {
            Some(_) => None,
            None => average(input.bytes, input.milliseconds),
        },
        milliseconds_left: None,
        digest: Some(input.digest),
        routes: input.routes,
        prefetched: input.prefetched,
        failure: input.failure,
    }
}

/// What the user waited for, however little of it crossed the link.
fn average(bytes: u64, milliseconds: u64) -> Option<u64> {
    u64::try_from(u128::from(bytes) * 1_000 / u128::from(milliseconds.max(1))).ok()
}

/// How long the rest takes, in milliseconds.
pub(super) fn milliseconds_left(progress: &TransferProgress, bytes_per_second: Option<u64>) -> Option<u64> {
    let rate = u128::from(bytes_per_second.filter(|rate| *rate > 0)?);
    let left = u128::from(progress.bytes.saturating_sub(progress.done_bytes));
    u64::try_from((left * 1_000).div_ceil(rate)).ok()
}

fn on_its_way(build: u64, node: &JobNode, moving: Moving) -> Transfer {
    let bytes_per_second = moving.bytes_per_second();
    let progress = moving.progress;
    Transfer {
        id: id(build, &node.name, progress.parent.as_ref()),
        job: node.name.clone(),
        parent: progress.parent.clone(),
        cache: false,
        state: TransferState::Moving,
        from: progress.from.clone(),
        to: Some(moving.to),
        route: progress.route.into(),
        bytes: progress.bytes,
        done_bytes: progress.done_bytes,
        moved_bytes: progress.moved_bytes,
        milliseconds: progress.milliseconds,
        bytes_per_second,
        milliseconds_left: milliseconds_left(&progress, bytes_per_second),
        digest: None,
        routes: Vec::new(),
        prefetched: matches!(progress.recipient, Recipient::Children(_)),
        failure: None,
    }
}
