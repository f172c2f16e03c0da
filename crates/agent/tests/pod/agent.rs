//! An agent that stands in for the real one: what it was told and given lies in memory, and outlives its server.

mod chunks;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tombolo_agent::supervisor::{Exit, SandboxPaths, Specification};
use tombolo_artifact::{Manifest, PackLimits, StoredChunk};
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, Epoch, JobId};
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_identity::authority::Authority;
use tombolo_identity::member::{Member, TrustDomain};
use tombolo_identity::tls::{ClientCertificate, Identity};
use tombolo_identity::transport::{Acceptor, Connections, Limits, http2};
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::courier_server::{Courier, CourierServer};
use tombolo_proto::courier::v1::order::Order;
use tombolo_proto::courier::v1::report::Report;
use tombolo_proto::transfer::v1::chunks_server::ChunksServer;
use tonic::{Request, Response, Status, Streaming};

pub(crate) const TOKEN: &str = "the-token-of-one-attempt";
/// From when lines are there to when that is acknowledged: those in between are lost with the agent.
const SYNC: Duration = Duration::from_millis(30);

#[derive(Default)]
pub(crate) struct Known {
    pub(crate) description: wire::Description,
    /// Manifests, and the stored chunks of all of them.
    artifacts: HashMap<Digest, Manifest>,
    pub(crate) chunks: HashMap<Digest, Bytes>,
    pub(crate) staged: usize,
    pub(crate) started_at: Option<u64>,
    pub(crate) log: Vec<Vec<u8>>,
    synced: usize,
    pub(crate) exit: Option<Exit>,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) finish: Option<wire::FinishRequest>,
    pub(crate) sessions: usize,
    /// How many calls of this kind fail before one succeeds.
    pub(crate) faults: BTreeMap<&'static str, usize>,
    pub(crate) calls: BTreeMap<&'static str, usize>,
    /// The lease that it has whenever it is asked; none if it says nothing of that.
    pub(crate) lease: Option<Duration>,
}

/// What the pod is to do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Orders {
    pub(crate) begin: bool,
    /// At once, or not.
    pub(crate) stop: Option<bool>,
}

#[derive(Clone)]
struct Service {
    known: Arc<Mutex<Known>>,
    orders: watch::Sender<Orders>,
}

pub(crate) struct Agent {
    service: Service,
    identity: Identity,
    pub(crate) trust: String,
    pub(crate) port: u16,
    server: Option<(CancellationToken, Connections, JoinHandle<()>)>,
}

pub(crate) fn specification(script: &str) -> Specification {
    let attempt = AttemptId {
        job: JobId::from_u128(rand::random()),
        epoch: Epoch(1),
    };
    Specification {
        attempt,
        command: ["sh", "-c", script].map(str::to_owned).into(),
        environment: [("TOMBOLO_ATTEMPT".to_owned(), attempt.to_string())].into(),
        job_environment: [("OF_THE_JOB".to_owned(), "yes".to_owned())].into(),
        paths: SandboxPaths::default(),
        timeout: Duration::from_secs(60),
        stop_grace: Duration::from_millis(300),
        log_limit_bytes: 16 << 20,
        storage_limit_bytes: None,
        output_limit_bytes: None,
        volumes: Default::default(),
        secrets: Vec::new(),
        exclusive: false,
        lease: None,
        generated: Default::default(),
    }
}

impl Agent {
    /// Serves as the agent of `cluster`, with a command to run that may begin at once.
    pub(crate) async fn start(cluster: &str, specification: &Specification) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let now = Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
        let authority = Authority::create(TrustDomain::default(), now).unwrap();
        let member = Member::Cluster(ClusterName::new(cluster).unwrap());
        let issued = authority.issue(&member, authority.trust(), now).unwrap();
        let description = wire::Description {
            command: serde_json::to_vec(specification).unwrap(),
            job_file: b"{\"job\":{}}".to_vec(),
            materials: Vec::new(),
            cache: None,
            secrets: Default::default(),
        };
        let known = Known {
            description,
            ..Known::default()
        };
        let mut agent = Self {
            service: Service {
                known: Arc::new(Mutex::new(known)),
                orders: watch::channel(Orders {
                    begin: true,
                    stop: None,
                })
                .0,
            },
            identity: Identity::new(issued).unwrap(),
            trust: authority.trust().pem(),
            port: 0,
            server: None,
        };
        agent.come().await;
        agent
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.service.known.lock().unwrap()
    }

    pub(crate) fn order(&self, change: impl FnOnce(&mut Orders)) {
        self.service.orders.send_modify(change);
    }

    /// Gives the command a variable whose value is a secret.
    pub(crate) fn add_secret(&self, variable: &str, value: &str) {
        let secrets = &mut self.known().description.secrets;
        secrets.insert(variable.to_owned(), value.to_owned());
    }

    /// Makes the contents of `folder` an input.
    pub(crate) fn add_material(&self, into: &str, folder: &Path) -> Digest {
        let mut known = self.known();
        let manifest =
            tombolo_artifact::pack(folder, PackLimits::default(), &mut chunks::Sink(&mut known.chunks)).unwrap();
        let digest = manifest.digest();
        known.artifacts.insert(digest, manifest);
        known.description.materials.push(wire::Material {
            folder: into.to_owned(),
            manifest: digest.as_bytes().to_vec(),
            optional: false,
            paths: Vec::new(),
        });
        digest
    }

    /// What was left under this digest.
    pub(crate) fn left(&self, manifest: &[u8]) -> Option<Manifest> {
        let digest = tombolo_proto::convert::digest(manifest, "manifest").unwrap();
        self.known().artifacts.get(&digest).cloned()
    }

    /// Is there (again), at the same address.
    pub(crate) async fn come(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        let (connections, stop) = (Connections::default(), CancellationToken::new());
        let limits = Limits::default();
        let optional = ClientCertificate::Optional;
        let acceptor = Acceptor::new(listener, &self.identity, optional, limits, connections.clone()).unwrap();
        let server = http2::server()
            .add_service(CourierServer::new(self.service.clone()))
            .add_service(ChunksServer::new(self.service.clone()))
            .serve_with_incoming_shutdown(acceptor, stop.clone().cancelled_owned());
        let task = tokio::spawn(async move { server.await.unwrap() });
        self.server = Some((stop, connections, task));
    }

    /// Is gone, with what it had not yet on its disk.
    pub(crate) async fn go(&mut self) {
        let (stop, connections, task) = self.server.take().unwrap();
        stop.cancel();
        while !task.is_finished() {
            connections.close_all();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut known = self.known();
        let synced = known.synced;
        known.log.truncate(synced);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let known = self.known();
        known
            .log
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect()
    }
}

