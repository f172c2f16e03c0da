//! Where the jobs of a build would go.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use tombolo_api::{Plan, PlanBuild};

use super::authorization::{InProject, Viewer};
use super::build::{check_job_file, check_source, read_job_file};
use super::error::Problems;
use super::extract::Json;
use super::{Application, Error};
use crate::driver::ApplyError;

/// Where the jobs of a job file would go now
///
/// Nothing is submitted, and nothing changes. The same code decides as when it is.
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/plan", tag = "builds", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(("project" = String, Path, description = "The project's name")),
    request_body = PlanBuild,
    responses((status = 200, body = Plan), Problems)
)]
pub(super) async fn plan_build(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Json(request): Json<PlanBuild>,
) -> Result<Answer<Plan>, Error> {
    check_job_file(&request.job_file)?;
    if let Some(source) = request.source {
        check_source(&state, &access.project, source).await?;
    }
    let definition = read_job_file(&state, &access.project, request.source, request.job_file).await?;
    let project = access.project.id;
    let planned = state
        .handle
        .query(move |control| control.plan(project, definition))
        .await?;
    let planned = planned.map_err(ApplyError::Refused)?;
    let jobs = planned.into_iter().map(Into::into).collect();
    Ok(Answer(Plan { jobs }))
}
