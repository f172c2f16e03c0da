//! What stands before every handler.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, Uri, header};
use tombolo_api::problem::Code;
use tower_http::catch_panic::ResponseForPanic;

use super::{Application, Error};
use crate::leadership::Tenure;

/// How long a handler may take to its answer's head: the longest upload and the patience with the store behind it.
const REQUEST_DEADLINE: Duration = Duration::from_secs(300);

/// The longest path with its query: a file's path of 4 KiB, each byte written as three.
const MAX_URI_BYTES: usize = 16 * 1024;

/// Refuses what no handler should see, and answers for handlers that take too long.
pub(super) async fn check(State(state): State<Arc<Application>>, request: Request, next: Next) -> Response {
    let carried_out = async {
        match admit(&state, request.uri()) {
            Err(error) => error.into_response(),
            Ok(_permit) => match tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await {
                Ok(response) => response,
                Err(_) => Error::new(Code::Unavailable, "the request took the server too long").into_response(),
            },
        }
    };
    let mut response = while_leading(&state.tenure, carried_out).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Carries a request out if the master leads, and gives its answer out if it still does then: what it says may be out of date otherwise.
async fn while_leading(tenure: &Tenure, request: impl Future<Output = Response>) -> Response {
    if !tenure.holds() {
        return leads_no_more().into_response();
    }
    let response = request.await;
    match tenure.holds() {
        true => response,
        false => leads_no_more().into_response(),
    }
}

fn admit<'a>(state: &'a Application, uri: &Uri) -> Result<tokio::sync::SemaphorePermit<'a>, Error> {
    let text = uri.path_and_query().map_or("", |path| path.as_str());
    if text.len() > MAX_URI_BYTES {
        let detail = format!("the path has {} bytes; at most {MAX_URI_BYTES} are allowed", text.len());
        return Err(Error::new(Code::TooLarge, detail));
    }
    if text.contains("%00") {
        return Err(Error::new(
            Code::InvalidRequest,
            "the path contains a NUL character (`%00`)",
        ));
    }
    let busy = || {
        Error::new(
            Code::Overloaded,
            "as many requests are being carried out as this master takes at once",
        )
    };
    state.capacity.requests.try_acquire().map_err(|_| busy())
}

/// What users are told by a master that another one may have followed.
fn leads_no_more() -> Error {
    let error = Error::new(Code::Unavailable, "this master does not lead any more");
    error.with_hint("try again: another master takes over within seconds; what was asked for may have been done")
}

/// Where a program finds what it can ask for.
const ROUTES: &str = "`GET /api/v1/openapi.json`, with a token as everywhere, describes all routes";

pub(super) async fn unknown_path(uri: Uri) -> Error {
    let path: String = uri.path().chars().take(200).collect();
    Error::new(Code::NotFound, format_args!("there is no route `{path}`")).with_hint(ROUTES)
}

pub(super) async fn unknown_method(method: Method) -> Error {
    Error::new(Code::MethodNotAllowed, format_args!("this path does not take {method}")).with_hint(ROUTES)
}

/// The answer of a handler that panicked. What it said goes into the log only.
#[derive(Clone, Copy)]
pub(super) struct Panicked;

impl ResponseForPanic for Panicked {
    type ResponseBody = axum::body::Body;

    fn response_for_panic(&mut self, payload: Box<dyn Any + Send + 'static>) -> Response {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Error::internal("a handler panicked", text.as_deref().unwrap_or("no message")).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use http::StatusCode;
    use tombolo_core::time::{Moment, Now};

    use super::*;
    use crate::clock::Clock;

    /// Stands still until it is set.
    #[derive(Debug, Default)]
    struct SetClock(Mutex<Now>);

    impl Clock for SetClock {
        fn now(&self) -> Now {
            *self.0.lock().unwrap()
        }
    }

    impl SetClock {
        fn set(&self, seconds: u64) {
            self.0.lock().unwrap().steady = Moment(Duration::from_secs(seconds));
        }
    }

    /// The status of the answer to a request that takes from the second `begins` to the second `ends`, and whether it was carried out, of a master whose lease
    /// ends after ten seconds.
    async fn answer(begins: u64, ends: u64) -> (StatusCode, bool) {
        let clock = Arc::new(SetClock::default());
        let tenure = Tenure::until(clock.clone(), Moment(Duration::from_secs(10)));
        let ran = AtomicBool::new(false);
        clock.set(begins);
        let response = while_leading(&tenure, async {
            ran.store(true, Ordering::Relaxed);
            clock.set(ends);
            "what it was then".into_response()
        });
        (response.await.status(), ran.into_inner())
    }

    #[tokio::test]
    async fn a_master_whose_lease_has_lapsed_does_nothing_and_says_nothing() {
        assert_eq!(answer(1, 9).await, (StatusCode::OK, true));
        let refused = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(answer(10, 11).await, (refused, false), "before the request");
        assert_eq!(
            answer(1, 10).await,
            (refused, true),
            "between the request and its answer"
        );
    }
}
