//! Clusters.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use tombolo_api::problem::Code;
use tombolo_api::{ChangeCluster, ChangeLabels, Cluster, ClusterList, LabelledCluster};
use tombolo_core::control::{Caution, Command, Present, Refusal};
use tombolo_core::label;
use tombolo_core::name::{ClusterName, ProjectName};
use tombolo_core::placement::Availability;
use tombolo_identity::member::Member;

use super::authorization::{Admin, Everywhere, Viewer};
use super::error::Problems;
use super::extract::{Json, Path, Query};
use super::{Application, Error, view};
use crate::driver::ApplyError;

/// How many clusters a hint names.
const NAMED_CLUSTERS: usize = 20;

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
    let now = state.clock.now();
    let clusters = state
        .handle
        .query(move |control| control.clusters().map(|view| view::cluster(&view, now)).collect());
    Ok(Answer(ClusterList {
        clusters: clusters.await?,
    }))
}

#[derive(Deserialize)]
pub(super) struct ClusterPath {
    cluster: String,
}

impl ClusterPath {
    pub(super) fn name(&self) -> Result<ClusterName, Error> {
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
    describe(&state, &path.name()?).await
}

async fn describe(state: &Application, name: &ClusterName) -> Result<Answer<Cluster>, Error> {
    let (lookup, now) = (name.clone(), state.clock.now());
    let cluster = state
        .handle
        .query(move |control| control.cluster(&lookup).map(|view| view::cluster(&view, now)));
    match cluster.await? {
        Some(cluster) => Ok(Answer(cluster)),
        None => Err(unknown_cluster(state, name).await),
    }
}

/// Says which clusters there are: a misspelt name is the usual reason.
async fn unknown_cluster(state: &Application, name: &ClusterName) -> Error {
    let error = Error::not_found("cluster", name);
    let known = state.handle.query(|control| {
        let names = control.clusters().map(|view| view.record.name.to_string());
        names.take(NAMED_CLUSTERS + 1).collect::<Vec<_>>()
    });
    match known.await.as_deref() {
        Err(_) => error,
        Ok([]) => error.with_hint("no cluster has joined yet: `tombolo cluster invite NAME`"),
        Ok(names) => {
            let more = if names.len() > NAMED_CLUSTERS { ", ..." } else { "" };
            let names = names[..names.len().min(NAMED_CLUSTERS)].join(", ");
            error.with_hint(format_args!("the clusters are: {names}{more}"))
        }
    }
}

/// Says which jobs a cluster takes
///
/// The jobs that it has go on where they are, unless they are to be moved. If it is disabled, they are placed elsewhere, its connections are closed, and its
/// agent is refused until it takes jobs again.
#[utoipa::path(
    patch, path = "/api/v1/clusters/{cluster}", tag = "clusters", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("everywhere"))),
    params(("cluster" = String, Path, description = "The cluster's name")),
    request_body = ChangeCluster,
    responses((status = 200, body = Cluster), Problems)
)]
pub(super) async fn change_cluster(
    State(state): State<Arc<Application>>,
    _: Everywhere<Admin>,
    Path(path): Path<ClusterPath>,
    Json(request): Json<ChangeCluster>,
) -> Result<Answer<Cluster>, Error> {
    let name = path.name()?;
    let availability = Availability::from(request.availability);
    let command = Command::SetAvailability {
        name: name.clone(),
        availability,
        present: if request.move_jobs {
            Present::Move
        } else {
            Present::Stay
        },
    };
    match state.handle.apply(command).await {
        Err(ApplyError::Refused(Refusal::NotFound { .. })) => return Err(unknown_cluster(&state, &name).await),
        applied => applied?,
    };
    if availability == Availability::Disabled {
        let closed = state.connections.close(&Member::Cluster(name.clone()));
        tracing::info!(cluster = %name, closed, "cluster disabled");
    }
    describe(&state, &name).await
}

