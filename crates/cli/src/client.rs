//! The REST client.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use reqwest::{Certificate, ClientBuilder, Method, RequestBuilder, Response, StatusCode, Upgraded, header};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tombolo_api::exec::FRAME_BYTES;
use tombolo_api::problem;
use tombolo_api::{Code, Problem};
use url::Url;

use crate::context::Context;
use crate::failure::{self, ExitCode, Failure};

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long the server may be silent in the middle of an answer; streams send something more often.
const SILENT_AT_MOST: Duration = Duration::from_secs(60);
/// The largest answer that is held in memory: the largest page of an output's listing, several times over.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A connection to one master as one user.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    context: Context,
}

impl Client {
    /// Prepares the connection; nothing is sent yet.
    pub(crate) fn new(context: &Context) -> Result<Self, Failure> {
        check_scheme(&context.server)?;
        let mut base = context.server.clone();
        if let Some(name) = &context.server_name {
            base.set_host(Some(name))
                .map_err(|error| Failure::usage(format!("`{name}` is not a host: {error}")))?;
        }
        Ok(Self {
            http: build(builder(context)?)?,
            base,
            context: context.clone(),
        })
    }

    /// The same master, which may be silent for so long in the middle of an answer.
    pub(crate) fn patient(&self, silent_at_most: Duration) -> Result<Self, Failure> {
        Ok(Self {
            http: build(builder(&self.context)?.read_timeout(silent_at_most))?,
            ..self.clone()
        })
    }

    /// A request for a path of `tombolo_api::path`.
    pub(crate) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let url = self.url(path)?;
        Ok(self
            .http
            .request(method, url)
            .bearer_auth(self.context.token.expose_secret()))
    }

    /// Sends a request and takes an answer of success as it is, to be read piece by piece.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(refused(response).await.into())
        }
    }

    /// Asks and reads the answer.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self.send(self.request(Method::GET, path)?).await?;
        self.read(response).await
    }

    /// Sends a body and reads the answer.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        let response = self.send(self.request(Method::POST, path)?.json(body)).await?;
        self.read(response).await
    }

    /// Puts a body where it belongs and reads the answer.
    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        let response = self.send(self.request(Method::PUT, path)?.json(body)).await?;
        self.read(response).await
    }

    /// Changes something.
    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        let response = self.send(self.request(Method::PATCH, path)?.json(body)).await?;
        self.read(response).await
    }

    /// Has something removed and reads the answer.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self.send(self.request(Method::DELETE, path)?).await?;
        self.read(response).await
    }

    /// Asks for something to happen, without an answer beyond success.
    pub(crate) async fn act(&self, method: Method, path: &str) -> Result<(), Failure> {
        self.send(self.request(method, path)?).await.map(drop)
    }

    /// Opens a WebSocket.
    pub(crate) async fn websocket(&self, path: &str, protocol: &str) -> Result<WebSocketStream<Upgraded>, Failure> {
        // Only connections of HTTP/1.1 can become one.
        let http = build(builder(&self.context)?.http1_only())?;
        let key = generate_key();
        let request = http
            .get(self.url(path)?)
            .bearer_auth(self.context.token.expose_secret())
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_PROTOCOL, protocol)
            .header(header::SEC_WEBSOCKET_KEY, &key);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        let is_accepted =
            accepted.is_some_and(|accepted| accepted.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes());
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS if is_accepted => {
                let stream = response.upgrade().await.map_err(|error| self.unreachable(&error))?;
                let config = WebSocketConfig::default()
                    .write_buffer_size(0)
                    .max_message_size(Some(FRAME_BYTES))
                    .max_frame_size(Some(FRAME_BYTES));
                Ok(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await)
            }
            status if status.is_informational() || status.is_success() => Err(Failure::new(
                ExitCode::Failed,
                format!("the master answered {status} instead of opening a WebSocket"),
            )
            .hint("is there a proxy in between that does not pass WebSockets on?")),
            _ => Err(refused(response).await.into()),
        }
    }

    fn url(&self, path: &str) -> Result<Url, Failure> {
        let url = self.base.join(path);
        url.map_err(|error| Failure::usage(format!("cannot ask for {path}: {error}")))
    }

    /// The next piece of a streamed answer.
    pub(crate) async fn chunk(&self, response: &mut Response) -> Result<Option<bytes::Bytes>, Failure> {
        response.chunk().await.map_err(|error| self.unreachable(&error))
    }

    async fn read<T: DeserializeOwned>(&self, mut response: Response) -> Result<T, Failure> {
        let mut body = Vec::new();
        while let Some(piece) = self.chunk(&mut response).await? {
            if body.len() + piece.len() > MAX_ANSWER_BYTES {
                return Err(Failure::new(
                    ExitCode::Failed,
                    format!("the answer is larger than {MAX_ANSWER_BYTES} bytes"),
                ));
            }
            body.extend_from_slice(&piece);
        }
        serde_json::from_slice(&body).map_err(|error| {
            Failure::new(
                ExitCode::Failed,
                format!("the master's answer is not understood: {error}"),
            )
            .hint("is this a Tombolo master of this version?")
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            reason = cause.to_string();
            source = cause.source();
        }
        Failure::new(
            ExitCode::Unreachable,
            format!("the master at {} cannot be reached: {reason}", self.base),
        )
        .hint(if reason.contains("certificate") {
            "does the context trust this server? `tombolo login URL --certificate-authority FILE`, with the master's `trust.pem`"
        } else {
            "is it running, and is this the right context? (`tombolo context list`)"
        })
        .broken_off(!error.is_connect() && !error.is_timeout())
    }
}

