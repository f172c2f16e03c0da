//! Triggers of a project.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use tombolo_api::problem::Code;
use tombolo_api::{Build, CreateTrigger, RunTrigger, Trigger, TriggerList};
use tombolo_core::control::{Command, Reply};
use tombolo_core::name::TriggerName;
use tombolo_core::time::Timestamp;
use tombolo_core::trigger::{self, TriggerFile};

use super::authorization::{Developer, InProject, Viewer};
use super::build::{check_job_file, check_revision, check_source, created, faulty, read_job_file};
use super::error::Problems;
use super::extract::{Json, Path};
use super::{Application, Error, unexpected_reply};
use crate::triggers;
use crate::triggers::schedule::Times;

/// The most variables of a trigger.
const VARIABLES_MAX: usize = 100;

/// The longest name of a variable, and the longest value.
const VARIABLE_BYTES_MAX: (usize, usize) = (255, 16 * 1024);

/// The most that all variables have together, names and values: every job of a build gets them.
const VARIABLES_BYTES_MAX: usize = 64 * 1024;

/// The triggers of a project
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/triggers", tag = "triggers", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(("project" = String, Path, description = "The project's name")),
    responses((status = 200, body = TriggerList), Problems)
)]
pub(super) async fn list_triggers(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
) -> Result<Answer<TriggerList>, Error> {
    let project = access.project.id;
    let asked = state.handle.query(move |control| {
        let own = control.triggers().filter(|trigger| trigger.project == project);
        own.cloned().collect::<Vec<_>>()
    });
    let now = state.clock.now().wall;
    let triggers = asked.await?.into_iter().map(|trigger| shown(trigger, now));
    Ok(Answer(TriggerList {
        triggers: triggers.collect(),
    }))
}

/// One trigger
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/triggers/{trigger}", tag = "triggers", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("trigger" = String, Path, description = "The trigger's name"),
    ),
    responses((status = 200, body = Trigger), Problems)
)]
pub(super) async fn show_trigger(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Answer<Trigger>, Error> {
    let name = parse(&name)?;
    find(&state, &access.project.id, &name).await.map(Answer)
}

/// Makes a trigger
///
/// The job file is checked now, and read again whenever the trigger fires. The source is kept for as long as the trigger is there.
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/triggers", tag = "triggers", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("developer")), ("x-tombolo-reach" = json!("project"))),
    params(("project" = String, Path, description = "The project's name")),
    request_body = CreateTrigger,
    responses((status = 201, body = Trigger), Problems)
)]
pub(super) async fn create_trigger(
    State(state): State<Arc<Application>>,
    access: InProject<Developer>,
    Json(request): Json<CreateTrigger>,
) -> Result<(StatusCode, Answer<Trigger>), Error> {
    check_revision(&request.revision)?;
    check_job_file(&request.job_file)?;
    check_environment(&request.environment)?;
    let schedule = request.schedule.map(trigger::Schedule::from);
    if let Some(schedule) = &schedule {
        Times::parse(schedule).map_err(|error| {
            let error = Error::new(Code::InvalidRequest, error);
            error.with_hint("such as `0 3 * * *` for three o'clock each day, in a time zone such as `Europe/Berlin`")
        })?;
    }
    if let Some(source) = request.source {
        check_source(&state, &access.project, source).await?;
    }
    read_job_file(&state, &access.project, request.source, request.job_file.clone()).await?;
    let trigger = trigger::Trigger {
        project: access.project.id,
        name: request.name.clone(),
        schedule,
        environment: request.environment,
        source: request.source,
        revision: request.revision.into(),
        overlap: request.overlap.into(),
        catch_up: request.catch_up.into(),
        created_by: access.caller.name,
        // The control plane says when.
        created_at: Timestamp::default(),
        fired_for: None,
        last: None,
        obstacle: None,
    };
    let file = TriggerFile {
        name: request.job_file.name,
        text: request.job_file.text,
    };
    let command = Command::CreateTrigger {
        trigger: Box::new(trigger),
        file,
    };
    match state.handle.apply(command).await? {
        Reply::Done => {}
        reply => return Err(unexpected_reply(&reply)),
    }
    state.triggers.changed();
    let made = find(&state, &access.project.id, &request.name).await?;
    Ok((StatusCode::CREATED, Answer(made)))
}

