use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tombolo_core::attempt::RouteKind;
use tombolo_core::name::ClusterName;
use tombolo_identity::member::Member;
use tombolo_identity::tls::{ClientTls, Identity};
use tombolo_identity::transport::{self, Address, Proxy};
use tonic::transport::Channel;

use super::reading;
use super::reverse::Door;
use super::signed::{Clients, SignedArtifact};
use crate::pull::{ChunkSource, ListedChunk, Source, SourceError};
use crate::tunnel;

/// How long a peer may take to answer. It is in the same network or not to be reached at all, and another way waits.
const PEER_DIAL_DEADLINE: Duration = Duration::from_secs(3);

/// The ways from this member to others. Artifacts from the same place share one connection (or tunnel), which ends when the last of
/// their sources is dropped. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Links {
    shared: Arc<Shared>,
}

struct Shared {
    identity: Identity,
    master: Channel,
    proxy: Proxy,
    /// Where others can dial this member.
    door: Option<Door>,
    buckets: Clients,
    open: Mutex<HashMap<Way, Weak<Link>>>,
}

/// Where to, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Way {
    Master,
    Peer(ClusterName, Address),
    Reverse(ClusterName),
    Relay(ClusterName),
}

/// One connection, made when it is first needed, and again after it broke.
struct Link {
    links: Arc<Shared>,
    way: Way,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    channel: Option<Channel>,
    /// Counts the connections, so that a failure of an old one does not end the next.
    generation: u64,
}

impl Links {
    /// `master` is a bulk connection to the master.
    pub fn new(identity: Identity, master: Channel, proxy: Proxy) -> Self {
        Self {
            shared: Arc::new(Shared {
                identity,
                master,
                proxy,
                door: None,
                buckets: Clients::default(),
                open: Mutex::default(),
            }),
        }
    }

    /// The same, where others can dial this member by `door`.
    #[must_use]
    pub fn with_door(self, door: Door) -> Self {
        let Self { shared } = self;
        let (identity, master, proxy) = (shared.identity.clone(), shared.master.clone(), shared.proxy.clone());
        Self {
            shared: Arc::new(Shared {
                identity,
                master,
                proxy,
                door: Some(door),
                buckets: shared.buckets.clone(),
                open: Mutex::default(),
            }),
        }
    }

    /// Whether others can dial this member.
    pub fn has_door(&self) -> bool {
        self.shared.door.is_some()
    }

    /// An artifact at a cluster that can be dialled directly.
    pub fn peer(&self, cluster: ClusterName, address: Address, grant: Vec<u8>) -> Source {
        let way = Way::Peer(cluster.clone(), address);
        self.source(Some(cluster), RouteKind::Peer, way, grant)
    }

    /// An artifact at a cluster that is asked, in a tunnel through the master, to dial this one.
    pub fn reverse(&self, cluster: ClusterName, grant: Vec<u8>) -> Source {
        let way = Way::Reverse(cluster.clone());
        self.source(Some(cluster), RouteKind::ReversePeer, way, grant)
    }

    /// An artifact in the bucket of a cluster. Its agent is asked for signatures directly if it has an address, else (or if that
    /// leads nowhere, or `tunnel_first`) in a tunnel.
    pub fn signed(&self, cluster: ClusterName, address: Option<Address>, tunnel_first: bool, grant: Vec<u8>) -> Source {
        let grant = Bytes::from(grant);
        let artifact = |way| RemoteArtifact {
            link: self.link(way),
            grant: grant.clone(),
        };
        let mut agent: Vec<_> = address
            .into_iter()
            .map(|address| artifact(Way::Peer(cluster.clone(), address)))
            .collect();
        let tunnel = artifact(Way::Relay(cluster.clone()));
        let place = if tunnel_first { 0 } else { agent.len() };
        agent.insert(place, tunnel);
        Source {
            cluster: Some(cluster),
            route: RouteKind::Signed,
            chunks: Arc::new(SignedArtifact::new(agent, self.shared.buckets.clone())),
            observer: None,
        }
    }

    /// An artifact at a cluster that is reached in a tunnel through the master.
    pub fn relay(&self, cluster: ClusterName, grant: Vec<u8>) -> Source {
        self.source(Some(cluster.clone()), RouteKind::Relay, Way::Relay(cluster), grant)
    }

    /// An artifact that the master itself has.
    pub fn master(&self, grant: Vec<u8>) -> Source {
        self.source(None, RouteKind::Master, Way::Master, grant)
    }

    /// A connection of its own to a cluster, in a tunnel through the master: for what may stand still for long. It ends with the value.
    ///
    /// # Errors
    /// As the sources'.
    pub async fn dial(&self, cluster: &ClusterName) -> Result<Channel, SourceError> {
        self.shared.relay(cluster).await
    }

