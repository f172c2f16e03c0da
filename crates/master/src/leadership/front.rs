//! A port of a master that does not lead: connections are passed on to the one that does.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tombolo_store::postgres::Addresses;

use super::Role;
use super::refusal::{self, Why};
use super::splice::splice;
use crate::rest::{Answering, ServerLimits};

/// How long a caller may take to its first word. Probes say none.
const FIRST_WORD_MAX: Duration = Duration::from_secs(10);

/// How long the way to the leader may take.
const DIAL_MAX: Duration = Duration::from_secs(3);

/// How long to wait after the system refused a connection: at once again would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One of the two ports.
#[derive(Clone)]
pub(crate) enum Door {
    /// For agents, who come again by themselves. Those who would have to wait for minutes are told why: with this TLS.
    Agents(TlsAcceptor),
    /// For users, who are told when nobody leads: with this TLS.
    Users(TlsAcceptor),
}

/// A port of a master that does not lead.
pub(crate) struct Front {
    pub(crate) door: Door,
    /// The port, of which each role makes a listener of its own.
    pub(crate) port: Arc<std::net::TcpListener>,
    pub(crate) roles: watch::Receiver<Role>,
    /// How many connections are open at once; more are closed at once.
    pub(crate) connections: usize,
    pub(crate) stopping: CancellationToken,
}

/// A listener of its own at a port.
pub(crate) fn listener(port: &std::net::TcpListener) -> io::Result<TcpListener> {
    TcpListener::from_std(port.try_clone()?)
}

impl Front {
    /// Serves while the master stands by or waits for leases to end, until `stopping` is cancelled. While it is about to lead, callers wait
    /// in the port's queue.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let stopping = self.stopping.clone();
        let serving = async {
            loop {
                let standing = self
                    .roles
                    .wait_for(|role| matches!(role, Role::Standby(_) | Role::Waiting(_)));
                let Ok(role) = standing.await.map(|role| role.clone()) else {
                    return std::future::pending().await;
                };
                self.stand(&role).await?;
                if self.roles.has_changed().is_err() {
                    // Nobody is there any more who could say anything else: the process is about to end.
                    return std::future::pending().await;
                }
            }
        };
        stopping.run_until_cancelled(serving).await.unwrap_or(Ok(()))
    }

    /// Serves until the role is another one. Its connections end then: whoever is at their ends finds the leader again.
    async fn stand(&mut self, role: &Role) -> anyhow::Result<()> {
        let (addresses, why) = match role {
            Role::Standby(Some(known)) => (known.addresses.clone(), Why::Nobody),
            Role::Waiting(until) => (None, Why::Waits(*until)),
            _ => (None, Why::Nobody),
        };
        let listener = listener(&self.port)?;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                changed = self.roles.changed() => {
                    if changed.is_err() || *self.roles.borrow() != *role {
                        return Ok(());
                    }
                }
                accepted = listener.accept() => match accepted {
                    Ok((_, remote)) if connections.len() >= self.connections => {
                        tracing::warn!(%remote, limit = self.connections, "connection refused: too many are open");
                    }
                    Ok((socket, remote)) => {
                        let visit = Visit { socket, remote, door: self.door.clone(), stopping: self.stopping.clone() };
                        connections.spawn(visit.go(addresses.clone(), why));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection's task failed");
                    }
                }
            }
        }
    }
}

/// One connection.
struct Visit {
    socket: TcpStream,
    remote: SocketAddr,
    door: Door,
    stopping: CancellationToken,
}

impl Visit {
    async fn go(self, addresses: Option<Addresses>, why: Why) {
        let mut first = [0];
        let word = tokio::time::timeout(FIRST_WORD_MAX, self.socket.peek(&mut first)).await;
        if !matches!(word, Ok(Ok(1..))) {
            return;
        }
        let address = addresses.map(|addresses| match &self.door {
            Door::Agents(_) => addresses.agents,
            Door::Users(_) => addresses.users,
        });
        let leader = match address {
            Some(address) => dial(&address).await,
            None => None,
        };
        let remote = self.remote;
        if let Err(error) = self.socket.set_nodelay(true) {
            tracing::debug!(%remote, %error, "connection without TCP_NODELAY");
        }
        let (router, tls) = match (leader, self.door) {
            (Some(leader), _) => {
                if let Err(error) = splice(self.socket, leader).await {
                    tracing::debug!(%remote, %error, "a connection that was passed on ended early");
                }
                return;
            }
            (None, Door::Agents(_)) if why == Why::Nobody => {
                tracing::debug!(%remote, "an agent came while no leader can be reached");
                return;
            }
            (None, Door::Agents(tls)) => (refusal::for_agents(why), tls),
            (None, Door::Users(tls)) => (refusal::for_users(why), tls),
        };
        let answering = Answering {
            router,
            limits: ServerLimits::default(),
            stopping: self.stopping,
            remote,
        };
        answering.over_tls(self.socket, tls).await;
    }
}

async fn dial(address: &str) -> Option<TcpStream> {
    let dialled = tokio::time::timeout(DIAL_MAX, TcpStream::connect(address)).await;
    let failed = match dialled {
        Ok(Ok(stream)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(address, %error, "connection without TCP_NODELAY");
            }
            return Some(stream);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", DIAL_MAX.as_secs()),
    };
    tracing::debug!(address, error = failed, "the leader cannot be reached");
    None
}
