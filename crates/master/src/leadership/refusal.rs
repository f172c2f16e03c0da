//! What users are told while nobody leads.

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tombolo_api::problem::Code;

use crate::rest::Error;

/// Answers everything with "try again", but for the question whether the process lives.
pub(super) fn router() -> Router {
    Router::new()
        .route("/healthz", axum::routing::get(|| async { "ok\n" }))
        .route("/readyz", axum::routing::get(not_ready))
        .fallback(refuse)
}

async fn not_ready() -> Response {
    closing((StatusCode::SERVICE_UNAVAILABLE, "no master leads\n").into_response())
}

async fn refuse() -> Response {
    let error = Error::new(Code::Unavailable, "no master of this installation leads at the moment");
    let hint = "try again in a few seconds; if it stays so, the masters' logs say what keeps them from leading";
    closing(error.with_hint(hint).into_response())
}

/// The next request is to find whoever leads then.
fn closing(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