/// What all connections of a context have in common.
fn builder(context: &Context) -> Result<ClientBuilder, Failure> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("tombolo/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_WITHIN)
        .read_timeout(SILENT_AT_MOST)
        .redirect(reqwest::redirect::Policy::none())
        .https_only(true);
    if let Some(pem) = &context.certificate_authority {
        let certificates = Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|error| Failure::usage(format!("the context's certificates are not valid: {error}")))?;
        builder = builder.tls_certs_only(certificates);
    }
    if let Some(name) = &context.server_name {
        builder = builder.resolve_to_addrs(name, &addresses(&context.server)?);
    }
    Ok(builder)
}

fn build(builder: ClientBuilder) -> Result<reqwest::Client, Failure> {
    let built = builder.build();
    built.map_err(|error| Failure::usage(format!("cannot prepare TLS: {error}")))
}

/// A token never crosses a network that others can read.
fn check_scheme(server: &Url) -> Result<(), Failure> {
    if server.scheme() == "https" {
        return Ok(());
    }
    let (_, rest) = server.as_str().split_once("://").unwrap_or(("", server.as_str()));
    Err(Failure::usage(format!(
        "`{server}` does not begin with `https://`, and the token goes over TLS only"
    ))
    .hint(format!("say `https://{rest}`")))
}

fn addresses(server: &Url) -> Result<Vec<SocketAddr>, Failure> {
    let host = server.host_str().unwrap_or_default();
    let port = server.port_or_known_default().unwrap_or(443);
    let found = (host.trim_matches(['[', ']']), port).to_socket_addrs();
    found.map(Iterator::collect).map_err(|error| {
        Failure::new(
            ExitCode::Unreachable,
            format!("the host `{host}` is not known: {error}"),
        )
    })
}

/// The problem in an answer that is not success; one is made up if the answer has none.
async fn refused(response: Response) -> Problem {
    let status = response.status();
    let retry_after = response.headers().get(reqwest::header::RETRY_AFTER).cloned();
    let is_problem = response
        .headers()
        .get(reqwest::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(problem::MEDIA_TYPE.as_bytes()));
    if is_problem && let Ok(problem) = response.json::<Problem>().await {
        let seconds = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        return failure::with_time_to_retry(problem, seconds);
    }
    let code = match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::Forbidden,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    };
    Problem::new(code, format!("the server answered {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_scheme_is_refused_with_the_right_one() {
        check_scheme(&"https://master:8443".parse().unwrap()).unwrap();
        let refused = check_scheme(&"http://master:8443/x".parse().unwrap()).unwrap_err();
        assert_eq!(refused.code, ExitCode::Usage);
        assert_eq!(refused.hint.unwrap(), "say `https://master:8443/x`");
    }
}
