//! Invites: made, listed, withdrawn.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use secrecy::ExposeSecret;
use tombolo_api::problem::Code;
use tombolo_api::{CreateInvite, Invite, InviteList, InviteState, InviteSummary, limit};
use tombolo_core::control::{Command, Refusal, Reply, record};
use tombolo_core::id::InviteId;
use tombolo_core::label::Labels;
use tombolo_core::time::Timestamp;

use super::authorization::{Admin, Everywhere};
use super::cluster::ClusterPath;
use super::error::Problems;
use super::extract::{Json, Path};
use super::{Application, Error, unexpected_reply, view};
use crate::driver::ApplyError;

/// All invites
///
/// Those that were used or have expired are shown for a day after their end.
#[utoipa::path(
    get, path = "/api/v1/invites", tag = "clusters", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("everywhere"))),
    responses((status = 200, body = InviteList), Problems)
)]
pub(super) async fn list_invites(
    State(state): State<Arc<Application>>,
    _: Everywhere<Admin>,
) -> Result<Answer<InviteList>, Error> {
    let now = state.clock.now().wall;
    let invites = state
        .handle
        .query(move |control| control.invites().map(|invite| summary(invite, now)).collect());
    Ok(Answer(InviteList {
        invites: invites.await?,
    }))
}

fn summary(invite: &record::Invite, now: Timestamp) -> InviteSummary {
    let state = if invite.used_by.is_some() {
        InviteState::Used
    } else if now >= invite.expires_at {
        InviteState::Expired
    } else {
        InviteState::Open
    };
    InviteSummary {
        name: invite.cluster.clone(),
        labels: view::labels(&invite.labels),
        state,
        expires_at: invite.expires_at.into(),
    }
}

/// Withdraws the invites of a cluster
///
/// All that are open. A cluster that has joined stays: `DELETE /api/v1/clusters/{cluster}` removes it.
#[utoipa::path(
    delete, path = "/api/v1/invites/{cluster}", tag = "clusters", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("everywhere"))),
    params(("cluster" = String, Path, description = "The name that was invited")),
    responses((status = 204), Problems)
)]
pub(super) async fn withdraw_invites(
    State(state): State<Arc<Application>>,
    _: Everywhere<Admin>,
    Path(path): Path<ClusterPath>,
) -> Result<StatusCode, Error> {
    let cluster = path.name()?;
    let withdrawn = Command::WithdrawInvites {
        cluster: cluster.clone(),
    };
    match state.handle.apply(withdrawn).await {
        Err(ApplyError::Refused(Refusal::NotFound { .. })) => {
            let detail = format!("there is no open invite for cluster `{cluster}`");
            Err(Error::new(Code::NotFound, detail).with_hint("`tombolo cluster invites` lists the invites"))
        }
        applied => applied.map(|_| StatusCode::NO_CONTENT).map_err(Error::from),
    }
}

/// Makes an invite
///
/// It is the one-time right of a cluster to join, bound to a name and labels. Its text is in the answer and nowhere else.
#[utoipa::path(
    post, path = "/api/v1/invites", tag = "clusters", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("everywhere"))),
    request_body = CreateInvite,
    responses((status = 201, body = Invite), Problems)
)]
pub(super) async fn create_invite(
    State(state): State<Arc<Application>>,
    _: Everywhere<Admin>,
    Json(request): Json<CreateInvite>,
) -> Result<(StatusCode, Answer<Invite>), Error> {
    let invalid = |detail: String| Error::new(Code::InvalidRequest, format_args!("body: {detail}"));
    let labels = Labels::parse(&request.labels).map_err(|error| invalid(error.to_string()).with_hint(error.hint()))?;
    let seconds = request.ttl_seconds.unwrap_or(limit::INVITE_SECONDS_DEFAULT);
    if seconds == 0 || seconds > limit::INVITE_SECONDS {
        return Err(invalid(format!(
            "`ttl_seconds` is {seconds}; 1 to {} are allowed",
            limit::INVITE_SECONDS
        )));
    }
    let refused = |error| Error::new(Code::Overloaded, format_args!("too many invites are made: {error}"));
    state.capacity.invites.take().map_err(refused)?;
    let expires_at = Timestamp(state.clock.now().wall.0 + seconds * 1000);
    let text = state
        .new_invite(&request.name)
        .map_err(|error| Error::internal("making an invite", error))?;
    let record = record::Invite {
        id: InviteId::new(state.fresh_id()),
        secret: text.secret_digest(),
        cluster: request.name,
        labels,
        expires_at,
        used_by: None,
        pin: text.pin.parse().ok(),
    };
    match state.handle.apply(Command::Invite(record)).await? {
        Reply::Invite(record) => {
            let invite = Invite {
                name: record.cluster,
                labels: view::labels(&record.labels),
                invite: text.to_text().expose_secret().to_owned(),
                expires_at: record.expires_at.into(),
            };
            Ok((StatusCode::CREATED, Answer(invite)))
        }
        reply => Err(unexpected_reply(&reply)),
    }
}
