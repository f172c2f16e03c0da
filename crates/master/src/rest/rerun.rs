//! Running builds again.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use tombolo_api::problem::Code;
use tombolo_api::{Build, RerunBuild};
use tombolo_core::build::{BuildState, JobSpec};
use tombolo_core::control::record::{self, JobNode, JobStatus};
use tombolo_core::control::{Rerun, Submission};
use tombolo_core::id::{BuildId, JobId};
use tombolo_core::rerun::{self, Indexes, Scope};
use tombolo_core::time::Timestamp;
use tombolo_store::Store;

use super::array::read_indexes;
use super::authorization::{Developer, InProject};
use super::build::{BuildPath, check_source, find_build, read_jobs, submit};
use super::error::Problems;
use super::extract::{Json, Path};
use super::kept::{Removal, removal};
use super::{Application, Error};

/// How many specifications are read from the store at once.
const SPECS_PAGE: usize = 1000;

/// Runs a build again, or some of it
///
/// As a build of its own: jobs that do not run again are taken over as they ended, with their outputs. Jobs whose outputs are needed and not kept
/// any more run again too. A build that is not over is refused.
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/builds/{number}/rerun", tag = "builds", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("developer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
    ),
    request_body = RerunBuild,
    responses((status = 201, body = Build), Problems)
)]
pub(super) async fn rerun_build(
    State(state): State<Arc<Application>>,
    access: InProject<Developer>,
    Path(path): Path<BuildPath>,
    Json(request): Json<RerunBuild>,
) -> Result<(StatusCode, Answer<Build>), Error> {
    let scope = scope(&request)?;
    let build = find_build(&state, &access.project, path.number).await?;
    if build.state == BuildState::Running {
        let detail = format!("build {} is not over", build.number);
        return Err(
            Error::new(Code::Conflict, detail).with_hint("wait for its end, or cancel it: `tombolo cancel BUILD`")
        );
    }
    let jobs = read_jobs(&state, build.id).await?;
    let specs = read_specs(&state, &jobs).await?;
    let indexes = read_indexes(&state, &jobs).await?;
    let (jobs, indexes) = note_removed(&state, &build, jobs, indexes).await?;
    let now = state.clock.now().wall;
    let gone = |node: &JobNode, status: &JobStatus| gone(&build, node, status, now);
    let plan = rerun::plan(&scope, &jobs, &specs, &indexes, &gone).map_err(|error| refused(&error))?;
    if let Some(source) = build.source {
        check_source(&state, &access.project, source).await?;
    }
    let submission = Submission {
        id: BuildId::new(state.fresh_id()),
        project: access.project.id,
        jobs: plan.jobs.iter().map(|_| JobId::new(state.fresh_id())).collect(),
        definition: plan.definition,
        source: build.source,
        revision: build.revision,
        submitted_by: access.caller.name,
        rerun: Some(Box::new(Rerun {
            of: build.number,
            restarts: build.restarts.saturating_add(1),
            jobs: plan.jobs,
        })),
    };
    submit(&state, submission, &access.project).await
}

fn scope(request: &RerunBuild) -> Result<Scope, Error> {
    let refuse = |detail: &str, hint: &str| Err(Error::new(Code::InvalidRequest, detail).with_hint(hint));
    match (&request.job, request.failed, request.alone) {
        (Some(_), true, _) => refuse(
            "`job` and `failed` are given: one of the two says what is run again",
            "leave out one of the two",
        ),
        (None, _, true) => refuse(
            "`alone` is given without `job`",
            "name the job that runs again without those that follow it, or leave `alone` out",
        ),
        (Some(job), false, alone) => Ok(Scope::Job {
            name: job.clone(),
            descendants: !alone,
        }),
        (None, true, false) => Ok(Scope::Failed),
        (None, false, false) => Ok(Scope::All),
    }
}

/// The specifications of the jobs, in their order.
async fn read_specs(state: &Application, jobs: &[(JobNode, JobStatus)]) -> Result<Vec<JobSpec>, Error> {
    let mut specs = Vec::with_capacity(jobs.len());
    for page in jobs.chunks(SPECS_PAGE) {
        let ids = page.iter().map(|(node, _)| node.id).collect();
        specs.extend(state.store.specs(ids).await?.into_iter().map(|(_, spec)| spec));
    }
    if specs.len() != jobs.len() {
        return Err(Error::internal(
            "reading specifications",
            "some jobs of a build have none",
        ));
    }
    Ok(specs)
}

/// Why an output of the build is not kept any more.
/// Notes which of the clusters that had the outputs of the build were removed since.
async fn note_removed(
    state: &Application,
    build: &record::Build,
    mut jobs: Vec<(JobNode, JobStatus)>,
    mut indexes: Indexes,
) -> Result<(Vec<(JobNode, JobStatus)>, Indexes), Error> {
    let build = build.clone();
    let noted = state.handle.query(move |control| {
        let statuses = jobs.iter_mut().map(|(_, status)| status);
        for status in statuses.chain(indexes.each()) {
            control.note_removed(&build, status);
        }
        (jobs, indexes)
    });
    Ok(noted.await?)
}

/// Why the output of a job is not kept any more, if so.
fn gone(build: &record::Build, node: &JobNode, status: &JobStatus, now: Timestamp) -> Option<String> {
    status.output?;
    let lost = status.output_lost().map(str::to_owned);
    let given_up = || match removal(build, node, now)? {
        Removal::Released(_) => Some("the project does not keep it any more".to_owned()),
        Removal::Expired(_) => Some("it was kept for as long as the job says (`outputs.keep`)".to_owned()),
    };
    lost.or_else(given_up).or_else(|| status.gone_with_its_cluster())
}

fn refused(error: &rerun::Error) -> Error {
    match error {
        rerun::Error::UnknownJob(_) => {
            Error::new(Code::NotFound, error).with_hint("`tombolo jobs` lists the jobs of a build")
        }
        rerun::Error::NothingFailed => {
            Error::new(Code::Conflict, error).with_hint("`tombolo rerun BUILD` runs all of it again")
        }
        rerun::Error::NotOver(_) => Error::new(Code::Conflict, error),
        rerun::Error::Shared { .. } => Error::new(Code::Conflict, error).with_hint("run the whole build again"),
    }
}
