//! Jobs.

mod over;

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use tombolo_api::problem::Code;
use tombolo_api::{Explanation, Job};
use tombolo_core::control::Command;
use tombolo_core::control::record::{Build, JobNode, JobStatus, Project};
use tombolo_core::name::{ClusterName, JobName};

use super::array::{count_indexes, find_index};
use super::authorization::{Developer, InProject, Viewer};
use super::build::{find_build, read_jobs, waiting_reasons};
use super::error::Problems;
use super::extract::Path;
use super::losses::note_losses;
use super::{Application, Error, view};
use over::over;

#[derive(Deserialize)]
pub(super) struct JobPath {
    pub(super) number: u64,
    pub(super) job: String,
}

impl JobPath {
    /// What to say if there is no such job.
    pub(super) fn unknown(&self, build: &Build, project: &Project) -> Error {
        let name: String = self.job.chars().take(100).collect();
        let detail = format!(
            "job `{name}` does not exist in build {} of project `{}`",
            build.number, project.name
        );
        Error::new(Code::NotFound, detail).with_hint("`tombolo jobs` lists the jobs of a build")
    }
}

/// One job of a build
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}/jobs/{job}", tag = "jobs", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
        ("job" = String, Path, description = "The job's name, with `/` written as `%2F`"),
    ),
    responses((status = 200, body = Job), Problems)
)]
pub(super) async fn show_job(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path(path): Path<JobPath>,
) -> Result<Answer<Job>, Error> {
    let found = find_job(&state, &access.project, &path).await?;
    let names: Vec<&JobName> = found.jobs.iter().map(|(node, _)| &node.name).collect();
    let mut job = view::job(&found.build, &found.node, &found.status, &names, state.clock.now().wall);
    let own = [(found.node.clone(), found.status.clone())];
    count_indexes(&state, &own, std::slice::from_mut(&mut job)).await?;
    note_losses(
        &state,
        &found.build,
        std::slice::from_mut(&mut job),
        std::iter::once(&found.status),
    )
    .await?;
    job.waiting = waiting_reasons(&state, [&job])
        .await?
        .pop()
        .and_then(|(_, reason)| reason);
    Ok(Answer(job))
}

/// Cancels a job
///
/// It ends as `killed`. A job that is over is refused.
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/builds/{number}/jobs/{job}/cancel", tag = "jobs", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("developer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
        ("job" = String, Path, description = "The job's name, with `/` written as `%2F`"),
    ),
    responses((status = 202), Problems)
)]
pub(super) async fn cancel_job(
    State(state): State<Arc<Application>>,
    access: InProject<Developer>,
    Path(path): Path<JobPath>,
) -> Result<StatusCode, Error> {
    let found = find_job(&state, &access.project, &path).await?;
    if let Some(end) = found.status.state.terminal() {
        let detail = format!("job `{}` is over: {end}", found.node.name);
        let error = Error::new(Code::Conflict, detail);
        let number = found.build.number;
        return Err(error.with_hint(format_args!(
            "there is nothing left to cancel: `tombolo jobs {number}` shows what still runs"
        )));
    }
    state.handle.apply(Command::CancelJob { job: found.node.id }).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Why a job is where it is, or is nowhere
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}/jobs/{job}/explain", tag = "jobs", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
        ("job" = String, Path, description = "The job's name, with `/` written as `%2F`"),
    ),
    responses((status = 200, body = Explanation), Problems)
)]
pub(super) async fn explain_job(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path(path): Path<JobPath>,
) -> Result<Answer<Explanation>, Error> {
    let found = find_job(&state, &access.project, &path).await?;
    if let Some(end) = found.status.state.terminal() {
        let others = found.jobs.iter().map(|(node, _)| node);
        return Ok(Answer(over(&found.node, others, &found.status, end)));
    }
    let id = found.node.id;
    let mut live = state.handle.query(move |control| control.explain(id)).await?;
    let before = found.status.account_of_replaced();
    if let Some(live) = live.as_mut().filter(|_| !before.is_empty()) {
        live.summary.push_str(&format!("; {before}"));
    }
    // It has ended since it was read.
    let (state, cluster) = (found.status.state, found.status.cluster.as_ref());
    let ended = || Explanation {
        summary: format!("it has just ended; it was {state}{}", at(cluster)),
        cluster: cluster.cloned(),
        ..Explanation::default()
    };
    Ok(Answer(live.map_or_else(ended, Explanation::from)))
}

fn at(cluster: Option<&ClusterName>) -> String {
    cluster
        .map(|cluster| format!(" on cluster `{cluster}`"))
        .unwrap_or_default()
}

/// A job with its build.
pub(super) struct FoundJob {
    pub(super) build: Build,
    pub(super) node: JobNode,
    pub(super) status: JobStatus,
    jobs: Vec<(JobNode, JobStatus)>,
}

impl FoundJob {
    /// Refuses an array where one of its indexes has to be named. `what` is what each of them has.
    pub(super) fn refuse_array(&self, what: &str) -> Result<(), Error> {
        let Some(array) = self.node.array() else { return Ok(()) };
        let name = &self.node.name;
        let detail = format!(
            "job `{name}` is an array: each of its {} indexes has its own {what}",
            array.count
        );
        let hint = format!(
            "name an index: `{name}/0`; `tombolo jobs {} {name}` lists them",
            self.build.number
        );
        Err(Error::new(Code::Conflict, detail).with_hint(hint))
    }
}

/// The job that the path names.
pub(super) async fn find_job(state: &Application, project: &Project, path: &JobPath) -> Result<FoundJob, Error> {
    let build = find_build(state, project, path.number).await?;
    let jobs = read_jobs(state, build.id).await?;
    let mut found = jobs.iter().find(|(node, _)| node.name.as_str() == path.job).cloned();
    if found.is_none() {
        found = find_index(state, &jobs, &path.job).await?;
    }
    let Some((node, status)) = found else {
        return Err(path.unknown(&build, project));
    };
    Ok(FoundJob {
        build,
        node,
        status,
        jobs,
    })
}
