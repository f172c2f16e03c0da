//! Clusters and invites.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::Deserialize;
use tombolo_api::problem::Code;
use tombolo_api::{Cluster, ClusterList, CreateInvite, Invite, limit};
use tombolo_core::control::{Command, Reply, record};
use tombolo_core::id::InviteId;
use tombolo_core::label::Labels;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_identity::member::Member;

use super::authorization::{Admin, Everywhere, Viewer};
use super::error::Problems;
use super::extract::{Json, Path};
use super::{Application, Error, unexpected_reply, view};

/// All clusters
#[utoipa::path(
    get, path = "/api/v1/clusters", tag = "clusters", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("everywhere"))),
    responses((status = 200, body = ClusterList), Problems)
)]
pub(super) async fn list_clusters(
    State(state): State<Arc<Application>>,
    _: Everywhere<Viewer>,
) -> Result<Answer<ClusterList>, Error> {
    let clusters = state
        .handle
        .query(|control| control.clusters().map(|view| view::cluster(&view)).collect());
    Ok(Answer(ClusterList {
        clusters: clusters.await?,
    }))
}

#[derive(Deserialize)]
pub(super) struct ClusterPath {
    cluster: String,
}

impl ClusterPath {
    fn name(&self) -> Result<ClusterName, Error> {
        ClusterName::new(&self.cluster).map_err(|error| Error::not_found("cluster", error.name))
    }
}

/// One cluster
#[utoipa::path(
    get, path = "/api/v1/clusters/{cluster}", tag = "clusters", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("everywhere"))),
    params(("cluster" = String, Path, description = "The cluster's name")),
    responses((status = 200, body = Cluster), Problems)
)]
pub(super) async fn show_cluster(
    State(state): State<Arc<Application>>,
    _: Everywhere<Viewer>,
    Path(path): Path<ClusterPath>,
) -> Result<Answer<Cluster>, Error> {
    let name = path.name()?;
    let lookup = name.clone();
    let cluster = state
        .handle
        .query(move |control| control.cluster(&lookup).map(|view| view::cluster(&view)));
    cluster
        .await?
        .map(Answer)
        .ok_or_else(|| Error::not_found("cluster", name))
}

/// Removes a cluster
///
/// Its attempts are replaced elsewhere, its connections are closed, and its certificate is of no use any more.
#[utoipa::path(
    delete, path = "/api/v1/clusters/{cluster}", tag = "clusters", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("everywhere"))),
    params(("cluster" = String, Path, description = "The cluster's name")),
    responses((status = 204), Problems)
)]
pub(super) async fn remove_cluster(
    State(state): State<Arc<Application>>,
    _: Everywhere<Admin>,
    Path(path): Path<ClusterPath>,
) -> Result<StatusCode, Error> {
    let name = path.name()?;
    state
        .handle
        .apply(Command::RemoveCluster { name: name.clone() })
        .await?;
    let closed = state.connections.close(&Member::Cluster(name.clone()));
    tracing::info!(cluster = %name, closed, "cluster removed");
    Ok(StatusCode::NO_CONTENT)
}

/// Makes an invite
///
/// It is the one-time right of a cluster to join, bound to a name and labels. Its text is in the answer and nowhere else.
#[utoipa::path(
    post, path = "/api/v1/clusters/invites", tag = "clusters", security(("token" = [])),
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
    let labels = Labels::parse(&request.labels).map_err(|error| invalid(error.to_string()))?;
    let seconds = request.ttl_seconds.unwrap_or(limit::INVITE_SECONDS_DEFAULT);
    if seconds == 0 || seconds > limit::INVITE_SECONDS {
        return Err(invalid(format!(
            "`ttl_seconds` is {seconds}; 1 to {} are allowed",
            limit::INVITE_SECONDS
        )));
    }
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
