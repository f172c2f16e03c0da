use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tombolo_core::id::TunnelId;
use tombolo_core::name::ClusterName;
use tombolo_identity::member::Member;
use tombolo_identity::transport;
use tombolo_proto::transfer::v1::TunnelFrame;
use tombolo_proto::transfer::v1::tunnel_frame::Frame;
use tombolo_proto::transfer::v1::tunnels_server::{Tunnels, TunnelsServer};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::MAX_FRAME_BYTES;
use super::splice::{Splice, Tunnelling};

/// How long a caller may take to say what it wants.
const FIRST_FRAME_DEADLINE: Duration = Duration::from_secs(10);
/// How long the master may take to tell the target (it only writes to the target's control stream).
const OFFER_DEADLINE: Duration = Duration::from_secs(5);

/// How many tunnels there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// That one agent has dialled.
    pub from_one: usize,
    /// That the master itself has dialled: to read outputs for users, and for their sessions with jobs.
    pub from_master: usize,
    /// To one cluster.
    pub to_one: usize,
    /// How long the target may take to dial back.
    pub accept: Duration,
}

impl Default for Limits {
    /// 32: an agent fetches the inputs of its jobs with a few tunnels. 96: as many for outputs, and 64 sessions. 256: what a source's agent can serve, and half of it stays free
    /// when seven others use up theirs. 15 s: a round trip on a bad link, and a new connection.
    fn default() -> Self {
        Self {
            from_one: 32,
            from_master: 96,
            to_one: 256,
            accept: Duration::from_secs(15),
        }
    }
}

/// Why a tunnel was not offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The target is not connected.
    #[error("cluster {0} is not connected")]
    NotConnected(ClusterName),
    /// The caller has no business with the target.
    #[error("a tunnel to cluster {0} is not allowed")]
    NotAllowed(ClusterName),
}

