use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tombolo_core::attempt::RouteKind;
use tombolo_core::name::ClusterName;
use tombolo_identity::member::Member;
use tombolo_identity::tls::Identity;
use tombolo_identity::transport::{self, Address, Proxy};
use tonic::transport::Channel;

use super::reading;
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
    open: Mutex<HashMap<Way, Weak<Link>>>,
}

/// Where to, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Way {
    Master,
    Peer(ClusterName, Address),
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
                open: Mutex::default(),
            }),
        }
    }

    /// An artifact at a cluster that can be dialled directly.
    pub fn peer(&self, cluster: ClusterName, address: Address, grant: Vec<u8>) -> Source {
        let way = Way::Peer(cluster.clone(), address);
        self.source(Some(cluster), RouteKind::Peer, way, grant)
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
        self.shared.dial(&Way::Relay(cluster.clone())).await
    }

    fn source(&self, cluster: Option<ClusterName>, route: RouteKind, way: Way, grant: Vec<u8>) -> Source {
        let chunks = Arc::new(RemoteArtifact {
            link: self.link(way),
            grant: grant.into(),
        });
        Source { cluster, route, chunks }
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
    async fn channel(&self) -> Result<(Channel, u64), SourceError> {
        let mut state = self.state.lock().await;
        if let Some(channel) = &state.channel {
            return Ok((channel.clone(), state.generation));
        }
        let channel = self.links.dial(&self.way).await?;
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
    async fn dial(&self, way: &Way) -> Result<Channel, SourceError> {
        let tls = |cluster: &ClusterName| {
            let expected = Member::Cluster(cluster.clone());
            self.identity
                .client(&expected)
                .map_err(|error| SourceError::Unreachable(error.to_string()))
        };
        let unreachable = |error: transport::Error| SourceError::Unreachable(error.to_string());
        match way {
            Way::Master => Ok(self.master.clone()),
            Way::Peer(cluster, address) => {
                let address = std::slice::from_ref(address);
                let dialling = transport::connect(address, tls(cluster)?, &self.proxy);
                match tokio::time::timeout(PEER_DIAL_DEADLINE, dialling).await {
                    Ok(dialled) => dialled.map_err(unreachable),
                    Err(_) => {
                        let seconds = PEER_DIAL_DEADLINE.as_secs();
                        let reason = format!("{} did not answer within {seconds} s", address[0]);
                        Err(SourceError::Unreachable(reason))
                    }
                }
            }
            Way::Relay(cluster) => {
                let tunnel = tunnel::open(self.master.clone(), cluster)
                    .await
                    .map_err(|error| match error {
                        tunnel::Error::Unavailable(_) => SourceError::Unreachable(error.to_string()),
                        tunnel::Error::Refused(_) | tunnel::Error::Protocol(_) => {
                            SourceError::Refused(error.to_string())
                        }
                    })?;
                transport::connect_over(tunnel, tls(cluster)?)
                    .await
                    .map_err(unreachable)
            }
        }
    }
}

/// One artifact at another member.
pub struct RemoteArtifact {
    link: Arc<Link>,
    grant: Bytes,
}

impl ChunkSource for RemoteArtifact {
    fn manifest(&self) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        let grant = self.grant.clone();
        self.call(|channel| reading::manifest(channel, grant)).boxed()
    }

    fn chunk(&self, chunk: ListedChunk) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        let grant = self.grant.clone();
        self.call(move |channel| reading::chunk(channel, grant, chunk)).boxed()
    }
}

impl RemoteArtifact {
    async fn call<F>(&self, call: impl FnOnce(Channel) -> F + Send) -> Result<Bytes, SourceError>
    where
        F: Future<Output = Result<Bytes, SourceError>> + Send,
    {
        let (channel, generation) = self.link.channel().await?;
        let outcome = call(channel).await;
        if let Err(SourceError::Unreachable(_)) = &outcome {
            self.link.forget(generation).await;
        }
        outcome
    }
}
