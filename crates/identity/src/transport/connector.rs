use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::{Service, ServiceExt};

use super::socket::Socket;
use super::{Address, Connection, Connections, Dial, http2};
use crate::edition::Edition;
use crate::member::Member;
use crate::tls::{ClientTls, Distrust, Identity, is_reverse, readable};

/// How long the TCP connection (with a proxy: also its answer) may take, per address.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How long the TLS handshake may take.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// After how long without an answer the next address is tried beside the one before. Twice what RFC 8305 recommends: a handshake is part of it.
const NEXT_AFTER: Duration = Duration::from_millis(500);
/// TCP keep-alive, beneath the probes of HTTP/2: finds dead peers while a handshake hangs.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Why a member was not reached.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No address was given.
    #[error("there is no address to connect to")]
    NoAddress,
    /// None of the addresses answered as it should.
    #[error("cannot connect to {address}: {reason}")]
    Unreachable {
        /// The last address that was tried.
        address: String,
        /// What happened there.
        reason: String,
        /// Who does not believe whom, if that was it.
        distrust: Option<Distrust>,
    },
    /// The proxy's address cannot be used.
    #[error("the proxy `{0}` cannot be used: only `http://` proxies (CONNECT) are known; see HTTPS_PROXY and NO_PROXY")]
    Proxy(String),
}

/// The proxy to go out by, as `HTTPS_PROXY` and `NO_PROXY` say.
#[derive(Clone)]
pub struct Proxy(Way);

/// The way out.
#[derive(Clone)]
enum Way {
    /// By TCP, through a proxy perhaps.
    Tcp(Arc<Matcher>),
    /// By something else altogether.
    Other(Arc<dyn Dial>),
}

impl Proxy {
    /// No proxy: within a cluster, on one machine.
    pub fn none() -> Self {
        Self::tcp(Matcher::builder().build())
    }

    /// What the environment says (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, also in lower case).
    pub fn from_environment() -> Self {
        Self::tcp(Matcher::from_env())
    }

    /// A given proxy (`http://[user:password@]host:port`), except for the given hosts, domains and networks (separated by commas).
    pub fn new(proxy: &str, except: &str) -> Self {
        Self::tcp(Matcher::builder().https(proxy.to_owned()).no(except.to_owned()).build())
    }

    /// No proxy and no TCP: all streams are what `dialler` makes.
    pub fn by(dialler: Arc<dyn Dial>) -> Self {
        Self(Way::Other(dialler))
    }

    fn tcp(matcher: Matcher) -> Self {
        Self(Way::Tcp(Arc::new(matcher)))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Way::Tcp(matcher) => matcher.fmt(formatter),
            Way::Other(dialler) => dialler.fmt(formatter),
        }
    }
}

/// Connects to the member that `tls` expects, at the first of the addresses that answers. The channel reconnects by itself when it is
/// used after the connection was lost.
pub async fn connect(addresses: &[Address], tls: ClientTls, proxy: &Proxy) -> Result<Channel, Error> {
    let failure = Failure::default();
    let dialer = Dialer {
        addresses: addresses.into(),
        tls: tls.clone(),
        proxy: proxy.clone(),
        failure: failure.clone(),
    };
    let connecting = endpoint(&tls.server_name).connect_with_connector(dialer).await;
    connecting.map_err(|error| {
        failure
            .take()
            .unwrap_or_else(|| unreachable(&tls.server_name.to_str(), &error))
    })
}

/// Like [`connect`], but connects when first used.
pub fn connect_lazy(addresses: &[Address], tls: ClientTls, proxy: &Proxy) -> Channel {
    let endpoint = endpoint(&tls.server_name);
    let dialer = Dialer {
        addresses: addresses.into(),
        tls,
        proxy: proxy.clone(),
        failure: Failure::default(),
    };
    endpoint.connect_with_connector_lazy(dialer)
}