impl Service {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    /// Checks the token, counts, and fails if it is to.
    fn admit<T>(&self, call: &'static str, request: &Request<T>) -> Result<(), Status> {
        let shown = request
            .metadata()
            .get("authorization")
            .map(|value| value.as_bytes().to_vec());
        if shown != Some(format!("Bearer {TOKEN}").into_bytes()) {
            return Err(Status::unauthenticated("no attempt has this token"));
        }
        let mut known = self.known();
        *known.calls.entry(call).or_default() += 1;
        match known.faults.get_mut(call) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Err(Status::unavailable("on purpose"))
            }
            _ => Ok(()),
        }
    }

    fn manifest_of(&self, grant: &[u8]) -> Result<Manifest, Status> {
        let digest = tombolo_proto::convert::digest(grant, "grant")?;
        let found = self.known().artifacts.get(&digest).cloned();
        found.ok_or_else(|| Status::permission_denied("not an input of this attempt"))
    }

    /// Takes a report; the answer is how many lines are to be acknowledged in a moment.
    fn take(&self, report: Report) -> Option<usize> {
        let mut known = self.known();
        match report {
            Report::Staged(_) => known.staged += 1,
            Report::Started(started) => known.started_at = Some(started.started_at),
            Report::Exited(exited) => known.exit = Some(serde_json::from_slice(&exited.exit).unwrap()),
            Report::Lines(lines) => {
                let have = known.log.len() as u64;
                // What it has already it does not take twice; of what comes too early it wants the rest first.
                if lines.first_line <= have {
                    let new = lines.lines.into_iter().skip((have - lines.first_line) as usize);
                    known.log.extend(new.map(|line| line.text));
                }
                return Some(known.log.len());
            }
        }
        None
    }
}

#[tonic::async_trait]
impl Courier for Service {
    type SessionStream = ReceiverStream<Result<wire::Order, Status>>;
    type AttendStream = ReceiverStream<Result<tombolo_proto::exec::v1::Input, Status>>;

    /// See `entering`, which has a real agent.
    async fn attend(&self, _: Request<Streaming<wire::Attendance>>) -> Result<Response<Self::AttendStream>, Status> {
        Err(Status::not_found("nobody wants to enter"))
    }

    async fn describe(&self, request: Request<wire::DescribeRequest>) -> Result<Response<wire::Description>, Status> {
        self.admit("describe", &request)?;
        Ok(Response::new(self.known().description.clone()))
    }

