//! Projects.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use tombolo_api::problem::Code;
use tombolo_api::{ChangeProject, CreateProject, GoingBuild, Project, ProjectList, RetentionPlan};
use tombolo_core::access::Role;
use tombolo_core::control::{Command, Reply};
use tombolo_core::id::ProjectId;
use tombolo_core::retention::Policy;

use super::authorization::{Admin, Everywhere, InProject, Somewhere, Viewer};
use super::error::Problems;
use super::extract::Json;
use super::{Application, Error, unexpected_reply, view};

/// All projects that the caller may see
#[utoipa::path(
    get, path = "/api/v1/projects", tag = "projects", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("somewhere"))),
    responses((status = 200, body = ProjectList), Problems)
)]
pub(super) async fn list_projects(
    State(state): State<Arc<Application>>,
    access: Somewhere<Viewer>,
) -> Result<Answer<ProjectList>, Error> {
    let right = access.caller.right;
    let projects = state.handle.query(move |control| {
        let visible = control
            .projects()
            .filter(|project| right.permits(Role::Viewer, Some(project.id)));
        visible.map(view::project).collect()
    });
    Ok(Answer(ProjectList {
        projects: projects.await?,
    }))
}

/// Makes a project
#[utoipa::path(
    post, path = "/api/v1/projects", tag = "projects", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("everywhere"))),
    request_body = CreateProject,
    responses((status = 201, body = Project), Problems)
)]
pub(super) async fn create_project(
    State(state): State<Arc<Application>>,
    _: Everywhere<Admin>,
    Json(request): Json<CreateProject>,
) -> Result<(StatusCode, Answer<Project>), Error> {
    let command = Command::CreateProject {
        id: ProjectId::new(state.fresh_id()),
        name: request.name,
    };
    match state.handle.apply(command).await? {
        Reply::Project(project) => Ok((StatusCode::CREATED, Answer(view::project(&project)))),
        reply => Err(unexpected_reply(&reply)),
    }
}

/// One project
#[utoipa::path(
    get, path = "/api/v1/projects/{project}", tag = "projects", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(("project" = String, Path, description = "The project's name")),
    responses((status = 200, body = Project), Problems)
)]
pub(super) async fn show_project(access: InProject<Viewer>) -> Answer<Project> {
    Answer(view::project(&access.project))
}

/// Says what of a project's outputs is kept
#[utoipa::path(
    patch, path = "/api/v1/projects/{project}", tag = "projects", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("project"))),
    params(("project" = String, Path, description = "The project's name")),
    request_body = ChangeProject,
    responses((status = 200, body = Project), Problems)
)]
pub(super) async fn change_project(
    State(state): State<Arc<Application>>,
    access: InProject<Admin>,
    Json(request): Json<ChangeProject>,
) -> Result<Answer<Project>, Error> {
    let retention: Option<Policy> = request.retention.map(Into::into);
    if let Some(limit) = retention.and_then(|policy| policy.limits_of_nothing().next()) {
        let error = Error::new(
            Code::InvalidRequest,
            format_args!("body: `retention.{limit}` is 0: all outputs would go"),
        );
        return Err(error.with_hint("give 1 or more; `null` lifts the limit"));
    }
    let command = Command::SetRetention {
        id: access.project.id,
        retention,
    };
    match state.handle.apply(command).await? {
        Reply::Project(project) => Ok(Answer(view::project(&project))),
        reply => Err(unexpected_reply(&reply)),
    }
}

/// Which builds' outputs would go now
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/retention/plan", tag = "projects", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(("project" = String, Path, description = "The project's name")),
    responses((status = 200, body = RetentionPlan), Problems)
)]
pub(super) async fn plan_retention(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
) -> Result<Answer<RetentionPlan>, Error> {
    let policy = state.retention.policy(&access.project);
    let going = state.retention.plan(access.project.id, policy).await?;
    Ok(Answer(RetentionPlan {
        retention: policy.into(),
        bytes: going.iter().map(|kept| kept.bytes).sum(),
        builds: going
            .into_iter()
            .map(|kept| GoingBuild {
                number: kept.build.number,
                ended_at: kept.build.ended_at.map(Into::into),
                bytes: kept.bytes,
            })
            .collect(),
    }))
}

/// Removes a project with all that belongs to it
///
/// Refused while one of its builds runs.
#[utoipa::path(
    delete, path = "/api/v1/projects/{project}", tag = "projects", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("project"))),
    params(("project" = String, Path, description = "The project's name")),
    responses((status = 204), Problems)
)]
pub(super) async fn delete_project(
    State(state): State<Arc<Application>>,
    access: InProject<Admin>,
) -> Result<StatusCode, Error> {
    state
        .handle
        .apply(Command::DeleteProject { id: access.project.id })
        .await?;
    // The project is gone all the same: what is left of its sources goes at the next start.
    if let Err(error) = state.sources.store().delete_project(access.project.id).await {
        tracing::warn!(project = %access.project.id, %error, "the sources of a deleted project were not removed");
    }
    Ok(StatusCode::NO_CONTENT)
}
