//! Who may do what. Every handler has exactly one of [`InProject`], [`Everywhere`] and [`Somewhere`] as an argument: it says
//! the role that is needed and where, and there is no other way to a caller or a project.
//!
//! A project that the token does not reach looks like one that does not exist (404): names of projects are nobody else's
//! business. A project that it reaches with too low a role is refused (403).

use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, RawPathParams};
use http::header;
use http::request::Parts;
use secrecy::SecretString;
use tombolo_api::problem::Code;
use tombolo_core::access::Role;
use tombolo_core::control::record::{Project, Token};
use tombolo_core::digest::Digest;
use tombolo_core::name::ProjectName;

use super::{Application, Error};

/// The role that a handler needs.
pub(crate) trait Need: Send {
    /// Which.
    const ROLE: Role;
}

/// Needs to see.
pub(crate) struct Viewer;
/// Needs to submit and cancel.
pub(crate) struct Developer;
/// Needs to manage.
pub(crate) struct Admin;

impl Need for Viewer {
    const ROLE: Role = Role::Viewer;
}

impl Need for Developer {
    const ROLE: Role = Role::Developer;
}

impl Need for Admin {
    const ROLE: Role = Role::Admin;
}

/// The caller has the role in the project that the path names.
pub(crate) struct InProject<N: Need> {
    /// The caller's token.
    pub(crate) caller: Token,
    /// The project.
    pub(crate) project: Project,
    need: PhantomData<N>,
}

/// The caller has the role for what belongs to no project.
pub(crate) struct Everywhere<N: Need> {
    need: PhantomData<N>,
}

/// The caller has the role somewhere: the handler shows or touches only what the token reaches.
pub(crate) struct Somewhere<N: Need> {
    /// The caller's token.
    pub(crate) caller: Token,
    need: PhantomData<N>,
}

/// Where the audit trail finds out who called.
#[derive(Clone, Default)]
pub(crate) struct CallerSlot(pub(crate) Arc<OnceLock<Token>>);

impl<N: Need> FromRequestParts<Arc<Application>> for InProject<N> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Application>) -> Result<Self, Error> {
        let secret = secret_digest(parts)?;
        let name = project_name(parts, state).await?;
        let now = state.clock.now().wall;
        let lookup = name.clone();
        let found = state.handle.query(move |control| {
            let token = control.token_by_secret(&secret, now)?.clone();
            let project = lookup.and_then(|name| control.project(&name).cloned());
            Some((token, project))
        });
        let (caller, project) = found.await?.ok_or_else(unknown_token)?;
        note(parts, &caller);
        let name = name.ok_or_else(|| Error::not_found("project", "?"))?;
        let visible = project.filter(|project| caller.right.permits(Role::Viewer, Some(project.id)));
        let project = visible.ok_or_else(|| Error::not_found("project", &name))?;
        if !caller.right.permits(N::ROLE, Some(project.id)) {
            return Err(too_low::<N>(&caller, &format!("in project `{name}`")));
        }
        Ok(Self {
            caller,
            project,
            need: PhantomData,
        })
    }
}

impl<N: Need> FromRequestParts<Arc<Application>> for Everywhere<N> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Application>) -> Result<Self, Error> {
        let caller = authenticate(parts, state).await?;
        if !caller.right.permits(N::ROLE, None) {
            let error = too_low::<N>(&caller, "for the whole installation");
            return Err(match caller.right.project {
                None => error,
                Some(_) => error.with_hint(
                    "ask an admin of the installation for a token that reaches all projects (`tombolo token create --all-projects`); what the clusters are to \
                     the jobs of a project, `tombolo plan` and `tombolo explain` say to its own tokens",
                ),
            });
        }
        Ok(Self { need: PhantomData })
    }
}

impl<N: Need> FromRequestParts<Arc<Application>> for Somewhere<N> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Application>) -> Result<Self, Error> {
        let caller = authenticate(parts, state).await?;
        if caller.right.role < N::ROLE {
            return Err(too_low::<N>(&caller, "in some project"));
        }
        Ok(Self {
            caller,
            need: PhantomData,
        })
    }
}

async fn authenticate(parts: &Parts, state: &Application) -> Result<Token, Error> {
    let secret = secret_digest(parts)?;
    let now = state.clock.now().wall;
    let found = state
        .handle
        .query(move |control| control.token_by_secret(&secret, now).cloned());
    let caller = found.await?.ok_or_else(unknown_token)?;
    note(parts, &caller);
    Ok(caller)
}

fn note(parts: &Parts, caller: &Token) {
    if let Some(slot) = parts.extensions.get::<CallerSlot>() {
        // A slot is filled once: a request has one caller.
        let _ = slot.0.set(caller.clone());
    }
}

fn secret_digest(parts: &Parts) -> Result<Digest, Error> {
    let missing = |detail: &str| Error::new(Code::Unauthenticated, detail);
    let header = parts
        .headers
        .get(header::AUTHORIZATION)
        .ok_or_else(|| missing("the request has no token"))?;
    let header = header
        .to_str()
        .map_err(|_| missing("the authorization header is not text"))?;
    let (scheme, secret) = header
        .split_once(' ')
        .ok_or_else(|| missing("the authorization header has no token"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing("the authorization header is not of the scheme `Bearer`"));
    }
    let secret = SecretString::from(secret.trim());
    tombolo_identity::token::digest(&secret).map_err(|_| unknown_token())
}

fn unknown_token() -> Error {
    Error::new(Code::Unauthenticated, "the token is unknown, revoked or expired")
}

fn too_low<N: Need>(caller: &Token, place: &str) -> Error {
    let (need, has) = (N::ROLE.as_str(), caller.right.role.as_str());
    let reach = if caller.right.project.is_some() {
        "one project"
    } else {
        "all projects"
    };
    let detail = format!(
        "this needs the role `{need}` {place}; token `{}` is `{has}` in {reach}",
        caller.name
    );
    Error::new(Code::Forbidden, detail)
}

/// The project that the path names; none if that cannot be the name of one.
async fn project_name(parts: &mut Parts, state: &Arc<Application>) -> Result<Option<ProjectName>, Error> {
    let parameters = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|rejection| Error::new(Code::InvalidRequest, rejection.body_text()))?;
    let name = parameters
        .iter()
        .find(|(key, _)| *key == "project")
        .map(|(_, name)| name);
    Ok(name.and_then(|name| ProjectName::new(name).ok()))
}
