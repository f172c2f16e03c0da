//! A master with a switchboard, and clusters that are connected to it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::Stream;
use tombolo_core::id::TunnelId;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_identity::authority::Authority;
use tombolo_identity::grant::Signer;
use tombolo_identity::key::PrivateKey;
use tombolo_identity::member::{Member, TrustDomain};
use tombolo_identity::tls::{ClientCertificate, Identity};
use tombolo_identity::transport::{self, Acceptor, Address, Connections, Proxy, http2};
use tombolo_identity::trust::Trust;
use tombolo_proto::transfer::v1::TunnelFrame;
use tombolo_proto::transfer::v1::tunnel_frame::Frame;
use tombolo_proto::transfer::v1::tunnels_server::{Tunnels, TunnelsServer};
use tombolo_transfer::peer::ChunkService;
use tombolo_transfer::store::{ChunkStore, Owner, Patience, StoreLocation};
use tombolo_transfer::tunnel::{Limits, Offer, Refusal, Switchboard};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

/// No wait of a test may take longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// A cluster that may not be dialled.
pub(crate) const FORBIDDEN: &str = "forbidden";

pub(crate) fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

pub(crate) fn name(text: &str) -> ClusterName {
    ClusterName::new(text).unwrap()
}

pub(crate) fn cluster(text: &str) -> Member {
    Member::Cluster(name(text))
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

/// Hands offers to the clusters that listen for them.
#[derive(Clone, Default)]
pub(crate) struct Offers(Arc<Mutex<HashMap<ClusterName, mpsc::Sender<TunnelId>>>>);

impl Offers {
    /// The offers to a cluster, from now on.
    pub(crate) fn listen(&self, cluster: &str) -> mpsc::Receiver<TunnelId> {
        let (sender, receiver) = mpsc::channel(16);
        self.0.lock().unwrap().insert(name(cluster), sender);
        receiver
    }
}

impl Offer for Offers {
    async fn offer(&self, _: &Member, target: &ClusterName, tunnel: TunnelId) -> Result<(), Refusal> {
        if target.as_str() == FORBIDDEN {
            return Err(Refusal::NotAllowed(target.clone()));
        }
        let not_connected = || Refusal::NotConnected(target.clone());
        let sender = self.0.lock().unwrap().get(target).cloned().ok_or_else(not_connected)?;
        sender.send(tunnel).await.map_err(|_| not_connected())
    }
}

/// The switchboard, and all that it passes on if somebody wants to know.
#[derive(Clone)]
struct Recording {
    switchboard: Switchboard<Offers>,
    seen: Option<Arc<Mutex<Vec<u8>>>>,
}

#[tonic::async_trait]
impl Tunnels for Recording {
    type OpenStream = Pin<Box<dyn Stream<Item = Result<TunnelFrame, Status>> + Send>>;

    async fn open(&self, request: Request<Streaming<TunnelFrame>>) -> Result<Response<Self::OpenStream>, Status> {
        let splice = self.switchboard.open(request).await?.into_inner();
        let seen = self.seen.clone();
        Ok(Response::new(Box::pin(splice.inspect(move |frame| {
            if let (
                Some(seen),
                Ok(TunnelFrame {
                    frame: Some(Frame::Data(data)),
                }),
            ) = (&seen, frame)
            {
                seen.lock().unwrap().extend_from_slice(data);
            }
        }))))
    }
}

pub(crate) struct Setting {
    pub(crate) authority: Authority,
    pub(crate) signer: Signer,
    pub(crate) trust: Trust,
    pub(crate) offers: Offers,
    pub(crate) switchboard: Switchboard<Offers>,
    pub(crate) connections: Connections,
    pub(crate) address: Address,
    /// All tunnel data that the master saw.
    pub(crate) seen: Arc<Mutex<Vec<u8>>>,
    /// The master's own chunks, which it serves.
    pub(crate) store: ChunkStore,
    _folder: TempDir,
    _tasks: JoinSet<()>,
}

/// Whether the master's view of the tunnels is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    Everything,
    Nothing,
}

impl Setting {
    pub(crate) async fn new(limits: Limits, record: Record) -> Self {
        let authority = Authority::create(TrustDomain::default(), now()).unwrap();
        let signer = Signer::new(&PrivateKey::generate().unwrap()).unwrap();
        let trust = authority.trust().with_grant_key(signer.public_point()).unwrap();
        let master = Identity::new(authority.issue(&Member::Master, trust.clone(), now()).unwrap()).unwrap();
        let offers = Offers::default();
        let switchboard = Switchboard::new(offers.clone(), limits);
        let (seen, connections) = <(Arc<Mutex<Vec<u8>>>, Connections)>::default();
        let (acceptor, address) = listen(&master, &connections).await;
        let recorded = (record == Record::Everything).then(|| seen.clone());
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner {
            trust_domain: trust.domain().to_string(),
            member: "master".to_owned(),
        };
        let location = StoreLocation::local(folder.path());
        let store = ChunkStore::open(&location, &owner, Patience::default()).await.unwrap();
        let chunks = ChunkService::new(store.clone(), master.clone()).server();
        let service = Recording {
            switchboard: switchboard.clone(),
            seen: recorded,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            http2::server()
                .add_service(TunnelsServer::new(service))
                .add_service(chunks)
                .serve_with_incoming(acceptor)
                .await
                .unwrap();
        });
        Self {
            authority,
            signer,
            trust,
            offers,
            switchboard,
            connections,
            address,
            seen,
            store,
            _folder: folder,
            _tasks: tasks,
        }
    }

    pub(crate) fn identity(&self, member: &Member) -> Identity {
        Identity::new(self.authority.issue(member, self.trust.clone(), now()).unwrap()).unwrap()
    }

    /// A bulk connection of a cluster to the master.
    pub(crate) async fn bulk(&self, identity: &Identity) -> Channel {
        let tls = identity.client(&Member::Master).unwrap();
        transport::connect(std::slice::from_ref(&self.address), tls, &Proxy::none())
            .await
            .unwrap()
    }
}

/// A listener of a member.
pub(crate) async fn listen(identity: &Identity, connections: &Connections) -> (Acceptor, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limits = transport::Limits::default();
    let acceptor = Acceptor::new(
        listener,
        identity,
        ClientCertificate::Required,
        limits,
        connections.clone(),
    )
    .unwrap();
    let address = Address::parse(&acceptor.local_address().unwrap().to_string()).unwrap();
    (acceptor, address)
}
