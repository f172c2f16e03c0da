//! The audit trail: one line (tracing target `audit`) for every call that was refused and every call that changes something.

use std::net::SocketAddr;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode};

use super::authorization::CallerSlot;

/// Where a request comes from; put there by the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remote(pub(crate) SocketAddr);

/// Routes that send content and change nothing that anybody sees: they are recorded when refused only. What makes the content
/// count, its manifest, is recorded.
const CONTENT: [&str; 2] = [
    "/api/v1/projects/{project}/source/missing",
    "/api/v1/projects/{project}/source/chunks/{digest}",
];

pub(crate) async fn record(mut request: Request, next: Next) -> Response {
    let slot = CallerSlot::default();
    request.extensions_mut().insert(slot.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|matched| matched.as_str().to_owned());
    let remote = request.extensions().get::<Remote>().map(|remote| remote.0);
    let response = next.run(request).await;
    let status = response.status();
    let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let content = route.as_deref().is_some_and(|route| CONTENT.contains(&route));
    let changing = !matches!(method, Method::GET | Method::HEAD | Method::OPTIONS) && !content && route.is_some();
    if refused || changing {
        let caller = slot.0.get();
        let token = caller.map(|caller| tracing::field::display(caller.id));
        let name = caller.map(|caller| caller.name.as_str());
        let remote = remote.map(tracing::field::display);
        tracing::info!(target: "audit", token, name, remote, %method, path, status = status.as_u16(), refused, "request");
    }
    response
}
