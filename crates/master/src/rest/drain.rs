//! What is left of the body of a request that was refused.
//!
//! Over HTTP/2 the server resets a stream whose request nobody reads any more, and clients that are still sending then see a broken stream in place of
//! the answer. So the answer goes out at once, and what the client has still to say is read and dropped behind it, up to a bound. HTTP/1.1 has no such
//! difficulty, and a client that asks before it sends is not to send in vain.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{Version, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Semaphore;

/// How much of a body is read that is of no use to anybody. Nothing of it is kept.
const BYTES: usize = 64 * 1024 * 1024;

/// How long that may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Room for the bodies that are read so at once in this process. More are not: their streams are reset.
static ROOM: Semaphore = Semaphore::const_new(128);

/// Reads what a refused request has still to say, whoever refused it.
pub(super) async fn after_refusal(request: Request, next: Next) -> Response {
    let asks_first = request.headers().contains_key(header::EXPECT);
    if request.version() != Version::HTTP_2 || asks_first || request.body().is_end_stream() {
        return next.run(request).await;
    }
    let rest = Rest::default();
    let request = request.map(|body| {
        Body::new(Lent {
            body: Some(body),
            rest: rest.clone(),
        })
    });
    let response = next.run(request).await;
    let refused = response.status().is_client_error() || response.status().is_server_error();
    let left = rest.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(body) = left.filter(|_| refused)
        && let Ok(permit) = ROOM.try_acquire()
    {
        tokio::spawn(async move {
            let _in_vain = tokio::time::timeout(DEADLINE, drain(body)).await;
            drop(permit);
        });
    }
    response
}

async fn drain(mut body: Body) {
    let mut left = BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// Where a body is put that was dropped before its end.
#[derive(Debug, Default, Clone)]
struct Rest(Arc<Mutex<Option<Body>>>);

/// The body of a request, which comes back if it is dropped before its end.
struct Lent {
    /// None once it has ended.
    body: Option<Body>,
    rest: Rest,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.rest.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}
