//! Accepts users' connections: TLS, then HTTP/1.1 or HTTP/2.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::from_fn;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::audit::Remote;
use super::drain;

/// What connections may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many connections are open at once; more are closed at once.
    pub connections: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How many handshakes go on at once, which do not count as connections yet; with one more the oldest is given up.
    pub handshakes: usize,
    /// How long the head of a request may take, and how long an HTTP/1.1 connection may be idle.
    pub head: Duration,
    /// How long open requests have when the server stops.
    pub grace: Duration,
}

impl Default for Limits {
    /// 2,000 connections: some 100 MiB of TLS and HTTP buffers at the very most.
    fn default() -> Self {
        Self {
            connections: 2_000,
            handshake: Duration::from_secs(10),
            handshakes: 256,
            head: Duration::from_secs(60),
            grace: Duration::from_secs(10),
        }
    }
}

/// How long to wait after the system refused a connection (no file descriptor left, say): at once again would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often HTTP/2 connections are probed, and how long the answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Requests that one HTTP/2 connection may have open.
const MAX_CONCURRENT_STREAMS: u32 = 100;

/// Headers of one request: a path of 16 KiB is refused with a word, not by the protocol.
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;

/// What one request, and one connection, may have in flight towards us: enough for uploads over long links.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Serves until `stopping` is cancelled and the open requests have ended or their time is over. What goes wrong on one
/// connection is logged and concerns no other.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    limits: Limits,
    stopping: CancellationToken,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = JoinSet::new();
    let mut handshakes = Handshakes::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, remote)) => {
                    let answering = Answering { router: router.clone(), limits, stopping: stopping.clone(), remote };
                    handshakes.begin(answering, socket, acceptor.clone());
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(done) = handshakes.tasks.join_next() => match done {
                Ok(Some((answering, _))) if connections.len() >= limits.connections => {
                    tracing::warn!(remote = %answering.remote, limit = limits.connections, "connection refused: too many are open");
                }
                Ok(Some((answering, stream))) => {
                    connections.spawn(answering.over(stream));
                }
                Ok(None) => {}
                // The oldest of too many.
                Err(error) if error.is_cancelled() => {}
                Err(error) => report(Err(error)),
            },
            Some(ended) = connections.join_next() => report(ended),
            () = stopping.cancelled() => break,
        }
    }
    drop(listener);
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(limits.grace, all).await.is_err() {
        tracing::info!(
            connections = connections.len(),
            "closing connections that are still open"
        );
        connections.shutdown().await;
    }
    Ok(())
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

/// Connections that have not shown yet that they speak TLS. Those that say nothing must not take the place of those that do.
#[derive(Default)]
struct Handshakes {
    tasks: JoinSet<Option<(Answering, TlsStream<TcpStream>)>>,
    /// The oldest first.
    order: VecDeque<AbortHandle>,
}

impl Handshakes {
    fn begin(&mut self, answering: Answering, socket: TcpStream, acceptor: TlsAcceptor) {
        let limit = answering.limits.handshakes;
        if self.order.len() >= limit {
            self.order.retain(|task| !task.is_finished());
        }
        if self.order.len() >= limit
            && let Some(oldest) = self.order.pop_front()
        {
            tracing::debug!(limit, "a TLS handshake is given up: too many go on");
            oldest.abort();
        }
        let handshake = async move {
            let stream = answering.handshake(socket, acceptor).await?;
            Some((answering, stream))
        };
        self.order.push_back(self.tasks.spawn(handshake));
    }
}

/// Answers the requests of one connection.
pub(crate) struct Answering {
    pub(crate) router: Router,
    pub(crate) limits: Limits,
    pub(crate) stopping: CancellationToken,
    pub(crate) remote: SocketAddr,
}

impl Answering {
    /// Over TLS, whose handshake comes first.
    pub(crate) async fn over_tls(self, socket: TcpStream, acceptor: TlsAcceptor) {
        if let Some(stream) = self.handshake(socket, acceptor).await {
            self.over(stream).await;
        }
    }

    async fn handshake(&self, socket: TcpStream, acceptor: TlsAcceptor) -> Option<TlsStream<TcpStream>> {
        let remote = self.remote;
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%remote, %error, "connection without TCP_NODELAY");
        }
        match tokio::time::timeout(self.limits.handshake, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => tracing::debug!(%remote, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(%remote, "TLS handshake took too long"),
        }
        None
    }

    /// Over a stream as it is.
    pub(crate) async fn over(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let remote = self.remote;
        let router = self.router.layer(from_fn(drain::after_refusal));
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Remote(remote));
            router.clone().oneshot(request.map(Body::new))
        });
        let builder = builder(self.limits);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%remote, %error, "connection ended early");
        }
    }
}

fn builder(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}
