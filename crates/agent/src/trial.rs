//! A master for tests: the real wire, real TLS and the master's own end of the session, with a control plane that agrees to
//! everything and writes down what it was asked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tombolo_core::control::Command;
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, Epoch, JobId, SessionId};
use tombolo_core::name::ClusterName;
use tombolo_core::session::AgentFrame;
use tombolo_core::session::master::{Action, Event, Session, Settings};
use tombolo_core::time::{Moment, Timestamp};
use tombolo_identity::authority::{Authority, request_key};
use tombolo_identity::credentials::Credentials;
use tombolo_identity::edition::Edition;
use tombolo_identity::grant::Signer;
use tombolo_identity::invite::{Invite, secret_digest};
use tombolo_identity::key::PrivateKey;
use tombolo_identity::member::{Member, TrustDomain};
use tombolo_identity::tls::{ClientCertificate, Identity};
use tombolo_identity::transport::{Acceptor, Address, Connections, Limits, Proxy, connect_lazy, http2, peer, shown};
use tombolo_identity::trust::Trust;
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::bulk_server::{Bulk, BulkServer};
use tombolo_proto::agent::v1::control_server::{Control, ControlServer};
use tombolo_proto::agent::v1::joining_server::{Joining, JoiningServer};
use tombolo_proto::convert;
use tombolo_runtime::clock;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::link::Master;

/// How long a test waits for what must happen.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) fn wall() -> Timestamp {
    Timestamp(clock::now().wall_milliseconds)
}

pub(crate) fn cluster() -> ClusterName {
    ClusterName::new("east").unwrap()
}

pub(crate) fn attempt(job: u128) -> AttemptId {
    AttemptId {
        job: JobId::from_u128(job),
        epoch: Epoch(1),
    }
}

pub(crate) fn install_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What the trial's services share.
pub(crate) struct Shared {
    pub(crate) authority: Authority,
    pub(crate) trust: Trust,
    signer: Signer,
    identity: Identity,
    /// Who may join with a secret, and whether it was used.
    invites: Mutex<HashMap<Digest, (ClusterName, Option<Digest>)>>,
    removed: Mutex<HashSet<ClusterName>>,
    /// Calls of clusters that were removed.
    pub(crate) refusals: AtomicUsize,
    sessions: AtomicU64,
    /// What sessions were told, in order.
    pub(crate) heard: mpsc::UnboundedSender<Command>,
    /// What all sessions are to be told.
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) logs: Mutex<BTreeMap<AttemptId, Vec<Vec<u8>>>>,
    pub(crate) refused_logs: Mutex<HashSet<AttemptId>>,
    /// After so many batches a stream of logs breaks, before the answer to the last of them.
    pub(crate) batches_until_break: AtomicUsize,
    pub(crate) streams_of_logs: AtomicUsize,
    /// How many certificates were renewed.
    pub(crate) renewals: AtomicUsize,
    /// The editions that members have shown with their new certificates.
    pub(crate) confirmed: Mutex<Vec<Edition>>,
}

pub(crate) struct Trial {
    pub(crate) shared: Arc<Shared>,
    pub(crate) heard: mpsc::UnboundedReceiver<Command>,
    pub(crate) address: SocketAddr,
    connections: Connections,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Trial {
    pub(crate) async fn start() -> Self {
        Self::start_with(Authority::create(TrustDomain::default(), wall()).unwrap()).await
    }

    /// A master with this authority.
    pub(crate) async fn start_with(authority: Authority) -> Self {
        install_cryptography();
        let signer = Signer::new(&PrivateKey::generate().unwrap()).unwrap();
        let trust = authority.trust().with_grant_key(signer.public_point()).unwrap();
        let authority = authority.announcing(&trust);
        let identity = Identity::new(authority.issue(&Member::Master, trust.clone(), wall()).unwrap()).unwrap();
        let (sender, heard) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            authority,
            trust,
            signer,
            identity,
            invites: Mutex::default(),
            removed: Mutex::default(),
            refusals: AtomicUsize::new(0),
            sessions: AtomicU64::new(1),
            heard: sender,
            events: broadcast::channel(64).0,
            logs: Mutex::default(),
            refused_logs: Mutex::default(),
            batches_until_break: AtomicUsize::new(usize::MAX),
            streams_of_logs: AtomicUsize::new(0),
            renewals: AtomicUsize::new(0),
            confirmed: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, stop) = (Connections::default(), CancellationToken::new());
        let server = serve(&shared, listener, &connections, &stop);
        Self {
            shared,
            heard,
            address,
            connections,
            stop,
            server,
        }
    }

    /// Ends all connections and the listener.
    pub(crate) async fn end(&mut self) {
        self.stop.cancel();
        self.connections.close_all();
        (&mut self.server).await.unwrap();
    }

