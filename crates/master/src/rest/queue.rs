//! The jobs of a project that wait.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use tombolo_api::CancelledQueue;
use tombolo_core::control::{Command, Refusal, Reply};
use tombolo_core::id::BuildId;

use super::authorization::{Developer, InProject};
use super::error::Problems;
use super::{Application, Error, unexpected_reply};
use crate::driver::ApplyError;

/// Cancels the jobs of a project that wait
///
/// Those of all its builds that wait for a cluster, for their parents or for their next attempt end as `killed`; what a cluster has goes on, and so do jobs of `after` in
/// builds that had anything else to do. What is submitted meanwhile may be left out.
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/queue/cancel", tag = "builds", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("developer")), ("x-tombolo-reach" = json!("project"))),
    params(("project" = String, Path, description = "The project's name")),
    responses((status = 200, body = CancelledQueue), Problems)
)]
pub(super) async fn cancel_queue(
    State(state): State<Arc<Application>>,
    access: InProject<Developer>,
) -> Result<Answer<CancelledQueue>, Error> {
    let project = access.project.id;
    let asked = state.handle.query(move |control| {
        let own = control.builds().filter(|build| build.project == project);
        own.map(|build| build.id).collect::<Vec<BuildId>>()
    });
    let mut cancelled = CancelledQueue { jobs: 0, builds: 0 };
    // A build at a time: what is written at once has a bound, and others have their turn in between.
    for build in asked.await? {
        match state.handle.apply(Command::CancelQueued { build }).await {
            Ok(Reply::Cancelled(jobs)) => {
                cancelled.jobs += jobs;
                cancelled.builds += u64::from(jobs > 0);
            }
            Ok(reply) => return Err(unexpected_reply(&reply)),
            // It has ended meanwhile.
            Err(ApplyError::Refused(Refusal::NotFound { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Answer(cancelled))
}
