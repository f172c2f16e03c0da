//! Builds.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use tombolo_api::problem::{Code, Fault, Problem};
use tombolo_api::{Build, BuildList, BuildSummary, JobFile, Revision, SubmitBuild, limit};
use tombolo_core::build::{BuildDefinition, BuildState};
use tombolo_core::control::record::{self, JobNode, JobStatus, Project};
use tombolo_core::control::{Command, Extent, Reply, Submission};
use tombolo_core::digest::Digest;
use tombolo_core::id::{BuildId, JobId};
use tombolo_store::Store;

use super::array::count_indexes;
use super::authorization::{Developer, InProject, Viewer};
use super::error::Problems;
use super::extract::{Json, Path, Query, check_text};
use super::losses::note_losses;
use super::{Application, Error, unexpected_reply, view};

/// How many jobs are read from the store at once.
const JOBS_PAGE: u32 = 1000;

/// How many queued jobs of one build are asked why they wait; the others wait for the same reasons.
const EXPLAINED_JOBS: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<u32>,
    before: Option<u64>,
}

/// The builds of a project, newest first
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds", tag = "builds", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("limit" = Option<u32>, Query, description = "How many, 1 to 200; 50 by default"),
        ("before" = Option<u64>, Query, description = "Only builds with a lower number"),
    ),
    responses((status = 200, body = BuildList), Problems)
)]
pub(super) async fn list_builds(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Query(page): Query<Page>,
) -> Result<Answer<BuildList>, Error> {
    let limit = page.limit.unwrap_or(limit::BUILDS_PAGE_DEFAULT);
    if limit == 0 || limit > limit::BUILDS_PAGE {
        let detail = format!("query: `limit` is {limit}; 1 to {} are allowed", limit::BUILDS_PAGE);
        return Err(Error::new(Code::InvalidRequest, detail));
    }
    let builds = state.store.builds(access.project.id, page.before, limit).await?;
    let full = builds.len() == limit as usize;
    let next_before = builds
        .last()
        .map(|build| build.number)
        .filter(|number| full && *number > 1);
    let cancelling = cancelling(&state, &builds).await?;
    let builds = builds.iter().map(|build| BuildSummary {
        cancelling: cancelling.contains(&build.id),
        ..BuildSummary::new(build, &access.project.name)
    });
    Ok(Answer(BuildList {
        builds: builds.collect(),
        next_before,
    }))
}

/// Those of the builds that are being cancelled.
async fn cancelling(state: &Application, builds: &[record::Build]) -> Result<BTreeSet<BuildId>, Error> {
    let running = builds.iter().filter(|build| build.state == BuildState::Running);
    let ids: Vec<BuildId> = running.map(|build| build.id).collect();
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let asked = state
        .handle
        .query(move |control| ids.into_iter().filter(|id| control.is_cancelling(*id)).collect());
    Ok(asked.await?)
}

/// Submits a build
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/builds", tag = "builds", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("developer")), ("x-tombolo-reach" = json!("project"))),
    params(("project" = String, Path, description = "The project's name")),
    request_body = SubmitBuild,
    responses((status = 201, body = Build), Problems)
)]
pub(super) async fn submit_build(
    State(state): State<Arc<Application>>,
    access: InProject<Developer>,
    Json(request): Json<SubmitBuild>,
) -> Result<(StatusCode, Answer<Build>), Error> {
    check_revision(&request.revision)?;
    check_job_file(&request.job_file)?;
    if let Some(source) = request.source {
        check_source(&state, &access.project, source).await?;
    }
    let definition = read_job_file(&state, &access.project, request.source, request.job_file).await?;
    let submission = Submission {
        id: BuildId::new(state.fresh_id()),
        project: access.project.id,
        jobs: definition.jobs.iter().map(|_| JobId::new(state.fresh_id())).collect(),
        definition,
        source: request.source,
        revision: request.revision.into(),
        submitted_by: access.caller.name,
        rerun: None,
    };
    submit(&state, submission, &access.project).await
}

