//! What projects may have of the clusters. Only who manages the whole installation can change it.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use serde::Deserialize;
use tombolo_api::problem::Code;
use tombolo_api::{Limits, Project, Share};
use tombolo_core::control::{Command, Reply};
use tombolo_core::name::ProjectName;
use tombolo_core::share;

use super::authorization::{Admin, Everywhere};
use super::error::Problems;
use super::extract::{Json, Path};
use super::{Application, Error, unexpected_reply, view};

#[derive(Deserialize)]
pub(super) struct ProjectPath {
    project: String,
}

/// Says what a project may have of the clusters
#[utoipa::path(
    put, path = "/api/v1/projects/{project}/share", tag = "projects", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("everywhere"))),
    params(("project" = String, Path, description = "The project's name")),
    request_body = Share,
    responses((status = 200, body = Project), Problems)
)]
pub(super) async fn set_share(
    State(state): State<Arc<Application>>,
    _: Everywhere<Admin>,
    Path(path): Path<ProjectPath>,
    Json(request): Json<Share>,
) -> Result<Answer<Project>, Error> {
    check(&request)?;
    let name = ProjectName::new(&path.project).map_err(|error| Error::not_found("project", error.name))?;
    let lookup = name.clone();
    let found = state
        .handle
        .query(move |control| control.project(&lookup).map(|project| project.id));
    let id = found.await?.ok_or_else(|| Error::not_found("project", &name))?;
    let share = share::Share::try_from(request).map_err(|error| {
        let error = Error::new(Code::InvalidRequest, format_args!("body: `clusters`: {error}"));
        error.with_hint("each is a requirement as in `cluster.selector`, such as `region=eu`; all of them must hold")
    })?;
    match state.handle.apply(Command::SetShare { id, share }).await? {
        Reply::Project(project) => Ok(Answer(view::project(&project))),
        reply => Err(unexpected_reply(&reply)),
    }
}

fn check(share: &Share) -> Result<(), Error> {
    if !(1..=share::Share::MAX_WEIGHT).contains(&share.weight) {
        let error = Error::new(Code::InvalidRequest, format_args!("body: `weight` is {}", share.weight));
        return Err(error.with_hint(format_args!("give 1 to {}; 1 is usual", share::Share::MAX_WEIGHT)));
    }
    let nothing = |limits: &Limits| {
        let limits = [
            ("jobs", limits.jobs.map(u64::from)),
            ("cpu_milli", limits.cpu_milli),
            ("memory_bytes", limits.memory_bytes),
        ];
        limits
            .into_iter()
            .find(|(_, limit)| *limit == Some(0))
            .map(|(name, _)| name)
    };
    for (field, limits) in [("limits", &share.limits), ("build_limits", &share.build_limits)] {
        if let Some(limit) = nothing(limits) {
            let detail = format!("body: `{field}.{limit}` is 0: no job could ever run");
            let error = Error::new(Code::InvalidRequest, detail);
            return Err(error.with_hint("give 1 or more; `null` lifts the limit"));
        }
    }
    Ok(())
}
