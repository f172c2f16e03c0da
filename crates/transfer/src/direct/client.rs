use std::fmt::Write;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, header};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Response};
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep, timeout};

use super::SignedRequest;

/// Connections that wait for the next request, for each store.
const IDLE_CONNECTIONS: usize = 4;
/// How much of a store's words is read and told.
const WORDS_BYTES: usize = 300;
/// The longest pause that a store may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// After how many uploads of one object that arrived damaged it is given up: the way does that always.
const MISMATCHES: u32 = 3;
const NO_ANSWER: &str = "no answer in time";
/// Between attempts, where the store does not say.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(200))
    .with_max_delay(Duration::from_secs(5))
    .without_max_times()
    .with_jitter();

/// How long a store is given. An operation must end while its signature lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For a connection to come about.
    pub connect: Duration,
    /// For one request: a chunk of the longest kind at 400 KiB/s, by default.
    pub request: Duration,
    /// For one operation with all its repetitions.
    pub operation: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(45),
            operation: Duration::from_secs(60),
        }
    }
}

/// What an upload came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The bytes are there.
    Stored,
    /// Something is there already; nothing was written.
    Occupied,
}

/// Why a request was not carried out. None of these shows the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The store cannot be reached from here: no address, no connection, or TLS that does not come about.
    #[error("{0}")]
    Unreachable(String),
    /// The store refuses the request, and would refuse others like it.
    #[error("{0}")]
    Refused(String),
    /// The object is not there.
    #[error("the object is not there")]
    Missing,
    /// More bytes came than the object may have.
    #[error("the object has more than {0} bytes")]
    TooLong(u32),
    /// It was tried again and again, in vain.
    #[error("{0}")]
    Busy(String),
}

/// What one attempt failed with.
enum Fault {
    Final(Failure),
    /// What arrived is not what was sent: it may be tried again.
    Mismatch(String),
    /// It may be tried again, not before this pause if there is one.
    Passing(String, Option<Duration>),
}

/// Makes signed requests. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    deadlines: Deadlines,
    place: Place,
}

/// Where the stores are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In this cluster.
    Near,
    /// Where another member says.
    Elsewhere,
}

impl Client {
    /// `certificates`: PEM text of authorities that are trusted beside the system's.
    ///
    /// # Errors
    /// What is wrong with the certificates, or that this program has not chosen its cryptography.
    pub fn new(certificates: Option<&str>, deadlines: Deadlines) -> Result<Self, String> {
        Self::with(certificates, deadlines, Place::Near)
    }

