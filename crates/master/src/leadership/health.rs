//! Answers probes, whatever the master is at the moment.

use std::borrow::Cow;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Role, refusal};
use crate::rest::{Answering, ServerLimits};

/// Probes that are answered at once; more are turned away.
const CONNECTIONS_MAX: usize = 32;

/// How long to wait after the system refused a connection: at once again would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stopping` is cancelled.
pub(crate) async fn serve(listener: TcpListener, roles: watch::Receiver<Role>, stopping: CancellationToken) {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(roles);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, remote)) if connections.len() < CONNECTIONS_MAX => {
                    let (router, stopping) = (router.clone(), stopping.clone());
                    let answering = Answering { router, limits: ServerLimits::default(), stopping, remote };
                    connections.spawn(answering.over(socket));
                }
                Ok((_, remote)) => tracing::warn!(%remote, limit = CONNECTIONS_MAX, "a probe was turned away: too many at once"),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a probe's connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a probe's connection failed");
                }
            }
            () = stopping.cancelled() => return,
        }
    }
}

/// Whether connections are of use here, and what the master is.
async fn ready(State(roles): State<watch::Receiver<Role>>) -> (StatusCode, Cow<'static, str>) {
    const NOT_READY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    match &*roles.borrow() {
        Role::Leader => (StatusCode::OK, "leader\n".into()),
        Role::Stalled => (
            NOT_READY,
            "leader, and its database takes no changes: its log says why\n".into(),
        ),
        Role::Taking => (StatusCode::OK, "about to lead\n".into()),
        Role::Waiting(until) => (NOT_READY, format!("{}\n", refusal::waits(*until)).into()),
        Role::Standby(Some(known)) if known.addresses.is_some() => (StatusCode::OK, "standby\n".into()),
        Role::Standby(_) => (NOT_READY, "standby, and no leader is known\n".into()),
    }
}