/// Submits a build, and shows it.
pub(super) async fn submit(
    state: &Application,
    submission: Submission,
    project: &Project,
) -> Result<(StatusCode, Answer<Build>), Error> {
    match state.handle.apply(Command::Submit(Box::new(submission))).await? {
        Reply::Build(build) => created(state, &build, project).await,
        reply => Err(unexpected_reply(&reply)),
    }
}

/// Shows a build that was just submitted.
pub(super) async fn created(
    state: &Application,
    build: &record::Build,
    project: &Project,
) -> Result<(StatusCode, Answer<Build>), Error> {
    let shown = read_build(state, build, project).await?;
    Ok((StatusCode::CREATED, Answer(shown)))
}

/// Whether the project has the source, which stays until the build is there.
pub(super) async fn check_source(state: &Application, project: &Project, source: Digest) -> Result<(), Error> {
    state.sources.expect_build(project.id, source);
    state.sources.upload(project.id).await?;
    if state.sources.store().has_manifest(project.id, source).await? {
        return Ok(());
    }
    let detail = format!(
        "the source `{}` is not there: it was not uploaded to project `{}`, or has gone again since",
        source.short(),
        project.name
    );
    Err(Error::new(Code::MissingContent, detail).with_hint("upload it (again), and submit the build within an hour"))
}

#[derive(Deserialize)]
pub(super) struct BuildPath {
    pub(super) number: u64,
}

/// A build with its jobs
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}", tag = "builds", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
    ),
    responses((status = 200, body = Build), Problems)
)]
pub(super) async fn show_build(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path(path): Path<BuildPath>,
) -> Result<Answer<Build>, Error> {
    let build = find_build(&state, &access.project, path.number).await?;
    Ok(Answer(read_build(&state, &build, &access.project).await?))
}

/// Cancels a build
///
/// All its jobs that are not over end as `killed`, but those of `after`, which run now; if nothing else goes on that was not cancelled before, they end as well. A build
/// that is over is refused.
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/builds/{number}/cancel", tag = "builds", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("developer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
        ("now" = Option<bool>, Query, description = "Its jobs of `after` are cancelled, too"),
    ),
    responses((status = 202), Problems)
)]
pub(super) async fn cancel_build(
    State(state): State<Arc<Application>>,
    access: InProject<Developer>,
    Path(path): Path<BuildPath>,
    Query(how): Query<Cancelling>,
) -> Result<StatusCode, Error> {
    let build = find_build(&state, &access.project, path.number).await?;
    if build.state != BuildState::Running {
        let detail = format!("build {} is over: {}", build.number, build.state);
        let error = Error::new(Code::Conflict, detail);
        return Err(error.with_hint("there is nothing left to cancel: `tombolo builds` shows which ones run"));
    }
    let extent = if how.now { Extent::Whole } else { Extent::Jobs };
    let command = Command::CancelBuild {
        build: build.id,
        extent,
    };
    state.handle.apply(command).await?;
    Ok(StatusCode::ACCEPTED)
}

/// How a build is cancelled.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cancelling {
    /// All of it.
    #[serde(default)]
    now: bool,
}

/// The build with this number.
pub(super) async fn find_build(state: &Application, project: &Project, number: u64) -> Result<record::Build, Error> {
    let build = state.store.build_by_number(project.id, number).await?;
    build.ok_or_else(|| {
        Error::new(
            Code::NotFound,
            format_args!("build {number} does not exist in project `{}`", project.name),
        )
    })
}

/// All jobs of a build, by index.
pub(super) async fn read_jobs(state: &Application, build: BuildId) -> Result<Vec<(JobNode, JobStatus)>, Error> {
    let mut jobs = Vec::new();
    loop {
        let first = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        let page = state.store.jobs(build, first, JOBS_PAGE).await?;
        let last = page.len() < JOBS_PAGE as usize;
        jobs.extend(page);
        if last {
            return Ok(jobs);
        }
    }
}