    fn source(&self, cluster: Option<ClusterName>, route: RouteKind, way: Way, grant: Vec<u8>) -> Source {
        let chunks = Arc::new(RemoteArtifact {
            link: self.link(way),
            grant: grant.into(),
        });
        Source {
            cluster,
            route,
            chunks,
            observer: None,
        }
    }

    fn link(&self, way: Way) -> Arc<Link> {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, link| link.strong_count() > 0);
        open.get(&way).and_then(Weak::upgrade).unwrap_or_else(|| {
            let link = Link {
                links: self.shared.clone(),
                way: way.clone(),
                state: Default::default(),
            };
            let link = Arc::new(link);
            open.insert(way, Arc::downgrade(&link));
            link
        })
    }
}

impl Link {
    async fn channel(&self, grant: &Bytes) -> Result<(Channel, u64), SourceError> {
        let mut state = self.state.lock().await;
        if let Some(channel) = &state.channel {
            return Ok((channel.clone(), state.generation));
        }
        let channel = self.links.dial(&self.way, grant).await?;
        state.generation += 1;
        state.channel = Some(channel.clone());
        Ok((channel, state.generation))
    }

    /// The next call connects anew. (A direct channel would by itself, a tunnel is over.)
    async fn forget(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.generation == generation {
            state.channel = None;
        }
    }
}

impl Shared {
    async fn dial(&self, way: &Way, grant: &Bytes) -> Result<Channel, SourceError> {
        match way {
            Way::Master => Ok(self.master.clone()),
            Way::Peer(cluster, address) => {
                let address = std::slice::from_ref(address);
                let dialling = transport::connect(address, self.tls(cluster)?, &self.proxy);
                match tokio::time::timeout(PEER_DIAL_DEADLINE, dialling).await {
                    Ok(dialled) => dialled.map_err(unreachable),
                    Err(_) => {
                        let seconds = PEER_DIAL_DEADLINE.as_secs();
                        let reason = format!("{} did not answer within {seconds} s", address[0]);
                        Err(SourceError::Unreachable(reason))
                    }
                }
            }
            Way::Reverse(cluster) => self.reverse(cluster, grant).await,
            Way::Relay(cluster) => self.relay(cluster).await,
        }
    }

    async fn relay(&self, cluster: &ClusterName) -> Result<Channel, SourceError> {
        let tunnel = tunnel::open(self.master.clone(), cluster).await;
        let tunnel = tunnel.map_err(|error| match error {
            tunnel::Error::Unavailable(_) => SourceError::Unreachable(error.to_string()),
            tunnel::Error::Refused(_) | tunnel::Error::Protocol(_) => SourceError::Refused(error.to_string()),
        })?;
        transport::connect_over(tunnel, self.tls(cluster)?)
            .await
            .map_err(unreachable)
    }

    /// The tunnel in which it is asked for is over when the connection is there.
    async fn reverse(&self, cluster: &ClusterName, grant: &Bytes) -> Result<Channel, SourceError> {
        let Some(door) = &self.door else {
            return Err(SourceError::NotOffered("this cluster has no port for peers".to_owned()));
        };
        let expected = door.expect(cluster.clone());
        let tunnel = self.relay(cluster).await?;
        reading::dial_back(tunnel, grant.clone(), door.address(), &expected.ticket).await?;
        let lost = || SourceError::Unreachable("it says that it has dialled, and no connection came".to_owned());
        let connection = expected.arrived().await.ok_or_else(lost)?;
        transport::connect_reverse(connection, &self.identity, &Member::Cluster(cluster.clone()))
            .await
            .map_err(unreachable)
    }

    fn tls(&self, cluster: &ClusterName) -> Result<ClientTls, SourceError> {
        let expected = Member::Cluster(cluster.clone());
        let tls = self.identity.client(&expected);
        tls.map_err(|error| SourceError::Unreachable(error.to_string()))
    }
}

fn unreachable(error: transport::Error) -> SourceError {
    SourceError::Unreachable(error.to_string())
}

/// One artifact at another member.
pub struct RemoteArtifact {
    link: Arc<Link>,
    grant: Bytes,
}

impl ChunkSource for RemoteArtifact {
    fn manifest(&self) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        self.call(reading::manifest).boxed()
    }

    fn chunk(&self, chunk: ListedChunk) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        self.call(move |channel, grant| reading::chunk(channel, grant, chunk))
            .boxed()
    }
}

impl RemoteArtifact {
    pub(super) async fn call<T, F>(&self, call: impl FnOnce(Channel, Bytes) -> F + Send) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, SourceError>> + Send,
    {
        let (channel, generation) = self.link.channel(&self.grant).await?;
        let outcome = call(channel, self.grant.clone()).await;
        if let Err(SourceError::Unreachable(_)) = &outcome {
            self.link.forget(generation).await;
        }
        outcome
    }
}
