use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio::time::timeout;
use tokio_stream::Stream;

use super::connection::{Connection, Connections, accept};
use crate::tls::{ClientCertificate, Error, Identity, with_reverse};

/// How long to wait after the system refused a connection (no file descriptor left, say): at once again would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections the other way round that wait to be taken; those who come then are turned away, and try again.
const REVERSE_WAITING: usize = 64;

/// What strangers can use up before they have shown who they are, and what all can use up together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a handshake may take.
    pub handshake: Duration,
    /// How many handshakes go on at once; more wait in the listener's backlog.
    pub handshakes: usize,
    /// How many connections are open at once; more are closed at once.
    pub connections: usize,
}

impl Default for Limits {
    /// 10 s: two round trips on the worst link and a busy machine. 256 handshakes: some 10 MiB. 20,000 connections: 5,000 agents with
    /// three each, and room.
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            handshakes: 256,
            connections: 20_000,
        }
    }
}

/// A listener that gives connections whose handshake is done; for `serve_with_incoming_shutdown`. Never ends and never fails: what
/// goes wrong on one connection is logged and concerns no other.
pub struct Acceptor {
    listener: TcpListener,
    identity: Identity,
    config: Arc<ServerConfig>,
    limits: Limits,
    connections: Connections,
    permits: Arc<Semaphore>,
    handshakes: JoinSet<Option<Connection<TcpStream>>>,
    pause: Option<Pin<Box<Sleep>>>,
    reverse: Option<mpsc::Sender<Connection<TcpStream>>>,
}

impl Acceptor {
    /// Takes a listener.
    pub fn new(
        listener: TcpListener,
        identity: &Identity,
        client_certificate: ClientCertificate,
        limits: Limits,
        connections: Connections,
    ) -> Result<Self, Error> {
        Ok(Self {
            listener,
            identity: identity.clone(),
            config: identity.server_config(client_certificate)?,
            limits,
            connections,
            permits: Arc::new(Semaphore::new(limits.connections)),
            handshakes: JoinSet::new(),
            pause: None,
            reverse: None,
        })
    }

    /// Takes connections over which the other side will serve as well, and gives them here, apart from those to serve.
    pub fn take_reverse(&mut self) -> mpsc::Receiver<Connection<TcpStream>> {
        let (sender, receiver) = mpsc::channel(REVERSE_WAITING);
        self.config = with_reverse(&self.config);
        self.reverse = Some(sender);
        receiver
    }

    /// The address that it listens at.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    fn begin(&mut self, socket: TcpStream, remote: SocketAddr) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            tracing::warn!(%remote, limit = self.limits.connections, "connection refused: too many are open");
            return;
        };
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%remote, %error, "connection without TCP_NODELAY");
        }
        let (identity, config) = (self.identity.clone(), self.config.clone());
        let (deadline, connections) = (self.limits.handshake, self.connections.clone());
        self.handshakes.spawn(async move {
            // Whoever only looks whether the port is open, as probes do, says nothing and goes.
            if matches!(timeout(deadline, socket.peek(&mut [0])).await, Ok(Ok(0))) {
                tracing::debug!(%remote, "a connection without a word");
                return None;
            }
            match accept(socket, &identity, config, deadline, &connections).await {
                Ok(connection) => Some(connection.with_socket(remote, permit)),
                Err(error) => {
                    tracing::info!(%remote, %error, "TLS handshake failed");
                    None
                }
            }
        });
    }

    /// A connection whose handshake is done, if there is one.
    fn poll_handshakes(&mut self, task: &mut Context<'_>) -> Option<Connection<TcpStream>> {
        while let Poll::Ready(Some(ended)) = self.handshakes.poll_join_next(task) {
            match ended {
                Ok(Some(connection)) if connection.is_reverse() => self.hand_over(connection),
                Ok(Some(connection)) => return Some(connection),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "a TLS handshake panicked"),
            }
        }
        None
    }

    fn hand_over(&self, connection: Connection<TcpStream>) {
        match self.reverse.as_ref().map(mpsc::Sender::try_reserve) {
            Some(Ok(place)) => place.send(connection),
            _ => tracing::warn!("a connection the other way round was turned away: too many wait"),
        }
    }

    fn poll_pause(&mut self, task: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(task));
            self.pause = None;
        }
        Poll::Ready(())
    }
}

impl Stream for Acceptor {
    type Item = io::Result<Connection<TcpStream>>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(connection) = self.poll_handshakes(task) {
                return Poll::Ready(Some(Ok(connection)));
            }
            if self.handshakes.len() >= self.limits.handshakes {
                return Poll::Pending;
            }
            std::task::ready!(self.poll_pause(task));
            match std::task::ready!(self.listener.poll_accept(task)) {
                Ok((socket, remote)) => self.begin(socket, remote),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    self.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
                }
            }
        }
    }
}
