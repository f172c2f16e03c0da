//! Secrets of a project. Nobody reads a value back.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use tombolo_api::problem::Code;
use tombolo_api::{Secret, SecretList, SetSecret};
use tombolo_core::control::{Command, Reply};
use tombolo_core::name::SecretName;
use tombolo_core::secret::VALUE_BYTES_MAX;

use super::authorization::{Admin, Developer, InProject};
use super::error::Problems;
use super::extract::{Json, Path};
use super::{Application, Error, unexpected_reply};

/// The secrets of a project
///
/// Their names, and when they were given a value. No route tells the values.
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/secrets", tag = "secrets", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("developer")), ("x-tombolo-reach" = json!("project"))),
    params(("project" = String, Path, description = "The project's name")),
    responses((status = 200, body = SecretList), Problems)
)]
pub(super) async fn list_secrets(
    State(state): State<Arc<Application>>,
    access: InProject<Developer>,
) -> Result<Answer<SecretList>, Error> {
    let project = access.project.id;
    let asked = state
        .handle
        .query(move |control| control.secrets(project).map(Secret::from).collect());
    Ok(Answer(SecretList { secrets: asked.await? }))
}

/// Gives a secret a value
///
/// Makes it if there is none of the name. Jobs that run keep the value that they were given.
#[utoipa::path(
    put, path = "/api/v1/projects/{project}/secrets/{secret}", tag = "secrets", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("secret" = String, Path, description = "The secret's name: letters, digits and `_`"),
    ),
    request_body = SetSecret,
    responses((status = 204, description = "It has the value"), Problems)
)]
pub(super) async fn set_secret(
    State(state): State<Arc<Application>>,
    access: InProject<Admin>,
    Path((_, name)): Path<(String, String)>,
    Json(request): Json<SetSecret>,
) -> Result<StatusCode, Error> {
    let name = parse(&name)?;
    let value = SecretString::from(request.value);
    check(&value)?;
    let command = state.secrets.setting(access.project.id, name, &value);
    let command = command.map_err(|error| Error::internal("encrypting a secret", error))?;
    done(state.handle.apply(command).await?)
}

/// Deletes a secret
///
/// Jobs that run keep the value that they were given; those that refer to it and have not begun end with an error.
#[utoipa::path(
    delete, path = "/api/v1/projects/{project}/secrets/{secret}", tag = "secrets", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("secret" = String, Path, description = "The secret's name"),
    ),
    responses((status = 204, description = "It is gone"), Problems)
)]
pub(super) async fn delete_secret(
    State(state): State<Arc<Application>>,
    access: InProject<Admin>,
    Path((_, name)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    let command = Command::DeleteSecret {
        project: access.project.id,
        name: parse(&name)?,
    };
    done(state.handle.apply(command).await?)
}

fn parse(name: &str) -> Result<SecretName, Error> {
    SecretName::new(name).map_err(|error| Error::new(Code::InvalidRequest, error))
}

/// What no variable of a process can hold is refused here, where somebody hears of it.
fn check(value: &SecretString) -> Result<(), Error> {
    let refused = |detail: String| Err(Error::new(Code::InvalidRequest, detail));
    match value.expose_secret() {
        "" => refused("the value of a secret has one byte at least".to_owned()),
        text if text.len() > VALUE_BYTES_MAX => refused(format!(
            "the value has {} bytes, and a secret has {VALUE_BYTES_MAX} at the most",
            text.len()
        )),
        text if text.contains('\0') => {
            refused("the value has a NUL byte, which no variable can hold: encode it, as base64 say".to_owned())
        }
        _ => Ok(()),
    }
}

fn done(reply: Reply) -> Result<StatusCode, Error> {
    match reply {
        Reply::Done => Ok(StatusCode::NO_CONTENT),
        reply => Err(unexpected_reply(&reply)),
    }
}
