//! Connections between two agents of which only the one that has the chunks can dial: it is asked to (over a tunnel), dials the
//! reader's port for peers, and serves over that connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tombolo_core::name::ClusterName;
use tombolo_identity::member::Member;
use tombolo_identity::tls::Identity;
use tombolo_identity::transport::{self, Address, Connection, Connections, Proxy, http2};
use tonic::Status;
use tonic::service::Routes;

/// How long the other side may take to say which connection this is, and to be told.
const TICKET_DEADLINE: Duration = Duration::from_secs(5);
/// How long dialling back may take. The one who asked waits for a little longer.
const DIAL_DEADLINE: Duration = Duration::from_secs(5);
/// How long a connection that was asked for is waited for once the other side says that it has dialled.
const ARRIVAL_DEADLINE: Duration = Duration::from_secs(5);
/// Connections that are served at once to those who asked for them: a reader has one.
const SERVED: usize = 256;
/// Connections at once whose ticket is still to be read.
const READ: usize = 64;

/// What a connection shows, so that it is known who waits for it.
pub(super) type Ticket = [u8; 16];

/// Where other clusters dial this one when they are asked to. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct Door {
    address: Arc<str>,
    waiting: Arc<Mutex<HashMap<Ticket, Waiting>>>,
}

struct Waiting {
    from: ClusterName,
    arrived: oneshot::Sender<Connection<TcpStream>>,
}

/// A connection that was asked for.
pub(super) struct Expected {
    pub(super) ticket: Ticket,
    arrival: oneshot::Receiver<Connection<TcpStream>>,
    waiting: Arc<Mutex<HashMap<Ticket, Waiting>>>,
}

impl Door {
    /// The port for peers, which others reach at `address`.
    pub fn new(address: &str) -> Self {
        Self {
            address: address.into(),
            waiting: Arc::default(),
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn expect(&self, from: ClusterName) -> Expected {
        let ticket = rand::random();
        let (arrived, arrival) = oneshot::channel();
        lock(&self.waiting).insert(ticket, Waiting { from, arrived });
        Expected {
            ticket,
            arrival,
            waiting: Arc::clone(&self.waiting),
        }
    }

    /// Brings the connections that come to whoever waits for them, until `stop`.
    pub async fn answer(&self, mut connections: mpsc::Receiver<Connection<TcpStream>>, stop: CancellationToken) {
        let mut reading = JoinSet::new();
        loop {
            tokio::select! {
                connection = connections.recv(), if reading.len() < READ => match connection {
                    Some(connection) => {
                        let door = self.clone();
                        reading.spawn(async move { door.admit(connection).await });
                    }
                    None => break,
                },
                Some(ended) = reading.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection the other way round ended in a fault");
                    }
                }
                () = stop.cancelled() => break,
            }
        }
        reading.shutdown().await;
    }

    async fn admit(&self, mut connection: Connection<TcpStream>) {
        let mut ticket = Ticket::default();
        if !matches!(
            timeout(TICKET_DEADLINE, connection.read_exact(&mut ticket)).await,
            Ok(Ok(_))
        ) {
            tracing::info!("a connection the other way round did not say what it is for");
            return;
        }
        let caller = connection.info().peer.as_ref().and_then(|peer| peer.member.cluster());
        let mut waiting = lock(&self.waiting);
        let is_expected = waiting
            .get(&ticket)
            .is_some_and(|waiting| Some(&waiting.from) == caller);
        let expected = is_expected.then(|| waiting.remove(&ticket)).flatten();
        drop(waiting);
        match expected {
            Some(waiting) => drop(waiting.arrived.send(connection)),
            None => tracing::warn!(?caller, "a connection the other way round that nobody waits for"),
        }
    }
}

impl Expected {
    pub(super) async fn arrived(mut self) -> Option<Connection<TcpStream>> {
        let arrived = timeout(ARRIVAL_DEADLINE, &mut self.arrival).await;
        arrived.ok().and_then(Result::ok)
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        lock(&self.waiting).remove(&self.ticket);
    }
}

/// Dials those who ask for it, and serves them. Clones are one.
#[derive(Clone)]
pub struct Dialler {
    identity: Identity,
    proxy: Proxy,
    connections: Connections,
    served: Arc<Mutex<JoinSet<()>>>,
}

impl Dialler {
    /// Dials as `identity`. The connections are among `connections`, and end with them.
    pub fn new(identity: Identity, proxy: Proxy, connections: Connections) -> Self {
        Self {
            identity,
            proxy,
            connections,
            served: Arc::default(),
        }
    }

    /// Dials `reader` at `address`, and serves `services` over the connection for as long as it lasts.
    pub(super) async fn dial(
        &self,
        reader: &Member,
        address: &Address,
        ticket: &Ticket,
        services: Routes,
    ) -> Result<(), Status> {
        let failed = |error: &dyn std::fmt::Display| Status::unavailable(error.to_string());
        let tls = self.identity.client(reader).map_err(|error| failed(&error))?;
        let dialling = async {
            let (proxy, identity) = (&self.proxy, &self.identity);
            let dialled = transport::dial_reverse(address, &tls, proxy, identity, &self.connections).await;
            let mut connection = dialled.map_err(|error| failed(&error))?;
            connection.write_all(ticket).await.map_err(|error| failed(&error))?;
            connection.flush().await.map_err(|error| failed(&error))?;
            Ok::<_, Status>(connection)
        };
        let seconds = DIAL_DEADLINE.as_secs();
        let too_late = || Status::unavailable(format!("{address} did not answer within {seconds} s"));
        let connection = timeout(DIAL_DEADLINE, dialling).await.map_err(|_| too_late())??;
        let mut served = lock(&self.served);
        while let Some(ended) = served.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a connection that this agent has dialled to serve ended in a fault");
            }
        }
        if served.len() >= SERVED {
            return Err(Status::resource_exhausted(format!(
                "{SERVED} readers are served already"
            )));
        }
        served.spawn(async move {
            let router = http2::server().add_routes(services);
            let serving = transport::serve_one(router, connection, std::future::pending());
            if let Err(error) = Box::pin(serving).await {
                tracing::info!(%error, "a connection that this agent has dialled to serve failed");
            }
        });
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