    async fn session(
        &self,
        request: Request<Streaming<wire::Report>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.admit("session", &request)?;
        self.known().sessions += 1;
        let mut reports = request.into_inner();
        let (sender, answers) = mpsc::channel(4);
        let (service, mut orders) = (self.clone(), self.orders.subscribe());
        orders.mark_changed();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    report = reports.next() => {
                        let Some(Ok(wire::Report { report: Some(report) })) = report else { return };
                        let Some(lines) = service.take(report) else { continue };
                        tokio::time::sleep(SYNC).await;
                        if sender.is_closed() { return }
                        {
                            let mut known = service.known();
                            known.synced = lines;
                        }
                        let next_line = lines as u64;
                        let _ = sender.send(order(Order::Acknowledged(wire::Acknowledged { next_line }))).await;
                    }
                    Ok(()) = orders.changed() => {
                        let Orders { begin, stop } = *orders.borrow_and_update();
                        if begin {
                            let exclusive = service.known().lease.is_some();
                            let _ = sender.send(order(Order::Begin(wire::Begin { exclusive }))).await;
                        }
                        if let Some(immediately) = stop {
                            let _ = sender.send(order(Order::Stop(wire::Stop { immediately }))).await;
                        }
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn hold_lease(
        &self,
        request: Request<wire::HoldLeaseRequest>,
    ) -> Result<Response<wire::HoldLeaseResponse>, Status> {
        self.admit("hold_lease", &request)?;
        let lease = self
            .known()
            .lease
            .ok_or_else(|| Status::permission_denied("no lease"))?;
        let milliseconds = lease.as_millis() as u64;
        Ok(Response::new(wire::HoldLeaseResponse {
            remaining_milliseconds: milliseconds,
            length_milliseconds: milliseconds,
        }))
    }

    async fn find_missing(
        &self,
        request: Request<wire::FindMissingRequest>,
    ) -> Result<Response<wire::FindMissingResponse>, Status> {
        self.admit("find_missing", &request)?;
        let known = self.known();
        let digests = request.get_ref().digests.iter();
        let digests = digests.map(|digest| tombolo_proto::convert::digest(digest, "digests").unwrap());
        let missing = digests
            .zip(0..)
            .filter(|(digest, _)| !known.chunks.contains_key(digest));
        Ok(Response::new(wire::FindMissingResponse {
            missing: missing.map(|(_, place)| place).collect(),
        }))
    }

    async fn put_chunks(
        &self,
        request: Request<Streaming<wire::ChunkUpload>>,
    ) -> Result<Response<wire::PutChunksResponse>, Status> {
        self.admit("put_chunks", &request)?;
        let mut uploads = request.into_inner();
        let (mut digest, mut collected) = (None, BytesMut::new());
        while let Some(upload) = uploads.message().await? {
            assert!(upload.data.len() <= 256 * 1024, "{} bytes", upload.data.len());
            if !upload.digest.is_empty() {
                digest = Some(tombolo_proto::convert::digest(&upload.digest, "digest")?);
            }
            collected.extend_from_slice(&upload.data);
            if upload.last {
                let stored = std::mem::take(&mut collected).freeze();
                let (stored, _) = StoredChunk::verify_digest(stored, digest.take().unwrap()).unwrap();
                self.known().chunks.insert(stored.reference().digest, stored.to_bytes());
            }
        }
        Ok(Response::new(wire::PutChunksResponse {}))
    }

    /// As an agent that is older than this call: see `direct`, which has a real one.
    async fn describe_store(
        &self,
        request: Request<wire::DescribeStoreRequest>,
    ) -> Result<Response<wire::StoreDescription>, Status> {
        self.admit("describe_store", &request)?;
        Err(Status::unimplemented("this agent knows no such call"))
    }

    async fn prepare_upload(
        &self,
        _: Request<wire::PrepareUploadRequest>,
    ) -> Result<Response<wire::PrepareUploadResponse>, Status> {
        Err(Status::unimplemented("this agent knows no such call"))
    }

    async fn confirm_upload(
        &self,
        _: Request<wire::ConfirmUploadRequest>,
    ) -> Result<Response<wire::ConfirmUploadResponse>, Status> {
        Err(Status::unimplemented("this agent knows no such call"))
    }

    async fn prepare_download(
        &self,
        _: Request<wire::PrepareDownloadRequest>,
    ) -> Result<Response<wire::PrepareDownloadResponse>, Status> {
        Err(Status::unimplemented("this agent knows no such call"))
    }

    async fn renounce_store(
        &self,
        _: Request<wire::RenounceStoreRequest>,
    ) -> Result<Response<wire::RenounceStoreResponse>, Status> {
        Err(Status::unimplemented("this agent knows no such call"))
    }

    async fn put_manifest(
        &self,
        request: Request<Streaming<wire::ManifestUpload>>,
    ) -> Result<Response<wire::PutManifestResponse>, Status> {
        self.admit("put_manifest", &request)?;
        let mut uploads = request.into_inner();
        let mut encoded = BytesMut::new();
        while let Some(upload) = uploads.message().await? {
            encoded.extend_from_slice(&upload.data);
        }
        let manifest = Manifest::decode(encoded.freeze()).unwrap();
        let mut known = self.known();
        assert!(manifest.chunks().all(|chunk| known.chunks.contains_key(&chunk.digest)));
        let answer = wire::PutManifestResponse {
            manifest: manifest.digest().as_bytes().to_vec(),
            bytes: manifest.bytes(),
            files: manifest.files(),
        };
        known.artifacts.insert(manifest.digest(), manifest.clone());
        known.manifest = Some(manifest);
        Ok(Response::new(answer))
    }

    async fn finish(&self, request: Request<wire::FinishRequest>) -> Result<Response<wire::FinishResponse>, Status> {
        self.admit("finish", &request)?;
        let mut known = self.known();
        if known.exit.is_none() {
            return Err(Status::failed_precondition("the command has not ended yet"));
        }
        known.finish = Some(request.into_inner());
        Ok(Response::new(wire::FinishResponse {}))
    }
}

fn order(order: Order) -> Result<wire::Order, Status> {
    Ok(wire::Order { order: Some(order) })
}
