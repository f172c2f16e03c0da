//! Caches.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use serde::Deserialize;
use tombolo_api::problem::Code;
use tombolo_api::{Cache, CacheList, limit};
use tombolo_core::control::{Command, Reply};
use tombolo_core::name::JobName;

use super::authorization::{Developer, InProject, Viewer};
use super::error::Problems;
use super::extract::Query;
use super::{Application, Error, unexpected_reply};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    job: Option<JobName>,
    branch: Option<String>,
}

/// The caches of a project
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/caches", tag = "caches", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(("project" = String, Path, description = "The project's name")),
    responses((status = 200, body = CacheList), Problems)
)]
pub(super) async fn list_caches(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
) -> Result<Answer<CacheList>, Error> {
    let project = access.project.id;
    let asked = state
        .handle
        .query(move |control| control.caches(project).map(Cache::from).collect());
    Ok(Answer(sorted(asked.await?)))
}

/// Clears caches of a project
///
/// All of them, or those of one job, or of one branch. The answer says which they were. Jobs that run may leave new ones.
#[utoipa::path(
    delete, path = "/api/v1/projects/{project}/caches", tag = "caches", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("developer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("job" = Option<String>, Query, description = "Only those of this job"),
        ("branch" = Option<String>, Query, description = "Only those of this branch; empty for those of builds that name none"),
    ),
    responses((status = 200, body = CacheList), Problems)
)]
pub(super) async fn clear_caches(
    State(state): State<Arc<Application>>,
    access: InProject<Developer>,
    Query(which): Query<Which>,
) -> Result<Answer<CacheList>, Error> {
    if which
        .branch
        .as_ref()
        .is_some_and(|branch| branch.len() > limit::TEXT_BYTES)
    {
        let detail = format!("query: `branch` has more than {} bytes", limit::TEXT_BYTES);
        return Err(Error::new(Code::InvalidRequest, detail));
    }
    let command = Command::ClearCaches {
        project: access.project.id,
        job: which.job,
        branch: which.branch,
    };
    match state.handle.apply(command).await? {
        Reply::Cleared(cleared) => Ok(Answer(sorted(cleared.iter().map(Cache::from).collect()))),
        reply => Err(unexpected_reply(&reply)),
    }
}

fn sorted(mut caches: Vec<Cache>) -> CacheList {
    caches.sort_by(|one, other| {
        let key = |cache: &Cache| (cache.job.clone(), cache.branch.clone(), cache.cluster.clone());
        key(one).cmp(&key(other))
    });
    CacheList { caches }
}