    /// As [`Self::new`], for stores of other clusters: by the proxy that the environment names, and without telling the words of whoever
    /// answers, who may be anybody.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn elsewhere(certificates: Option<&str>, deadlines: Deadlines) -> Result<Self, String> {
        Self::with(certificates, deadlines, Place::Elsewhere)
    }

    fn with(certificates: Option<&str>, deadlines: Deadlines, place: Place) -> Result<Self, String> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err("this program has not chosen its cryptography yet".to_owned());
        }
        let certificates = certificates.map(|pem| Certificate::from_pem_bundle(pem.as_bytes()));
        let certificates = certificates.transpose().map_err(|error| chain(&error))?;
        let http = reqwest::Client::builder()
            .user_agent(concat!("tombolo/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(deadlines.connect)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            // One connection for each chunk under way, as stores have it.
            .http1_only()
            // A signature is for one place. Whoever leads elsewhere would get it.
            .redirect(Policy::none())
            .tls_certs_merge(certificates.unwrap_or_default());
        let http = match place {
            Place::Near => http.no_proxy(),
            Place::Elsewhere => http,
        };
        let http = http.build().map_err(|error| chain(&error))?;
        Ok(Self { http, deadlines, place })
    }

    /// Uploads `object` as the request says.
    ///
    /// # Errors
    /// See [`Failure`]. Nothing is known of the object then: it may have been written, and the answer lost.
    pub async fn put(&self, request: &SignedRequest, object: &Bytes) -> Result<Written, Failure> {
        self.repeat(|| self.attempt_put(request, object.clone())).await
    }

    /// As [`Self::put`], once. For trials.
    pub(crate) async fn put_once(&self, request: &SignedRequest, object: Bytes) -> Result<Written, Failure> {
        let attempt = timeout(self.deadlines.request, self.attempt_put(request, object)).await;
        match attempt {
            Ok(Ok(written)) => Ok(written),
            Ok(Err(Fault::Final(failure))) => Err(failure),
            Ok(Err(Fault::Mismatch(reason))) => Err(Failure::Refused(reason)),
            Ok(Err(Fault::Passing(reason, _))) => Err(Failure::Busy(reason)),
            Err(_) => Err(Failure::Busy(NO_ANSWER.to_owned())),
        }
    }

    async fn attempt_put(&self, request: &SignedRequest, object: Bytes) -> Result<Written, Fault> {
        let response = self.send(Method::PUT, request, Some(object)).await?;
        match response.status() {
            StatusCode::PRECONDITION_FAILED => Ok(Written::Occupied),
            status if status.is_success() => Ok(Written::Stored),
            _ => Err(self.fault(response).await),
        }
    }

    async fn fault(&self, response: Response) -> Fault {
        fault(response, self.place == Place::Near).await
    }

    /// Downloads an object of at most `limit` bytes; nothing of them was checked.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn get(&self, request: &SignedRequest, limit: u32) -> Result<Bytes, Failure> {
        self.repeat(|| async {
            let mut response = self.send(Method::GET, request, None).await?;
            match response.status() {
                StatusCode::NOT_FOUND => return Err(Fault::Final(Failure::Missing)),
                StatusCode::OK => {}
                _ => return Err(self.fault(response).await),
            }
            let too_long = || Fault::Final(Failure::TooLong(limit));
            let length = response.content_length().unwrap_or(0);
            if length > u64::from(limit) {
                return Err(too_long());
            }
            let mut object = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
            while let Some(piece) = response.chunk().await.map_err(|error| transport(&error))? {
                if object.len() + piece.len() > limit as usize {
                    return Err(too_long());
                }
                object.extend_from_slice(&piece);
            }
            Ok(object.freeze())
        })
        .await
    }

    async fn send(&self, method: Method, request: &SignedRequest, body: Option<Bytes>) -> Result<Response, Fault> {
        let url = request.url().expose_secret();
        let mut sending = self.http.request(method, url).headers(request.headers().clone());
        if let Some(body) = body {
            // Set always, also where a client would leave it out: stores want it of an empty object too.
            sending = sending.header(header::CONTENT_LENGTH, body.len()).body(body);
        }
        sending.send().await.map_err(|error| transport(&error))
    }

    async fn repeat<T, Attempt>(&self, attempt: impl Fn() -> Attempt) -> Result<T, Failure>
    where
        Attempt: Future<Output = Result<T, Fault>>,
    {
        let began = Instant::now();
        let mut pauses = PAUSES.build();
        let mut mismatches = 0;
        loop {
            let left = self.deadlines.operation.saturating_sub(began.elapsed());
            let (reason, asked) = match timeout(self.deadlines.request.min(left), attempt()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(Fault::Final(failure))) => return Err(failure),
                Ok(Err(Fault::Passing(reason, asked))) => (reason, asked),
                Ok(Err(Fault::Mismatch(reason))) => {
                    mismatches += 1;
                    if mismatches >= MISMATCHES {
                        return Err(Failure::Busy(reason));
                    }
                    (reason, None)
                }
                Err(_) => (NO_ANSWER.to_owned(), None),
            };
            let usual = pauses.next().unwrap_or(LONGEST_PAUSE);
            let pause = asked.map_or(usual, |asked| asked.min(LONGEST_PAUSE).max(usual));
            if began.elapsed() + pause >= self.deadlines.operation {
                return Err(Failure::Busy(reason));
            }
            tracing::debug!(reason, ?pause, "the store did not answer as it should; trying again");
            sleep(pause).await;
        }
    }
}

/// What a store's answer other than success means.
async fn fault(mut response: Response, tell_words: bool) -> Fault {
    let status = response.status();
    let asked = response.headers().get(header::RETRY_AFTER);
    let asked = asked.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let mut words = BytesMut::new();
    while words.len() < WORDS_BYTES {
        match response.chunk().await {
            Ok(Some(piece)) => words.extend_from_slice(&piece[..piece.len().min(WORDS_BYTES - words.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    let words: String = String::from_utf8_lossy(&words)
        .chars()
        .filter(|character| !character.is_control())
        .collect();
    let told = if tell_words { &words } else { "" };
    let reason = format!("the store answered {status} {told}").trim_end().to_owned();
    match status {
        // Two writers at the same time: who comes later finds the object.
        StatusCode::CONFLICT | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Fault::Passing(reason, asked.map(Duration::from_secs))
        }
        StatusCode::BAD_REQUEST if words.contains("BadDigest") => Fault::Mismatch(reason),
        // What Amazon says of a client that was too slow.
        StatusCode::BAD_REQUEST if words.contains("RequestTimeout") => Fault::Passing(reason, None),
        status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
            Fault::Passing(reason, asked.map(Duration::from_secs))
        }
        _ => Fault::Final(Failure::Refused(reason)),
    }
}

fn transport(error: &reqwest::Error) -> Fault {
    // Without the address, which holds the signature.
    let reason = chain(error);
    if error.is_connect() || error.is_builder() {
        Fault::Final(Failure::Unreachable(reason))
    } else {
        Fault::Passing(reason, None)
    }
}

/// An error's causes. Its own first words name the address with the signature, and say little else.
fn chain(error: &reqwest::Error) -> String {
    let mut words = if error.is_connect() {
        "no connection".to_owned()
    } else {
        "the request failed".to_owned()
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let _ = write!(words, ": {error}");
        cause = error.source();
    }
    words.chars().take(WORDS_BYTES).collect()
}

#[cfg(test)]
mod tests;