/// Connects to the member that `tls` expects over a stream that is already there: a tunnel. The channel ends with the stream.
pub async fn connect_over<S>(stream: S, tls: ClientTls) -> Result<Channel, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let name = tls.server_name.to_str().into_owned();
    let stream = handshake(stream, &tls)
        .await
        .map_err(|error| unreachable(&name, &error))?;
    let once = OverStream(Some(stream));
    endpoint(&tls.server_name)
        .connect_with_connector(once)
        .await
        .map_err(|error| unreachable(&name, &error))
}

/// Calls `peer` over a connection that it has dialled, to serve over it. The channel ends with the connection.
pub async fn connect_reverse(
    connection: Connection<TcpStream>,
    identity: &Identity,
    peer: &Member,
) -> Result<Channel, Error> {
    let name = peer.server_name(identity.trust().domain());
    endpoint(&name)
        .connect_with_connector(OverStream(Some(connection)))
        .await
        .map_err(|error| unreachable(&name.to_str(), &error))
}

/// Dials the member that `tls` expects, to serve over the connection.
pub async fn dial_reverse(
    address: &Address,
    tls: &ClientTls,
    proxy: &Proxy,
    identity: &Identity,
    connections: &Connections,
) -> Result<Connection<TcpStream>, Error> {
    let failed = |error: io::Error| unreachable(&address.to_string(), &error);
    let Way::Tcp(proxy) = &proxy.0 else {
        let only = io::Error::new(
            io::ErrorKind::Unsupported,
            "connections the other way round are made by TCP",
        );
        return Err(failed(only));
    };
    let dialled = tokio::time::timeout(CONNECT_DEADLINE, dial_tcp(address, proxy)).await;
    let socket = dialled.map_err(|_| no_answer(address))??;
    let stream = handshake(socket, &tls.reverse()).await.map_err(failed)?;
    if !is_reverse(stream.get_ref().1.alpn_protocol()) {
        let other = io::Error::new(
            io::ErrorKind::Unsupported,
            "it takes no connections the other way round",
        );
        return Err(failed(other));
    }
    Connection::new(stream.into(), identity, connections).map_err(failed)
}

fn endpoint(server_name: &ServerName<'_>) -> Endpoint {
    // The scheme is only what the calls' `:scheme` says; TLS is the connector's.
    let uri: Uri = format!("http://{}", server_name.to_str())
        .parse()
        .expect("a DNS name is an authority");
    http2::endpoint(Endpoint::from(uri)).connect_timeout(CONNECT_DEADLINE + HANDSHAKE_DEADLINE)
}

fn unreachable(address: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Unreachable {
        address: address.to_owned(),
        reason: chain(error),
        distrust: Distrust::find(error),
    }
}

fn no_answer(address: &Address) -> Error {
    Error::Unreachable {
        address: address.to_string(),
        reason: format!("no answer within {} s", CONNECT_DEADLINE.as_secs()),
        distrust: None,
    }
}

/// An error with its causes, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// The last failure, in our words: tonic's error would hide it.
#[derive(Debug, Clone, Default)]
struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    fn note(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[derive(Debug, Clone)]
struct Dialer {
    addresses: Arc<[Address]>,
    tls: ClientTls,
    proxy: Proxy,
    failure: Failure,
}

type Dialing<S> = Pin<Box<dyn Future<Output = Result<TokioIo<TlsStream<S>>, Error>> + Send>>;

impl Service<Uri> for Dialer {
    type Response = TokioIo<TlsStream<Socket>>;
    type Error = Error;
    type Future = Dialing<Socket>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            let dialled = dialer.dial().await;
            dialled.inspect_err(|error| {
                tracing::debug!(%error, "cannot connect");
                dialer.failure.note(error.clone());
            })
        })
    }
}