/// Changes the labels of a cluster
///
/// Those that are not named stay as they are. The jobs that the cluster has go on there, also those that it does not suit any more; jobs that wait are looked at
/// again at once. The answer names the projects that say where their jobs may run, and for which that is another question now.
#[utoipa::path(
    patch, path = "/api/v1/clusters/{cluster}/labels", tag = "clusters", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("everywhere"))),
    params(("cluster" = String, Path, description = "The cluster's name")),
    request_body = ChangeLabels,
    responses((status = 200, body = LabelledCluster), Problems)
)]
pub(super) async fn change_labels(
    State(state): State<Arc<Application>>,
    _: Everywhere<Admin>,
    Path(path): Path<ClusterPath>,
    Json(request): Json<ChangeLabels>,
) -> Result<Answer<LabelledCluster>, Error> {
    let name = path.name()?;
    let invalid = |error: label::Error| {
        let hint = format!("{}. `KEY-` takes a label away", error.hint());
        Error::new(Code::InvalidRequest, format_args!("body: {error}")).with_hint(hint)
    };
    let change = label::Change::parse(&request.labels).map_err(invalid)?;
    let before = admitted(&state, &name).await?;
    let command = Command::ChangeLabels {
        name: name.clone(),
        change,
    };
    match state.handle.apply(command).await {
        Err(ApplyError::Refused(Refusal::NotFound { .. })) => return Err(unknown_cluster(&state, &name).await),
        Err(ApplyError::Refused(refusal @ Refusal::Limit(_))) => {
            let hint = "`KEY-` takes a label away, also in the same request";
            return Err(Error::from(refusal).with_hint(hint));
        }
        applied => applied?,
    };
    let after = admitted(&state, &name).await?;
    let Answer(cluster) = describe(&state, &name).await?;
    Ok(Answer(LabelledCluster {
        cluster,
        lets_in: after.difference(&before).cloned().collect(),
        keeps_out: before.difference(&after).cloned().collect(),
    }))
}

/// The projects that say where their jobs may run, and say so of this cluster.
async fn admitted(state: &Application, name: &ClusterName) -> Result<BTreeSet<ProjectName>, Error> {
    let name = name.clone();
    let admitted = state.handle.query(move |control| {
        let labels = control
            .cluster(&name)
            .map(|view| view.labels.clone())
            .unwrap_or_default();
        let choosy = control.projects().filter(|project| !project.share.clusters.is_empty());
        let admitting = choosy.filter(|project| project.share.clusters.matches(&labels));
        admitting.map(|project| project.name.clone()).collect()
    });
    Ok(admitted.await?)
}

/// Removes a cluster
///
/// Its connections are closed, and its certificate is of no use any more. While it has jobs that are not over, or outputs that jobs wait for and no other cluster
/// has, that is refused unless it is forced: then its jobs begin anew elsewhere, and those run again that made the outputs.
#[utoipa::path(
    delete, path = "/api/v1/clusters/{cluster}", tag = "clusters", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("everywhere"))),
    params(
        ("cluster" = String, Path, description = "The cluster's name"),
        ("force" = Option<bool>, Query, description = "Also if it has jobs, or outputs that jobs wait for are lost with it"),
    ),
    responses((status = 204), Problems)
)]
pub(super) async fn remove_cluster(
    State(state): State<Arc<Application>>,
    _: Everywhere<Admin>,
    Path(path): Path<ClusterPath>,
    Query(how): Query<Removing>,
) -> Result<StatusCode, Error> {
    let name = path.name()?;
    let command = Command::RemoveCluster {
        name: name.clone(),
        caution: if how.force { Caution::None } else { Caution::Needs },
    };
    match state.handle.apply(command).await {
        Err(ApplyError::Refused(Refusal::NotFound { .. })) => return Err(unknown_cluster(&state, &name).await),
        Err(ApplyError::Refused(refusal @ Refusal::Conflict(_))) => {
            return Err(Error::from(refusal).with_hint(format_args!(
                "`tombolo cluster drain {name} --wait` lets its jobs end and copies outputs that jobs need to other clusters; \
                 `tombolo cluster remove {name} --force` has its jobs, and those that made such outputs, run again elsewhere"
            )));
        }
        applied => applied?,
    };
    let closed = state.connections.close(&Member::Cluster(name.clone()));
    tracing::info!(cluster = %name, closed, "cluster removed");
    Ok(StatusCode::NO_CONTENT)
}

/// How a cluster is removed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Removing {
    /// Whatever is lost by that.
    #[serde(default)]
    force: bool,
}