/// How the master tells a member that somebody wants a tunnel to it.
pub trait Offer: Send + Sync + 'static {
    /// Sends the offer on the control stream of `target`, or refuses it.
    fn offer(
        &self,
        from: &Member,
        target: &ClusterName,
        tunnel: TunnelId,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// The master's part: brings the two calls of a tunnel together. Clones share it.
pub struct Switchboard<O> {
    shared: Arc<Shared<O>>,
}

struct Shared<O> {
    offer: O,
    limits: Limits,
    waiting: Mutex<HashMap<TunnelId, Waiting>>,
    count: Arc<Mutex<Count>>,
    moved: Arc<AtomicU64>,
}

/// A tunnel that was offered and not yet accepted.
struct Waiting {
    target: ClusterName,
    dialler: Streaming<TunnelFrame>,
    accepted: oneshot::Sender<Streaming<TunnelFrame>>,
    tunnelling: Arc<Tunnelling>,
}

/// How many tunnels each member has; no entry is zero.
#[derive(Default)]
struct Count {
    from: HashMap<Member, usize>,
    to: HashMap<ClusterName, usize>,
}

/// A tunnel's part of the count, given back when dropped.
pub(super) struct Places {
    count: Arc<Mutex<Count>>,
    from: Member,
    to: ClusterName,
}

impl<O: Offer> Switchboard<O> {
    /// A switchboard without tunnels.
    pub fn new(offer: O, limits: Limits) -> Self {
        let (waiting, count, moved) = Default::default();
        Self {
            shared: Arc::new(Shared {
                offer,
                limits,
                waiting,
                count,
                moved,
            }),
        }
    }

    /// The gRPC service. The server's connections are those of [`tombolo_identity::transport::Acceptor`].
    pub fn service(&self) -> TunnelsServer<Self> {
        TunnelsServer::new(self.clone()).max_decoding_message_size(MAX_FRAME_BYTES)
    }

    /// How many bytes all tunnels have moved since the start, both directions.
    pub fn moved_bytes(&self) -> u64 {
        self.shared.moved.load(Ordering::Relaxed)
    }

    /// How many tunnels there are, also those that wait for their other end.
    pub fn tunnels(&self) -> usize {
        lock(&self.shared.count).from.values().sum()
    }

    async fn dial(
        &self,
        from: Member,
        target: &str,
        dialler: Streaming<TunnelFrame>,
    ) -> Result<Response<Splice>, Status> {
        let shared = &self.shared;
        let target = ClusterName::new(target).map_err(|error| Status::invalid_argument(error.to_string()))?;
        if from.cluster() == Some(&target) {
            return Err(Status::invalid_argument("a tunnel leads to another cluster"));
        }
        let places = Places::take(&shared.count, shared.limits, from.clone(), target.clone())?;
        let tunnelling = Tunnelling::new(shared.moved.clone(), places);
        let tunnel = TunnelId::from_u128(rand::random());
        let (accepted, acceptance) = oneshot::channel();
        let waiting = Waiting {
            target: target.clone(),
            dialler,
            accepted,
            tunnelling: tunnelling.clone(),
        };
        lock(&shared.waiting).insert(tunnel, waiting);
        // If nobody accepts, or the caller goes away meanwhile, nothing is left behind.
        let _withdrawn = Withdrawn { shared, tunnel };
        match timeout(OFFER_DEADLINE, shared.offer.offer(&from, &target, tunnel)).await {
            Ok(Ok(())) => {}
            Ok(Err(refusal @ Refusal::NotConnected(_))) => return Err(Status::unavailable(refusal.to_string())),
            Ok(Err(refusal @ Refusal::NotAllowed(_))) => return Err(Status::permission_denied(refusal.to_string())),
            Err(_) => {
                return Err(Status::unavailable(format!(
                    "cluster {target} takes no offer at present"
                )));
            }
        }
        match timeout(shared.limits.accept, acceptance).await {
            Ok(Ok(acceptor)) => {
                tracing::debug!(%from, to = %target, %tunnel, "tunnel opened");
                Ok(Response::new(Splice::new(acceptor, tunnelling)))
            }
            Ok(Err(_)) | Err(_) => {
                let seconds = shared.limits.accept.as_secs_f32();
                Err(Status::unavailable(format!(
                    "cluster {target} did not dial back within {seconds} s"
                )))
            }
        }
    }

    fn accept(
        &self,
        caller: &Member,
        tunnel: &[u8],
        acceptor: Streaming<TunnelFrame>,
    ) -> Result<Response<Splice>, Status> {
        let tunnel = Uuid::from_slice(tunnel).map(TunnelId::new);
        let tunnel = tunnel.map_err(|_| Status::invalid_argument("the id of a tunnel has 16 bytes"))?;
        let unknown = || Status::not_found("there is no such tunnel; it may have waited for too long");
        let mut open = lock(&self.shared.waiting);
        if open
            .get(&tunnel)
            .is_none_or(|waiting| Some(&waiting.target) != caller.cluster())
        {
            return Err(unknown());
        }
        let waiting = open.remove(&tunnel).ok_or_else(unknown)?;
        drop(open);
        waiting.accepted.send(acceptor).map_err(|_| unknown())?;
        Ok(Response::new(Splice::new(waiting.dialler, waiting.tunnelling)))
    }
}

impl<O> Clone for Switchboard<O> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

#[tonic::async_trait]
impl<O: Offer> Tunnels for Switchboard<O> {
    type OpenStream = Splice;

    async fn open(&self, request: Request<Streaming<TunnelFrame>>) -> Result<Response<Splice>, Status> {
        let peer = transport::peer(request.extensions());
        let caller = peer.map(|peer| peer.member.clone());
        let caller = caller.ok_or_else(|| Status::permission_denied("tunnels are for members"))?;
        let mut frames = request.into_inner();
        let first = timeout(FIRST_FRAME_DEADLINE, frames.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("the first frame did not come in time"))??;
        match first.and_then(|frame| frame.frame) {
            Some(Frame::Dial(target)) => self.dial(caller, &target, frames).await,
            Some(Frame::Accept(tunnel)) => self.accept(&caller, &tunnel, frames),
            _ => Err(Status::invalid_argument(
                "the first frame says whom to dial or what to accept",
            )),
        }
    }
}

struct Withdrawn<'a, O> {
    shared: &'a Shared<O>,
    tunnel: TunnelId,
}

impl<O> Drop for Withdrawn<'_, O> {
    fn drop(&mut self) {
        lock(&self.shared.waiting).remove(&self.tunnel);
    }
}

impl Places {
    fn take(count: &Arc<Mutex<Count>>, limits: Limits, from: Member, to: ClusterName) -> Result<Self, Status> {
        let mut open = lock(count);
        let limit = match &from {
            Member::Master => limits.from_master,
            _ => limits.from_one,
        };
        if open.from.get(&from).is_some_and(|count| *count >= limit) {
            return Err(Status::resource_exhausted(format!(
                "{from} has {limit} tunnels already"
            )));
        }
        if open.to.get(&to).is_some_and(|count| *count >= limits.to_one) {
            return Err(Status::resource_exhausted(format!(
                "there are {} tunnels to cluster {to} already",
                limits.to_one
            )));
        }
        *open.from.entry(from.clone()).or_default() += 1;
        *open.to.entry(to.clone()).or_default() += 1;
        Ok(Self {
            count: count.clone(),
            from,
            to,
        })
    }
}

#[cfg(test)]
impl Places {
    /// That of a tunnel which no switchboard counts.
    pub(super) fn of_nobody() -> Self {
        Self {
            count: Arc::default(),
            from: Member::Master,
            to: ClusterName::new("east").expect("the name follows the grammar"),
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let mut open = lock(&self.count);
        give_back(&mut open.from, &self.from);
        give_back(&mut open.to, &self.to);
    }
}

fn give_back<Name: Eq + Hash>(counts: &mut HashMap<Name, usize>, name: &Name) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
