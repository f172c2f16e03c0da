use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::edition::Shown;
use crate::member::{Member, PeerIdentity};
use crate::tls::{Identity, is_reverse, readable};

/// Who calls: a request extension of every call on a [`Connection`].
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// The member, as its certificate proved; none if it showed no certificate.
    pub peer: Option<PeerIdentity>,
    /// What its certificate says besides.
    pub shown: Option<Shown>,
    /// The address that it comes from; none inside a tunnel.
    pub remote: Option<SocketAddr>,
}

/// The member that calls, if it showed a certificate.
pub fn peer(extensions: &http::Extensions) -> Option<&PeerIdentity> {
    extensions.get::<ConnectionInfo>()?.peer.as_ref()
}

/// What the certificate of the member that calls says besides who it is.
pub fn shown(extensions: &http::Extensions) -> Option<&Shown> {
    extensions.get::<ConnectionInfo>()?.shown.as_ref()
}

/// A TLS connection between members. [`Connections`] can close it.
pub struct Connection<S> {
    stream: TlsStream<S>,
    info: ConnectionInfo,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    registration: Registration,
    /// Counts against the limit of connections while the connection lives.
    permit: Option<OwnedSemaphorePermit>,
}

/// The connections that are open, by member, so that those of a member that was removed can be closed. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    tokens: HashMap<u64, (Option<PeerIdentity>, CancellationToken)>,
}

/// Ends with the connection.
struct Registration {
    connections: Connections,
    number: u64,
    token: CancellationToken,
}

impl Connections {
    /// Closes the connections of a member. Gives how many there were.
    pub fn close(&self, member: &Member) -> usize {
        self.close_where(|peer| peer.is_some_and(|peer| peer.member == *member))
    }

    /// Closes all connections: for a server that stops and does not wait for long streams.
    pub fn close_all(&self) -> usize {
        self.close_where(|_| true)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.lock().tokens.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn close_where(&self, chosen: impl Fn(Option<&PeerIdentity>) -> bool) -> usize {
        let open = self.lock();
        let tokens = open.tokens.values().filter(|(peer, _)| chosen(peer.as_ref()));
        tokens.map(|(_, token)| token.cancel()).count()
    }

    fn register(&self, peer: Option<PeerIdentity>) -> Registration {
        let token = CancellationToken::new();
        let mut open = self.lock();
        let number = open.next;
        open.next += 1;
        open.tokens.insert(number, (peer, token.clone()));
        Registration {
            connections: self.clone(),
            number,
            token,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.connections.lock().tokens.remove(&self.number);
    }
}

/// Does the handshake of a server on any stream (a socket, or a tunnel) within `deadline`, and registers the connection.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    identity: &Identity,
    config: Arc<ServerConfig>,
    deadline: Duration,
    connections: &Connections,
) -> io::Result<Connection<S>> {
    let handshake = tokio::time::timeout(deadline, TlsAcceptor::from(config).accept(stream));
    let too_long = |_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long");
    let stream = handshake.await.map_err(too_long)?.map_err(readable)?;
    Connection::new(stream.into(), identity, connections)
}

impl<S> Connection<S> {
    /// Registers a connection whose handshake is done.
    pub(super) fn new(stream: TlsStream<S>, identity: &Identity, connections: &Connections) -> io::Result<Self> {
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let trust = identity.trust();
        let peer = certificate.map(|leaf| PeerIdentity::from_certificate(leaf, trust.domain()));
        let peer = peer
            .transpose()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let shown = certificate.and_then(Shown::read);
        let registration = connections.register(peer.clone());
        let closed = Box::pin(registration.token.clone().cancelled_owned());
        Ok(Self {
            stream,
            info: ConnectionInfo {
                peer,
                shown,
                remote: None,
            },
            closed,
            registration,
            permit: None,
        })
    }

    /// Whether the two agreed that the one that dialled serves.
    pub(super) fn is_reverse(&self) -> bool {
        is_reverse(self.stream.get_ref().1.alpn_protocol())
    }

    pub(super) fn with_socket(mut self, remote: SocketAddr, permit: OwnedSemaphorePermit) -> Self {
        self.info.remote = Some(remote);
        self.permit = Some(permit);
        self
    }

    /// Who is at the other end.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    pub(super) fn close_token(&self) -> CancellationToken {
        self.registration.token.clone()
    }

    fn check_open(&self) -> io::Result<()> {
        if self.registration.token.is_cancelled() {
            Err(closed())
        } else {
            Ok(())
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the connection was closed by this side",
    )
}

impl<S> Connected for Connection<S> {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The reader is who waits, so it is who must be woken when the connection is closed.
        if self.closed.as_mut().poll(task).is_ready() {
            return Poll::Ready(Err(closed()));
        }
        Pin::new(&mut self.stream).poll_read(task, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_open()?;
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_open()?;
        Pin::new(&mut self.stream).poll_write_vectored(task, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_open()?;
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_open()?;
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}