impl Dialer {
    /// Tries the addresses in their order. One that keeps silent does not keep the others waiting: of several masters, one may stand still.
    async fn dial(&self) -> Result<TokioIo<TlsStream<Socket>>, Error> {
        let mut last = Error::NoAddress;
        let (mut rest, mut under_way) = (self.addresses.iter(), FuturesUnordered::new());
        loop {
            under_way.extend(rest.next().map(|address| self.dial_one(address)));
            let is_last = rest.len() == 0;
            tokio::select! {
                dialled = under_way.next() => match dialled {
                    Some(Ok(stream)) => return Ok(stream),
                    Some(Err(error)) => last = error,
                    None => return Err(last),
                },
                () = tokio::time::sleep(NEXT_AFTER), if !is_last => {}
            }
        }
    }

    async fn dial_one(&self, address: &Address) -> Result<TokioIo<TlsStream<Socket>>, Error> {
        let socket = tokio::time::timeout(CONNECT_DEADLINE, dial(address, &self.proxy)).await;
        let socket = socket.map_err(|_| no_answer(address))??;
        let stream = handshake(socket, &self.tls).await;
        let stream = stream.map_err(|error| unreachable(&address.to_string(), &error))?;
        Ok(TokioIo::new(stream))
    }
}

async fn dial(address: &Address, proxy: &Proxy) -> Result<Socket, Error> {
    match &proxy.0 {
        Way::Tcp(proxy) => dial_tcp(address, proxy).await.map(Socket::Tcp),
        Way::Other(dialler) => {
            let dialled = dialler.dial(address).await;
            dialled
                .map(Socket::Other)
                .map_err(|error| unreachable(&address.to_string(), &error))
        }
    }
}

async fn dial_tcp(address: &Address, proxy: &Matcher) -> Result<TcpStream, Error> {
    let failed = |error: &(dyn std::error::Error + 'static)| unreachable(&address.to_string(), error);
    let target: Uri = format!("https://{address}")
        .parse()
        .map_err(|error: http::uri::InvalidUri| failed(&error))?;
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_DEADLINE));
    connector.set_keepalive(Some(TCP_KEEP_ALIVE));
    let Some(intercept) = proxy.intercept(&target) else {
        return connector
            .oneshot(target)
            .await
            .map(TokioIo::into_inner)
            .map_err(|error| failed(&error));
    };
    if intercept.uri().scheme_str() != Some("http") {
        return Err(Error::Proxy(intercept.uri().to_string()));
    }
    let mut tunnel = Tunnel::new(intercept.uri().clone(), connector);
    if let Some(authorization) = intercept.basic_auth() {
        tunnel = tunnel.with_auth(authorization.clone());
    }
    tunnel
        .oneshot(target)
        .await
        .map(TokioIo::into_inner)
        .map_err(|error| Error::Unreachable {
            address: address.to_string(),
            reason: format!("by the proxy {}: {}", intercept.uri(), chain(&error)),
            distrust: None,
        })
}

async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(stream: S, tls: &ClientTls) -> io::Result<TlsStream<S>> {
    let connector = TlsConnector::from(tls.config.clone());
    let handshake = connector.connect(tls.server_name.clone(), stream);
    let too_long = |_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long");
    let stream = tokio::time::timeout(HANDSHAKE_DEADLINE, handshake)
        .await
        .map_err(too_long)?
        .map_err(readable)?;
    if let Some(noted) = &tls.master_edition {
        // Only now has the other end proved that the certificate is its own.
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let edition = shown.and_then(Edition::of_certificate);
        noted.send_if_modified(|present| std::mem::replace(present, edition) != edition);
    }
    Ok(stream)
}

/// Gives its stream once; a tunnel cannot be dialled again by a channel.
struct OverStream<S>(Option<S>);

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Service<Uri> for OverStream<S> {
    type Response = TokioIo<S>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<TokioIo<S>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let over = || io::Error::new(io::ErrorKind::NotConnected, "the stream beneath this channel has ended");
        std::future::ready(self.0.take().map(TokioIo::new).ok_or_else(over))
    }
}
