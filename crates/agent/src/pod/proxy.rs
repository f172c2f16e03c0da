//! What the courier does for the supervisor: it hands calls on to the agent, with the token that the supervisor does not have.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::{Service, ServiceExt};

use super::direct::Direct;

/// Connections at once: the supervisor has one.
const CONNECTIONS: usize = 4;
/// Calls at once of one connection.
const CALLS: u32 = 32;
/// What one call, and all of a connection, may have in flight: with what the way to the agent holds, a few MiB.
const CALL_WINDOW_BYTES: u32 = 512 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * CALL_WINDOW_BYTES;
/// What waits to be sent to the supervisor, for each call.
const SEND_BUFFER_BYTES: usize = 512 * 1024;
const HEADER_LIST_BYTES: u32 = 16 * 1024;
/// How long the last word waits for the end of the command to be reported before it is to be repeated.
const REPORT_PATIENCE: Duration = Duration::from_secs(20);
/// After the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const FINISH: &str = "/tombolo.courier.v1.Courier/Finish";
const PUT_CHUNKS: &str = "/tombolo.courier.v1.Courier/PutChunks";
const GET_CHUNKS: &str = "/tombolo.transfer.v1.Chunks/GetChunks";
/// What the supervisor may ask. The session is the courier's, and so are signed requests to the store.
const CALLS_OF_THE_POD: [&str; 7] = [
    "/tombolo.courier.v1.Courier/Describe",
    "/tombolo.courier.v1.Courier/FindMissing",
    PUT_CHUNKS,
    "/tombolo.courier.v1.Courier/PutManifest",
    FINISH,
    "/tombolo.transfer.v1.Chunks/GetManifest",
    GET_CHUNKS,
];

/// Listens at `path`, to all users.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Hands calls on.
#[derive(Clone)]
pub(super) struct Proxy {
    agent: Channel,
    authorization: HeaderValue,
    /// Whether the agent has been told of the command's end.
    reported: watch::Receiver<bool>,
    direct: Direct,
}

impl Proxy {
    pub(super) const fn new(
        agent: Channel,
        authorization: HeaderValue,
        reported: watch::Receiver<bool>,
        direct: Direct,
    ) -> Self {
        Self {
            agent,
            authorization,
            reported,
            direct,
        }
    }

    /// For ever. Dropping the future closes all connections.
    pub(super) async fn serve(self, listener: UnixListener) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let permit = Arc::clone(&permits).acquire_owned().await;
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, _)) => {
                    let proxy = self.clone();
                    connections.spawn(async move {
                        proxy.serve_one(stream).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve_one(&self, stream: UnixStream) {
        let mut server = http2::Builder::new(TokioExecutor::new());
        server
            .initial_stream_window_size(CALL_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(CALLS)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_header_list_size(HEADER_LIST_BYTES);
        let answer = service_fn(|request| {
            let proxy = self.clone();
            async move { Ok::<_, Infallible>(proxy.answer(request).await) }
        });
        if let Err(error) = server.serve_connection(TokioIo::new(stream), answer).await {
            tracing::debug!(%error, "a connection of the pod broke");
        }
    }

    async fn answer(mut self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if !CALLS_OF_THE_POD.contains(&path) {
            return Status::permission_denied("this call is not for the pod").into_http();
        }
        if path == FINISH && !self.is_reported().await {
            return Status::unavailable("the agent does not have the whole log yet").into_http();
        }
        if path == PUT_CHUNKS && self.direct.takes_uploads().await {
            return self.direct.put_chunks(request).await;
        }
        if path == GET_CHUNKS && self.direct.takes_downloads().await {
            return self.direct.get_chunks(request).await;
        }
        let (mut head, body) = request.into_parts();
        head.headers.insert(AUTHORIZATION, self.authorization.clone());
        let request = Request::from_parts(head, Body::new(body));
        let answered = match self.agent.ready().await {
            Ok(agent) => agent.call(request).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(response) => response.map(|body| Body::new(Unbroken { body: Some(body) })),
            Err(error) => unreachable(&error).into_http(),
        }
    }

    /// The last word comes after all others.
    async fn is_reported(&mut self) -> bool {
        let reported = self.reported.wait_for(|reported| *reported);
        matches!(timeout(REPORT_PATIENCE, reported).await, Ok(Ok(_)))
    }
}

/// What a call hears whose answer did not come, or not whole: it may be repeated.
fn unreachable(error: &(dyn StdError + 'static)) -> Status {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    Status::unavailable(format!("the way to the agent: {reason}"))
}

/// An answer that ends with a status even if the connection that it came by breaks.
struct Unbroken {
    /// None after its end.
    body: Option<Body>,
}

impl http_body::Body for Unbroken {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(task));
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(frame)),
            None => {
                self.body = None;
                None
            }
            Some(Err(error)) => {
                self.body = None;
                let mut trailers = HeaderMap::new();
                let told = unreachable(&error).add_header(&mut trailers);
                Some(told.map(|()| Frame::trailers(trailers)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }
}
