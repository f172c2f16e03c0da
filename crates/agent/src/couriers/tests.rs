//! Couriers over real TLS, against a store on the disk.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tombolo_artifact::{BorrowedChunk, Chunk, ChunkSink, Manifest, PackLimits, StoredChunk};
use tombolo_core::id::{AttemptId, ProjectId};
use tombolo_core::time::Timestamp;
use tombolo_identity::authority::Authority;
use tombolo_identity::member::{Member, TrustDomain};
use tombolo_identity::tls::{self, Identity};
use tombolo_identity::transport::{Address, Proxy, connect};
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::courier_client::CourierClient;
use tombolo_proto::courier::v1::{order::Order, report::Report};
use tombolo_proto::transfer::v1::GetManifestRequest;
use tombolo_proto::transfer::v1::chunks_client::ChunksClient;
use tombolo_transfer::StoreLocation;
use tombolo_transfer::store::{Owner, Patience};
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Streaming};

use super::*;
use crate::executor::Urgency;
use crate::spool::Reader;
use crate::supervisor::{Ending, SandboxPaths, Usage};
use crate::trial::{SOON, attempt, cluster, install_cryptography, wall};

const PROJECT: ProjectId = ProjectId::from_u128(7);

/// An agent's port for couriers; agents come and go, the folders stay.
struct Port {
    root: tempfile::TempDir,
    store: ChunkStore,
    couriers: Couriers,
    channel: Channel,
    stop: CancellationToken,
}

type Token = Box<dyn FnMut(Request<()>) -> Result<Request<()>, Status> + Send>;
type Client = CourierClient<InterceptedService<Channel, Token>>;

impl Port {
    async fn open() -> Self {
        install_cryptography();
        let root = tempfile::tempdir().unwrap();
        let owner = Owner {
            trust_domain: "test.internal".to_owned(),
            member: "cluster/east".to_owned(),
        };
        let location = StoreLocation::local(root.path().join("store"));
        let store = ChunkStore::open(&location, &owner, Patience::default()).await.unwrap();
        let couriers = Couriers::open(root.path(), store.clone()).unwrap();
        let stop = CancellationToken::new();
        let channel = serve_at_some_port(&couriers, &stop).await;
        Self {
            root,
            store,
            couriers,
            channel,
            stop,
        }
    }

    /// Another agent takes the place of this one.
    async fn replace_agent(&mut self, id: AttemptId) {
        self.stop.cancel();
        self.couriers.dismiss(id);
        self.couriers = Couriers::open(self.root.path(), self.store.clone()).unwrap();
        self.stop = CancellationToken::new();
        self.channel = serve_at_some_port(&self.couriers, &self.stop).await;
    }

    fn folder(&self, attempt: AttemptId) -> AttemptFolder {
        let folder = AttemptFolder::new(self.root.path().join(attempt.to_string()));
        std::fs::create_dir_all(folder.path()).unwrap();
        folder
    }

    fn expect(&self, attempt: AttemptId, materials: Vec<Material>) -> Visit {
        let command = Specification {
            attempt,
            command: vec!["true".to_owned()],
            environment: [].into(),
            job_environment: [].into(),
            paths: SandboxPaths::Absolute,
            timeout: SOON,
            stop_grace: SOON,
            log_limit_bytes: 1 << 20,
            storage_limit_bytes: None,
            output_limit_bytes: None,
            volumes: Default::default(),
            secrets: Vec::new(),
            exclusive: false,
            lease: None,
            generated: Default::default(),
        };
        let duty = Duty {
            project: PROJECT,
            command,
            job_file: b"{}".to_vec(),
            materials,
            cache: None,
            secrets: [("TOKEN".to_owned(), "hunter2".to_owned())].into_iter().collect(),
        };
        self.couriers.expect(attempt, &self.folder(attempt), duty).unwrap()
    }

    fn token(&self, attempt: AttemptId) -> String {
        self.couriers.token(attempt).expose_secret().to_owned()
    }

    fn client(&self, token: &str) -> Client {
        CourierClient::with_interceptor(self.channel.clone(), bearer(token))
    }

    fn log(&self, attempt: AttemptId) -> Vec<String> {
        let lines = Reader::open(&self.folder(attempt).log())
            .unwrap()
            .read(usize::MAX)
            .unwrap();
        let text = |line: &crate::spool::Line| String::from_utf8_lossy(&line.text).into_owned();
        lines.iter().map(text).collect()
    }
}

