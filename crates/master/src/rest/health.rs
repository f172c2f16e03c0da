//! Whether the process lives and can do its work: for probes, without a token.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use http::StatusCode;

use super::Application;

/// How long the driver may take to answer before the master counts as not ready.
const READY_DEADLINE: Duration = Duration::from_secs(2);

/// Whether the process lives
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String)))]
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// Whether the process can do its work
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses((status = 200, body = String), (status = 503, body = String))
)]
pub(super) async fn ready(State(state): State<Arc<Application>>) -> (StatusCode, &'static str) {
    let asked = tokio::time::timeout(READY_DEADLINE, state.handle.query(|control| control.next_deadline()));
    match asked.await {
        Ok(Ok(_)) if !state.stopping.is_cancelled() => (StatusCode::OK, "ready\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}