/// A build as it is now, with the reasons why jobs wait.
pub(super) async fn read_build(state: &Application, build: &record::Build, project: &Project) -> Result<Build, Error> {
    // The jobs are read after the build: a build that says that it is over has no job that is not.
    let jobs = read_jobs(state, build.id).await?;
    let mut shown = view::build(build, &project.name, &jobs, state.clock.now().wall);
    count_indexes(state, &jobs, &mut shown.jobs).await?;
    note_losses(state, build, &mut shown.jobs, jobs.iter().map(|(_, status)| status)).await?;
    for (id, reason) in waiting_reasons(state, &shown.jobs).await? {
        if let Some(job) = shown.jobs.iter_mut().find(|job| job.id == id) {
            job.waiting = reason;
        }
    }
    Ok(shown)
}

/// Why those among these jobs wait that may: for a cluster, or on one.
pub(super) async fn waiting_reasons<'a>(
    state: &Application,
    jobs: impl IntoIterator<Item = &'a tombolo_api::Job>,
) -> Result<Vec<(JobId, Option<String>)>, Error> {
    // To find out why one waits for a cluster costs more than to look why one waits on it.
    let (queued, placed): (Vec<_>, Vec<_>) = jobs
        .into_iter()
        .filter(|job| job.attempt_state().may_wait())
        .partition(|job| job.attempt_state() == tombolo_api::JobState::Queued);
    let shown = queued.into_iter().take(EXPLAINED_JOBS).chain(placed);
    let ids: Vec<JobId> = shown.map(|job| job.id).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let reasons = state.handle.query(move |control| {
        let explain = |id: JobId| (id, control.waiting_reason(id));
        ids.into_iter().map(explain).collect()
    });
    Ok(reasons.await?)
}

pub(super) fn check_revision(revision: &Revision) -> Result<(), Error> {
    let fields = [
        ("branch", &revision.branch),
        ("commit", &revision.commit),
        ("tag", &revision.tag),
    ];
    fields
        .into_iter()
        .filter_map(|(field, text)| Some((field, text.as_ref()?)))
        .try_for_each(|(field, text)| check_text(&format!("revision.{field}"), text))
}

pub(super) fn check_job_file(file: &JobFile) -> Result<(), Error> {
    check_text("job_file.name", &file.name)?;
    if file.text.len() > limit::JOB_FILE_BYTES {
        let detail = format!(
            "the job file is larger than {} MiB",
            limit::JOB_FILE_BYTES / (1024 * 1024)
        );
        return Err(Error::new(Code::TooLarge, detail).with_hint("split it into several builds"));
    }
    Ok(())
}

/// What the job file says, with the workflows that it names in the source.
pub(super) async fn read_job_file(
    state: &Application,
    project: &Project,
    source: Option<Digest>,
    file: JobFile,
) -> Result<BuildDefinition, Error> {
    let reading = state
        .definitions
        .read(project.id, source, file.name, file.text.into_bytes());
    let read = reading.await.map_err(|error| Error::new(Code::Unavailable, error))?;
    read.map_err(faulty)
}

/// The faults of a job file.
pub(super) fn faulty(faults: tombolo_jobfile::Faults) -> Error {
    let count = faults.faults.len() + faults.omitted;
    let detail = match count {
        1 => format!("`{}` has a fault", faults.file),
        _ => format!("`{}` has {count} faults", faults.file),
    };
    let shown = faults.faults.into_iter().map(|fault| Fault {
        file: fault.file,
        path: fault.path,
        line: Some(u64::from(fault.line)),
        column: Some(u64::from(fault.column)),
        message: fault.message,
        hint: fault.hint,
    });
    Problem::new(Code::InvalidJobFile, detail)
        .with_faults(shown.collect())
        .into()
}
