//! What a store answers beside its words: that it wants to be left alone for a while, and how it has refused. The library
//! between keeps neither.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::{StatusCode, header};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use tokio::time::Instant;

/// The longest pause that a store may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

tokio::task_local! {
    /// The status of the last answer to the attempt under way, if it was no success.
    static REFUSAL: Cell<Option<StatusCode>>;
}

/// Until when a store wants to be left alone. Clones share it: who is throttled once does not go on with other requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace {
    until: Arc<Mutex<Option<Instant>>>,
}

impl Pace {
    /// How long the store still wants to be left alone.
    pub(super) fn pause(&self) -> Duration {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    fn hold(&self, pause: Duration) {
        let asked = Instant::now() + pause.min(LONGEST_PAUSE);
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = Some(until.map_or(asked, |until| until.max(asked)));
    }

    /// As if the store had never asked for anything.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        *self.until.lock().unwrap() = None;
    }

    /// Makes connections whose answers are heard.
    pub(super) fn connector(&self) -> Connector {
        Connector(self.clone())
    }

    /// Runs an attempt, and says how the store refused it, if it did.
    pub(super) async fn listen<T>(attempt: impl Future<Output = T>) -> (T, Option<StatusCode>) {
        let listening = async {
            let result = attempt.await;
            (result, REFUSAL.with(Cell::get))
        };
        REFUSAL.scope(Cell::new(None), listening).await
    }

    fn hear(&self, response: &HttpResponse) {
        let status = response.status();
        // Outside of an attempt there is nobody to tell.
        let refusal = (!status.is_success()).then_some(status);
        let _ = REFUSAL.try_with(|heard| heard.set(refusal));
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            let asked = response.headers().get(header::RETRY_AFTER);
            if let Some(seconds) = asked.and_then(|value| value.to_str().ok()?.trim().parse().ok()) {
                self.hold(Duration::from_secs(seconds));
            }
        }
    }
}

/// See [`Pace::connector`].
#[derive(Debug)]
pub(super) struct Connector(Pace);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        let pace = self.0.clone();
        Ok(HttpClient::new(Listener { client, pace }))
    }
}

#[derive(Debug)]
struct Listener {
    client: HttpClient,
    pace: Pace,
}

#[async_trait]
impl HttpService for Listener {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.client.execute(request).await?;
        self.pace.hear(&response);
        Ok(response)
    }
}