async fn serve_at_some_port(couriers: &Couriers, stop: &CancellationToken) -> Channel {
    let authority = Authority::create(TrustDomain::default(), wall()).unwrap();
    let member = Member::Cluster(cluster());
    let identity = Identity::new(authority.issue(&member, authority.trust(), wall()).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    let (couriers, stop, agent) = (couriers.clone(), stop.clone(), identity.clone());
    tokio::spawn(async move { serve(couriers, listener, &agent, stop).await.unwrap() });
    let tls = tls::anonymous(&identity.trust(), &member).unwrap();
    connect(&[address], tls, &Proxy::none()).await.unwrap()
}

fn bearer(token: &str) -> Token {
    let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    Box::new(move |mut request| {
        request.metadata_mut().insert("authorization", value.clone());
        Ok(request)
    })
}

/// A session as a courier has it.
struct Talk {
    reports: mpsc::Sender<wire::Report>,
    orders: Streaming<wire::Order>,
}

impl Talk {
    async fn open(mut client: Client) -> Self {
        let (reports, stream) = mpsc::channel(16);
        let orders = client.session(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Self { reports, orders }
    }

    async fn say(&self, report: Report) {
        let report = Some(report);
        self.reports.send(wire::Report { report }).await.unwrap();
    }

    async fn lines(&self, first_line: u64, texts: &[&str]) {
        let line = |text: &&str| wire::Line {
            at: 1,
            text: text.as_bytes().to_vec(),
        };
        let lines = texts.iter().map(line).collect();
        self.say(Report::Lines(wire::Lines { first_line, lines })).await;
    }

    async fn order(&mut self) -> Option<Order> {
        let order = tokio::time::timeout(SOON, self.orders.next())
            .await
            .expect("no order came");
        order.and_then(Result::ok).and_then(|order| order.order)
    }

    async fn acknowledged(&mut self) -> u64 {
        match self.order().await {
            Some(Order::Acknowledged(acknowledged)) => acknowledged.next_line,
            other => panic!("{other:?}"),
        }
    }
}

struct Packed(Vec<Chunk>);

impl ChunkSink for Packed {
    fn chunk(&mut self, chunk: BorrowedChunk<'_>) -> io::Result<()> {
        self.0.push(chunk.to_chunk());
        Ok(())
    }
}

fn exit(log_lines: u64) -> Exit {
    Exit {
        ending: Ending::Exited { code: 0 },
        started_at: Some(Timestamp(5)),
        ended_at: Timestamp(6),
        log_lines,
        usage: Usage::default(),
    }
}

fn exited(log_lines: u64) -> Report {
    let exit = serde_json::to_vec(&exit(log_lines)).unwrap();
    Report::Exited(wire::Exited { exit })
}

#[tokio::test]
async fn a_token_opens_its_own_attempt_only_and_only_while_it_is_expected() {
    let port = Port::open().await;
    let (mine, other) = (attempt(1), attempt(2));
    let describe = async |token: &str| {
        let answer = port.client(token).describe(wire::DescribeRequest {}).await;
        answer.map_err(|status| status.code())
    };
    assert_eq!(describe(&port.token(mine)).await.unwrap_err(), Code::PermissionDenied);
    let _visit = port.expect(mine, Vec::new());
    let description = describe(&port.token(mine)).await.unwrap();
    let command: Specification = serde_json::from_slice(&description.get_ref().command).unwrap();
    assert_eq!(command.attempt, mine);
    assert_eq!(description.get_ref().secrets["TOKEN"], "hunter2");
    assert!(
        !format!("{description:?}").contains("hunter2"),
        "what is printed has names only"
    );
    assert_eq!(describe(&port.token(other)).await.unwrap_err(), Code::PermissionDenied);
    assert_eq!(describe("nonsense").await.unwrap_err(), Code::Unauthenticated);
    port.couriers.dismiss(mine);
    assert_eq!(describe(&port.token(mine)).await.unwrap_err(), Code::PermissionDenied);
}

#[tokio::test]
async fn inputs_of_the_attempt_can_be_read_and_nothing_else() {
    let port = Port::open().await;
    let folder = port.root.path().join("parent");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), "input").unwrap();
    let input = port.store.pack(PROJECT, &folder, PackLimits::default()).await.unwrap();
    std::fs::write(folder.join("file"), "somebody else's").unwrap();
    let foreign = port.store.pack(PROJECT, &folder, PackLimits::default()).await.unwrap();
    let material = Material {
        folder: "inputs/parent".to_owned(),
        manifest: input.manifest,
        optional: false,
        paths: Vec::new(),
    };
    let _visit = port.expect(attempt(1), vec![material]);
    let mut client = ChunksClient::with_interceptor(port.channel.clone(), bearer(&port.token(attempt(1))));
    let mut read = async |digest: &Digest| {
        let grant = digest.as_bytes().to_vec().into();
        client.get_manifest(GetManifestRequest { grant }).await
    };
    let piece = read(&input.manifest)
        .await
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(Manifest::decode(piece.data).unwrap().digest(), input.manifest);
    assert_eq!(
        read(&foreign.manifest).await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn logs_and_the_exit_are_taken_once_also_by_the_next_agent() {
    let mut port = Port::open().await;
    let id = attempt(1);
    let visit = port.expect(id, Vec::new());
    let mut talk = Talk::open(port.client(&port.token(id))).await;
    assert_eq!(talk.acknowledged().await, 0);
    talk.say(Report::Staged(wire::Staged {})).await;
    visit.staged().await;
    visit.begin();
    assert_eq!(talk.order().await, Some(Order::Begin(wire::Begin::default())));
    talk.say(Report::Started(wire::Started { started_at: 5 })).await;
    assert_eq!(visit.begun().await, Some(Timestamp(5)));
    talk.lines(0, &["a", "b"]).await;
    assert_eq!(talk.acknowledged().await, 2);

    port.replace_agent(id).await;
    let visit = port.expect(id, Vec::new());
    assert!(visit.is_staged(), "it is known from the folder");
    assert_eq!(visit.begun().await, Some(Timestamp(5)));
    let mut talk = Talk::open(port.client(&port.token(id))).await;
    assert_eq!(talk.acknowledged().await, 2);
    talk.lines(0, &["a", "b", "c"]).await;
    assert_eq!(talk.acknowledged().await, 3);
    talk.say(exited(4)).await;
    assert_eq!(talk.acknowledged().await, 3, "a line is missing");
    talk.lines(3, &["d"]).await;
    assert_eq!(talk.acknowledged().await, 4);
    talk.say(exited(4)).await;
    assert_eq!(visit.exit(|| {}).await, exit(4));
    assert_eq!(port.log(id), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_command_that_is_to_end_before_it_began_is_not_told_to_begin() {
    let port = Port::open().await;
    let visit = port.expect(attempt(1), Vec::new());
    visit.stop(Urgency::Graceful);
    visit.begin();
    let mut talk = Talk::open(port.client(&port.token(attempt(1)))).await;
    assert_eq!(talk.acknowledged().await, 0);
    assert_eq!(talk.order().await, Some(Order::Stop(wire::Stop { immediately: false })));
    visit.stop(Urgency::Immediate);
    assert_eq!(talk.order().await, Some(Order::Stop(wire::Stop { immediately: true })));
}

#[tokio::test]
async fn a_new_session_ends_the_one_before() {
    let port = Port::open().await;
    let visit = port.expect(attempt(1), Vec::new());
    let mut first = Talk::open(port.client(&port.token(attempt(1)))).await;
    assert_eq!(first.acknowledged().await, 0);
    let mut second = Talk::open(port.client(&port.token(attempt(1)))).await;
    assert_eq!(second.acknowledged().await, 0);
    assert_eq!(first.order().await, None);
    visit.begin();
    assert_eq!(second.order().await, Some(Order::Begin(wire::Begin::default())));
    port.couriers.dismiss(attempt(1));
    assert_eq!(second.order().await, None);
}

#[tokio::test]
async fn outputs_are_taken_whole_and_checked() {
    let port = Port::open().await;
    let visit = port.expect(attempt(1), Vec::new());
    let mut client = port.client(&port.token(attempt(1)));
    let folder = port.root.path().join("output");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), "result").unwrap();
    let mut packed = Packed(Vec::new());
    let manifest = tombolo_artifact::pack(&folder, PackLimits::default(), &mut packed).unwrap();
    let chunks = packed.0;
    let digests: Vec<_> = chunks
        .iter()
        .map(|chunk| chunk.reference().digest.as_bytes().to_vec())
        .collect();
    let missing = wire::FindMissingRequest {
        digests: digests.clone(),
    };
    let answer = client.find_missing(missing.clone()).await.unwrap();
    assert_eq!(answer.get_ref().missing, [0]);

    let upload = || {
        let data = manifest.encoded().clone();
        futures::stream::iter([wire::ManifestUpload { data }])
    };
    let early = client.put_manifest(upload()).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition, "{early}");
    let put = async |client: &mut Client, data: Vec<u8>| {
        let digest = digests[0].clone().into();
        let (first, rest) = data.split_at(1);
        let pieces = [(digest, first.to_vec(), false), (Bytes::new(), rest.to_vec(), true)];
        let pieces = pieces.map(|(digest, data, last)| wire::ChunkUpload {
            digest,
            data: data.into(),
            last,
        });
        client.put_chunks(futures::stream::iter(pieces)).await
    };
    let good = StoredChunk::encode(&chunks[0]).to_bytes().to_vec();
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(put(&mut client, damaged).await.unwrap_err().code(), Code::DataLoss);
    put(&mut client, good).await.unwrap();
    assert!(client.find_missing(missing).await.unwrap().get_ref().missing.is_empty());
    let stored = client.put_manifest(upload()).await.unwrap().into_inner();
    assert_eq!((stored.bytes, stored.files), (6, 1));

    let output = Some(wire::finish_request::Output::Manifest(stored.manifest));
    let tests = None;
    client
        .finish(wire::FinishRequest {
            output,
            tests,
            cache: None,
            generated: None,
        })
        .await
        .unwrap();
    let collected = tokio::time::timeout(Duration::from_secs(5), visit.collected())
        .await
        .unwrap();
    assert_eq!(collected.output, Ok(Some(manifest.reference())));
}
