//! What callers are told while nobody leads.

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tombolo_api::DateTime;
use tombolo_api::problem::Code;
use tombolo_core::time::Timestamp;

use crate::clock::{Clock, SystemClock};
use crate::rest::Error;

/// Why nobody leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// No master does, or none that can be reached.
    Nobody,
    /// This one is to lead then.
    Waits(Timestamp),
}

/// Why a master that was restored does nothing yet.
pub(super) fn waits(until: Timestamp) -> String {
    let until = DateTime::from(Timestamp(until.0.div_ceil(1000) * 1000));
    format!(
        "this master was restored from a backup and leads from {until} on: until then leases may last that it knows nothing of"
    )
}

/// Answers users: everything with "try again", but for the question whether the process lives.
pub(super) fn for_users(why: Why) -> Router {
    Router::new()
        .route("/healthz", axum::routing::get(|| async { "ok\n" }))
        .route("/readyz", axum::routing::get(move || async move { not_ready(why) }))
        .fallback(move || async move { refuse(why) })
}

/// Answers agents, in the words of gRPC.
pub(super) fn for_agents(why: Why) -> Router {
    Router::new()
        .fallback(move || async move { tonic::Status::unavailable(detail(why)).into_http::<axum::body::Body>() })
}

fn detail(why: Why) -> String {
    match why {
        Why::Nobody => "no master of this installation leads at the moment".to_owned(),
        Why::Waits(until) => waits(until),
    }
}

fn not_ready(why: Why) -> Response {
    let words = match why {
        Why::Nobody => "no master leads\n".to_owned(),
        Why::Waits(until) => format!("{}\n", waits(until)),
    };
    closing((StatusCode::SERVICE_UNAVAILABLE, words).into_response())
}

fn refuse(why: Why) -> Response {
    let error = Error::new(Code::Unavailable, detail(why));
    let Why::Waits(until) = why else {
        let hint = "try again in a few seconds; if it stays so, the masters' logs say what keeps them from leading";
        return closing(error.with_hint(hint).into_response());
    };
    let mut response = closing(error.with_hint("try again then; jobs that run go on").into_response());
    let left = until.0.saturating_sub(SystemClock.now().wall.0).div_ceil(1000);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(left.max(1)));
    response
}

/// The next request is to find whoever leads then.
fn closing(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