/// Deletes a trigger
///
/// Its builds stay.
#[utoipa::path(
    delete, path = "/api/v1/projects/{project}/triggers/{trigger}", tag = "triggers", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("developer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("trigger" = String, Path, description = "The trigger's name"),
    ),
    responses((status = 204, description = "It is gone"), Problems)
)]
pub(super) async fn delete_trigger(
    State(state): State<Arc<Application>>,
    access: InProject<Developer>,
    Path((_, name)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    let command = Command::DeleteTrigger {
        project: access.project.id,
        name: parse(&name)?,
    };
    match state.handle.apply(command).await? {
        Reply::Done => Ok(StatusCode::NO_CONTENT),
        reply => Err(unexpected_reply(&reply)),
    }
}

/// Submits the build of a trigger
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/triggers/{trigger}/run", tag = "triggers", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("developer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("trigger" = String, Path, description = "The trigger's name"),
    ),
    request_body = RunTrigger,
    responses((status = 201, body = Build), Problems)
)]
pub(super) async fn run_trigger(
    State(state): State<Arc<Application>>,
    access: InProject<Developer>,
    Path((_, name)): Path<(String, String)>,
    Json(request): Json<RunTrigger>,
) -> Result<(StatusCode, Answer<Build>), Error> {
    let name = parse(&name)?;
    check_environment(&request.environment)?;
    let caller = Some(access.caller.name);
    let fired = state
        .triggers
        .fire(access.project.id, &name, None, &request.environment, caller);
    let build = fired.await.map_err(|error| match error {
        triggers::Error::Gone(name) => Error::not_found("trigger", name),
        triggers::Error::Invalid(faults) => faulty(*faults),
        error @ triggers::Error::TooMuch { .. } => Error::new(Code::TooLarge, error),
        triggers::Error::Apply(error) => error.into(),
        triggers::Error::Unreadable(error) => Error::new(Code::Unavailable, error),
        triggers::Error::Store(error) => error.into(),
    })?;
    created(&state, &build, &access.project).await
}

fn parse(name: &str) -> Result<TriggerName, Error> {
    TriggerName::new(name).map_err(|_| Error::not_found("trigger", name))
}

async fn find(
    state: &Application,
    project: &tombolo_core::id::ProjectId,
    name: &TriggerName,
) -> Result<Trigger, Error> {
    let (project, wanted) = (*project, name.clone());
    let found = state
        .handle
        .query(move |control| control.trigger(project, &wanted).cloned());
    let found = found.await?.ok_or_else(|| Error::not_found("trigger", name))?;
    Ok(shown(found, state.clock.now().wall))
}

fn shown(trigger: trigger::Trigger, now: Timestamp) -> Trigger {
    let times = trigger
        .schedule
        .as_ref()
        .and_then(|schedule| Times::parse(schedule).ok());
    let next = times.and_then(|times| times.after(now));
    Trigger::new(trigger, next.map(Into::into))
}

fn check_environment(environment: &BTreeMap<String, String>) -> Result<(), Error> {
    let refused = |detail: String| Err(Error::new(Code::InvalidRequest, detail));
    let (name_max, value_max) = VARIABLE_BYTES_MAX;
    if environment.len() > VARIABLES_MAX {
        return refused(format!("`environment` has more than {VARIABLES_MAX} variables"));
    }
    let bytes: usize = environment.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > VARIABLES_BYTES_MAX {
        let most = VARIABLES_BYTES_MAX / 1024;
        return refused(format!("`environment` has more than {most} KiB: every job gets it"));
    }
    for (name, value) in environment {
        let printable = |byte: u8| byte.is_ascii_graphic() && byte != b'=';
        if !(1..=name_max).contains(&name.len()) || !name.bytes().all(printable) {
            return refused(format!(
                "a variable's name is 1 to {name_max} printable ASCII characters without spaces and `=`"
            ));
        }
        if value.len() > value_max || value.contains('\0') {
            return refused(format!(
                "the value of `{name}` has more than {value_max} bytes, or a NUL byte"
            ));
        }
    }
    Ok(())
}
