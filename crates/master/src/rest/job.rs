//! Jobs.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use tombolo_api::problem::Code;
use tombolo_api::{Explanation, Job};
use tombolo_core::build::TerminalState;
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
        return Ok(Answer(over(&found.node, &found.status, end)));
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
        limit: None,
        advice: None,
        retry_at: None,
        clusters: Vec::new(),
    };
    Ok(Answer(live.map_or_else(ended, Explanation::from)))
}

fn at(cluster: Option<&ClusterName>) -> String {
    cluster
        .map(|cluster| format!(" on cluster `{cluster}`"))
        .unwrap_or_default()
}

/// What became of a job that is over, and why it ran where it did. How the clusters are now has nothing to do with it any more.
fn over(node: &JobNode, status: &JobStatus, end: TerminalState) -> Explanation {
    let mut summary = format!("it is over: {end}");
    match (status.message.as_str(), status.exit_code) {
        ("", Some(code)) => summary.push_str(&format!(" (exit code {code})")),
        ("", None) => {}
        (message, _) => summary.push_str(&format!(" ({message})")),
    }
    match &status.cluster {
        None if node.array().is_some() => {}
        None if !status.tries().is_empty() => {
            summary.push_str(&format!("; attempt {} never began", status.tries().len() + 1));
        }
        None => summary.push_str("; no cluster had it"),
        Some(cluster) => {
            let (confining, own): (Vec<_>, Vec<_>) = node.selector.requirements.iter().partition(|it| it.by_project);
            let requirements: Vec<String> = own.iter().map(ToString::to_string).collect();
            let same_as = node.extensions.as_ref().and_then(|says| says.same_as.as_ref());
            let reason = match (requirements.is_empty(), &node.prefer) {
                _ if same_as.is_some() => format!("as `same_as: {}` asks", same_as.map_or("", JobName::as_str)),
                (_, Some(preferred)) if preferred == cluster => "which it prefers".to_owned(),
                (true, _) if !confining.is_empty() => "with no selector, where its project may run".to_owned(),
                (true, _) => "with no selector, so that any cluster would have done".to_owned(),
                (false, _) => format!("which met its selector `{}`", requirements.join(", ")),
            };
            summary.push_str(&format!("; it ran on cluster `{cluster}`, {reason}"));
            if let Some(choice) = status.choice() {
                summary.push_str(&format!(" ({})", choice.account(&node.wishes())));
            }
        }
    }
    if !status.tries().is_empty() {
        let earlier: Vec<&str> = status.tries().iter().map(|earlier| earlier.state.as_str()).collect();
        summary.push_str(&format!("; its attempts before that ended as {}", earlier.join(", ")));
    }
    if let Some(loss) = &status.loss {
        match &loss.reason {
            Some(reason) => summary.push_str(&format!("; its output is lost: {reason}")),
            None => summary.push_str(&format!(
                "; its output was lost later, and made again by attempt {}",
                status.epoch.0
            )),
        }
    } else if status.replacements > 0 {
        let lost = status.replacements;
        summary.push_str(&format!(
            "; that was attempt {}, since the system lost {lost} before",
            status.epoch.0
        ));
    }
    if !status.replaced().is_empty() {
        summary.push_str(&format!(" ({})", status.account_of_replaced()));
    }
    Explanation {
        summary,
        limit: None,
        advice: None,
        retry_at: None,
        clusters: Vec::new(),
    }
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