    /// Listens at the same address again.
    pub(crate) async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.stop = CancellationToken::new();
        self.server = serve(&self.shared, listener, &self.connections, &self.stop);
    }

    /// Has the master show a certificate of another authority, which gives none.
    pub(crate) fn show_edition_of(&self, authority: &Authority) {
        let shared = &self.shared;
        let issued = authority.issue(&Member::Master, shared.trust.clone(), wall()).unwrap();
        shared.identity.replace(issued).unwrap();
    }

    pub(crate) fn invite(&self) -> Invite {
        let shared = &self.shared;
        let (domain, pin) = (shared.authority.domain().clone(), shared.authority.pin());
        let invite = Invite::generate(vec![self.address.to_string()], domain, pin, cluster()).unwrap();
        lock(&shared.invites).insert(invite.secret_digest(), (cluster(), None));
        invite
    }

    pub(crate) fn remove(&self, cluster: &ClusterName) {
        lock(&self.shared.removed).insert(cluster.clone());
        self.connections.close(&Member::Cluster(cluster.clone()));
    }

    /// A member whose certificate was made `age` ago.
    pub(crate) fn member(&self, age: Duration) -> Master {
        let shared = &self.shared;
        let key = PrivateKey::generate().unwrap();
        let made_at = Timestamp(wall().0 - u64::try_from(age.as_millis()).unwrap());
        let member = Member::Cluster(cluster());
        let chain = shared
            .authority
            .sign(&key.request().unwrap(), &member, made_at)
            .unwrap();
        let credentials = Credentials::new(key, chain, shared.trust.clone()).unwrap();
        Master {
            identity: Identity::new(credentials).unwrap(),
            addresses: vec![self.address.to_string().parse::<Address>().unwrap()],
            proxy: Proxy::none(),
        }
    }

    pub(crate) fn bulk(&self, member: &Master) -> Channel {
        connect_lazy(
            &member.addresses,
            member.identity.client(&Member::Master).unwrap(),
            &member.proxy,
        )
    }

    /// The next command of a session that `chosen` takes.
    pub(crate) async fn hear<T>(&mut self, mut chosen: impl FnMut(Command) -> Option<T>) -> T {
        let hearing = async {
            loop {
                let command = self.heard.recv().await.unwrap();
                if let Some(found) = chosen(command) {
                    return found;
                }
            }
        };
        tokio::time::timeout(SOON, hearing)
            .await
            .expect("the agent said nothing like it")
    }

    pub(crate) fn log(&self, attempt: AttemptId) -> Vec<Vec<u8>> {
        lock(&self.shared.logs).get(&attempt).cloned().unwrap_or_default()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

fn serve(
    shared: &Arc<Shared>,
    listener: TcpListener,
    connections: &Connections,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let optional = ClientCertificate::Optional;
    let acceptor = Acceptor::new(
        listener,
        &shared.identity,
        optional,
        Limits::default(),
        connections.clone(),
    )
    .unwrap();
    let server = http2::server()
        .add_service(JoiningServer::new(Services(shared.clone())))
        .add_service(ControlServer::new(Services(shared.clone())))
        .add_service(BulkServer::new(Services(shared.clone())))
        .serve_with_incoming_shutdown(acceptor, stop.clone().cancelled_owned());
    tokio::spawn(async move { server.await.unwrap() })
}

impl Shared {
    fn caller<T>(&self, request: &Request<T>) -> Result<ClusterName, Status> {
        let member = peer(request.extensions()).map(|peer| peer.member.clone());
        match member {
            Some(Member::Cluster(name)) if !lock(&self.removed).contains(&name) => Ok(name),
            _ => {
                self.refusals.fetch_add(1, Ordering::Relaxed);
                Err(Status::permission_denied("the cluster was removed"))
            }
        }
    }

    fn credentials(&self, request: &[u8], cluster: &ClusterName) -> wire::Credentials {
        let member = Member::Cluster(cluster.clone());
        let chain = self.authority.sign(request, &member, wall()).unwrap();
        let der = |certificates: &[rustls::pki_types::CertificateDer<'_>]| {
            certificates.iter().map(|certificate| certificate.to_vec()).collect()
        };
        wire::Credentials {
            chain: der(chain.certificates()),
            roots: der(self.trust.roots()),
            grant_key: self.signer.public_point().to_vec(),
        }
    }

    async fn session(
        self: Arc<Self>,
        cluster: ClusterName,
        mut incoming: Streaming<wire::AgentFrame>,
        outgoing: mpsc::Sender<Result<wire::MasterFrame, Status>>,
    ) {
        let settings = Settings {
            heartbeat: Duration::from_millis(200),
            lease: Duration::from_secs(5),
            ..Settings::default()
        };
        let now = || Moment(clock::now().steady);
        let id = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        let mut session = Session::new(settings, cluster, id, now());
        let mut events = self.events.subscribe();
        loop {
            let event = tokio::select! {
                frame = incoming.message() => match frame {
                    Ok(Some(frame)) => Event::Frame(AgentFrame::try_from(frame).unwrap()),
                    _ => return,
                },
                event = events.recv() => event.unwrap(),
            };
            let mut actions = session.handle(now(), event);
            while !actions.is_empty() {
                let mut further = Vec::new();
                for action in actions {
                    match action {
                        Action::Send(frame) => {
                            if outgoing.send(Ok(frame.into())).await.is_err() {
                                return;
                            }
                        }
                        Action::Apply { ticket, command } => {
                            let _ = self.heard.send(command);
                            let result = Ok(());
                            further.extend(session.handle(now(), Event::Applied { ticket, result }));
                        }
                        Action::Close(error) => panic!("the agent broke a rule: {error}"),
                        Action::Tell(command) => drop(self.heard.send(command)),
                        Action::Progress(_) => {}
                    }
                }
                actions = further;
            }
        }
    }

    fn take_lines(&self, batch: wire::LogBatch) -> Result<wire::LogAcknowledgement, Status> {
        let attempt = convert::attempt(batch.attempt, "LogBatch.attempt")?;
        let refused = lock(&self.refused_logs).contains(&attempt);
        let mut logs = lock(&self.logs);
        let log = logs.entry(attempt).or_default();
        let known = log.len() as u64;
        if !refused && batch.first_line <= known {
            let skipped = usize::try_from(known - batch.first_line).unwrap();
            log.extend(batch.lines.into_iter().skip(skipped).map(|line| line.text));
        }
        let left = self.batches_until_break.fetch_sub(1, Ordering::Relaxed);
        if left == 1 {
            self.batches_until_break.store(usize::MAX, Ordering::Relaxed);
            return Err(Status::unavailable("the stream breaks here"));
        }
        Ok(wire::LogAcknowledgement {
            attempt: Some(attempt.into()),
            next_line: log.len() as u64,
            refused,
        })
    }
}

/// The services; streams share what they need.
struct Services(Arc<Shared>);

#[tonic::async_trait]
impl Joining for Services {
    async fn join(&self, request: Request<wire::JoinRequest>) -> Result<Response<wire::JoinResponse>, Status> {
        let (shared, request) = (&self.0, request.into_inner());
        let key = request_key(&request.signing_request).unwrap();
        let mut invites = lock(&shared.invites);
        let unknown = || Status::permission_denied("the invite is unknown, used or expired");
        let (cluster, used_by) = invites.get_mut(&secret_digest(&request.secret)).ok_or_else(unknown)?;
        if used_by.is_some_and(|used_by| used_by != key) {
            return Err(Status::permission_denied("the invite is unknown, used or expired"));
        }
        *used_by = Some(key);
        Ok(Response::new(wire::JoinResponse {
            cluster: cluster.clone().into(),
            trust_domain: shared.trust.domain().to_string(),
            credentials: Some(shared.credentials(&request.signing_request, cluster)),
        }))
    }
}

#[tonic::async_trait]
impl Control for Services {
    type SessionStream = ReceiverStream<Result<wire::MasterFrame, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<wire::AgentFrame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let cluster = self.0.caller(&request)?;
        let (outgoing, frames) = mpsc::channel(16);
        tokio::spawn(self.0.clone().session(cluster, request.into_inner(), outgoing));
        Ok(Response::new(ReceiverStream::new(frames)))
    }

    async fn renew(&self, request: Request<wire::RenewRequest>) -> Result<Response<wire::RenewResponse>, Status> {
        let cluster = self.0.caller(&request)?;
        let credentials = Some(self.0.credentials(&request.into_inner().signing_request, &cluster));
        self.0.renewals.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(wire::RenewResponse { credentials }))
    }

    async fn confirm(&self, request: Request<wire::ConfirmRequest>) -> Result<Response<wire::ConfirmResponse>, Status> {
        self.0.caller(&request)?;
        let shown = shown(request.extensions()).and_then(|shown| shown.edition);
        lock(&self.0.confirmed).extend(shown);
        Ok(Response::new(wire::ConfirmResponse {}))
    }
}

#[tonic::async_trait]
impl Bulk for Services {
    type PushLogsStream = Pin<Box<dyn Stream<Item = Result<wire::LogAcknowledgement, Status>> + Send>>;

    async fn push_logs(
        &self,
        request: Request<Streaming<wire::LogBatch>>,
    ) -> Result<Response<Self::PushLogsStream>, Status> {
        self.0.caller(&request)?;
        self.0.streams_of_logs.fetch_add(1, Ordering::Relaxed);
        let shared = self.0.clone();
        let answers = request.into_inner().map(move |batch| shared.take_lines(batch?));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn find_wanted(
        &self,
        request: Request<wire::FindWantedRequest>,
    ) -> Result<Response<wire::FindWantedResponse>, Status> {
        self.0.caller(&request)?;
        let wanted = vec![true; request.into_inner().manifests.len()];
        Ok(Response::new(wire::FindWantedResponse {
            project_exists: true,
            wanted,
        }))
    }

    async fn find_secrets(
        &self,
        request: Request<wire::FindSecretsRequest>,
    ) -> Result<Response<wire::FindSecretsResponse>, Status> {
        self.0.caller(&request)?;
        Err(Status::unimplemented("no attempt of a trial has secrets"))
    }
}
