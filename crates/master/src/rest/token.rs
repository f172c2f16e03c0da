//! Users' tokens. An admin of one project manages the tokens of that project only.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::Deserialize;
use tombolo_api::problem::Code;
use tombolo_api::{CreateToken, CreatedToken, TokenList, WhoAmI};
use tombolo_core::access::{Right, Role};
use tombolo_core::control::record::Token;
use tombolo_core::control::{Command, Control, Reply};
use tombolo_core::id::TokenId;
use tombolo_core::time::Timestamp;

use super::authorization::{Admin, Somewhere, Viewer};
use super::error::Problems;
use super::extract::{Json, Path, check_text};
use super::{Application, Error, unexpected_reply, view};

/// The longest life of a token: a hundred years. Whoever wants more wants one that never ends.
const MAX_LIFE: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The caller's own token
#[utoipa::path(
    get, path = "/api/v1/whoami", tag = "tokens", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("somewhere"))),
    responses((status = 200, body = WhoAmI), Problems)
)]
pub(super) async fn whoami(
    State(state): State<Arc<Application>>,
    access: Somewhere<Viewer>,
) -> Result<Answer<WhoAmI>, Error> {
    let token = state.handle.query(move |control| show(control, &access.caller));
    Ok(Answer(WhoAmI { token: token.await? }))
}

/// The tokens that the caller may manage
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "tokens", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("somewhere"))),
    responses((status = 200, body = TokenList), Problems)
)]
pub(super) async fn list_tokens(
    State(state): State<Arc<Application>>,
    access: Somewhere<Admin>,
) -> Result<Answer<TokenList>, Error> {
    let right = access.caller.right;
    let tokens = state.handle.query(move |control| {
        let reached = control
            .tokens()
            .filter(|token| right.permits(Role::Admin, token.right.project));
        reached.map(|token| show(control, token)).collect::<Vec<_>>()
    });
    let mut tokens = tokens.await?;
    tokens.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
    Ok(Answer(TokenList { tokens }))
}

/// Makes a token
///
/// Its secret is in the answer and nowhere else.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "tokens", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("somewhere"))),
    request_body = CreateToken,
    responses((status = 201, body = CreatedToken), Problems)
)]
pub(super) async fn create_token(
    State(state): State<Arc<Application>>,
    access: Somewhere<Admin>,
    Json(request): Json<CreateToken>,
) -> Result<(StatusCode, Answer<CreatedToken>), Error> {
    check_text("name", &request.name)?;
    let now = state.clock.now().wall;
    let expires_at = request
        .ttl_seconds
        .map(|seconds| end_of_life(now, seconds))
        .transpose()?;
    let project = match request.project.clone() {
        None => None,
        Some(name) => {
            let lookup = name.clone();
            let right = access.caller.right;
            let found = state
                .handle
                .query(move |control| control.project(&lookup).map(|project| project.id));
            let visible = found.await?.filter(|id| right.permits(Role::Viewer, Some(*id)));
            Some(visible.ok_or_else(|| Error::not_found("project", &name))?)
        }
    };
    if !access.caller.right.permits(Role::Admin, project) {
        return Err(Error::new(
            Code::Forbidden,
            "an admin of one project cannot make tokens that reach further",
        )
        .with_hint("name your project in `project`"));
    }
    let secret = tombolo_identity::token::generate();
    let digest = tombolo_identity::token::digest(&secret).map_err(|error| Error::internal("making a token", error))?;
    let token = Token {
        id: TokenId::new(state.fresh_id()),
        name: request.name,
        secret: digest,
        right: Right {
            role: request.role.into(),
            project,
        },
        created_at: now,
        expires_at,
    };
    match state.handle.apply(Command::CreateToken(token)).await? {
        Reply::Token(token) => {
            let token = view::token(&token, request.project);
            let secret = secret.expose_secret().to_owned();
            Ok((StatusCode::CREATED, Answer(CreatedToken { token, secret })))
        }
        reply => Err(unexpected_reply(&reply)),
    }
}

#[derive(Deserialize)]
pub(super) struct TokenPath {
    token: String,
}

/// Revokes a token
///
/// The last token with the role `admin` for the whole installation stays: without it nobody could manage anything any more.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{token}", tag = "tokens", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("somewhere"))),
    params(("token" = String, Path, description = "The token's id")),
    responses((status = 204), Problems)
)]
pub(super) async fn revoke_token(
    State(state): State<Arc<Application>>,
    access: Somewhere<Admin>,
    Path(path): Path<TokenPath>,
) -> Result<StatusCode, Error> {
    let unknown = || Error::not_found("token", path.token.chars().take(100).collect::<String>());
    let id: TokenId = path.token.parse().map_err(|_| unknown())?;
    let right = access.caller.right;
    let reached = state.handle.query(move |control| {
        let token = control.tokens().find(|token| token.id == id);
        token.is_some_and(|token| right.permits(Role::Admin, token.right.project))
    });
    if !reached.await? {
        return Err(unknown());
    }
    state.handle.apply(Command::RevokeToken { id }).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn end_of_life(now: Timestamp, seconds: u64) -> Result<Timestamp, Error> {
    if seconds == 0 || seconds > MAX_LIFE.as_secs() {
        let detail = format!(
            "body: `ttl_seconds` is {seconds}; 1 to {} are allowed",
            MAX_LIFE.as_secs()
        );
        return Err(Error::new(Code::InvalidRequest, detail).with_hint("leave it out for a token that does not end"));
    }
    Ok(Timestamp(now.0.saturating_add(seconds * 1000)))
}

fn show(control: &Control, token: &Token) -> tombolo_api::Token {
    let project = token.right.project.and_then(|id| control.project_by_id(id));
    view::token(token, project.map(|project| project.name.clone()))
}
