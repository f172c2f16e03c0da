//! Chunks between a pod and a real store, with the agent's real side of couriers.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tombolo_agent::couriers::{self, Couriers, Duty, Visit};
use tombolo_agent::executor::Material;
use tombolo_agent::folder::AttemptFolder;
use tombolo_agent::supervisor::Specification;
use tombolo_artifact::{PackLimits, UnpackOptions};
use tombolo_core::id::ProjectId;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_identity::authority::Authority;
use tombolo_identity::member::{Member, TrustDomain};
use tombolo_identity::tls::Identity;
use tombolo_transfer::store::location::{S3Location, SecretReference};
use tombolo_transfer::store::{DirectAccess, Owner, Patience};
use tombolo_transfer::{ChunkStore, StoreLocation};

use crate::agent::specification;
use crate::life::noise;
use crate::link::{Counted, Meddling, Storeway};
use crate::seaweed::process::{ACCESS_KEY, SECRET_KEY, Server};
use crate::setting::{Pod, SOON};

pub(crate) const PROJECT: ProjectId = ProjectId::from_u128(7);
/// What the input of a job has, and what the job adds to it.
pub(crate) const INPUT_BYTES: u64 = 12 << 20;
pub(crate) const OUTPUT_BYTES: u64 = 9 << 20;
/// Talk without chunks: TLS, the manifests, questions.
pub(crate) const TALK_BYTES: u64 = 512 << 10;

/// A courier that holds chunks itself. Its container may take 256.
const COURIER_LIMIT_MIB: u64 = 96;

/// What a job's chunks went by.
pub(crate) struct Moved {
    /// Between pod and agent, all in all.
    pub(crate) agent_bytes: u64,
    took: Duration,
}

fn owner() -> Owner {
    Owner {
        trust_domain: "test.internal".to_owned(),
        member: "cluster/east".to_owned(),
    }
}

pub(crate) fn bucket(address: SocketAddr, prefix: &str) -> StoreLocation {
    let _ = rustls::crypto::ring::default_provider().install_default();
    StoreLocation::S3(Box::new(S3Location {
        bucket: "bucket".to_owned(),
        endpoint: Some(format!("http://{address}")),
        prefix: prefix.to_owned(),
        allow_http: true,
        access_key_id: Some(ACCESS_KEY.to_owned()),
        secret_access_key: Some(SecretReference::Value(SECRET_KEY.to_owned().into())),
        ..S3Location::default()
    }))
}

fn at(address: SocketAddr) -> DirectAccess {
    DirectAccess {
        endpoint: Some(format!("http://{address}")),
        ..DirectAccess::default()
    }
}

pub(crate) async fn is_ready(address: SocketAddr) -> Result<(), String> {
    let patience = Patience {
        request: Duration::from_secs(5),
        operation: Duration::from_secs(5),
    };
    let opened = ChunkStore::open(&bucket(address, "ready"), &owner(), patience).await;
    opened.map(drop).map_err(|error| error.to_string())
}

/// An agent with a real store: what it serves to couriers.
pub(crate) struct Port {
    pub(crate) store: ChunkStore,
    pub(crate) couriers: Couriers,
    pub(crate) port: u16,
    pub(crate) trust: String,
    pub(crate) root: tempfile::TempDir,
    _stop: DropGuard,
}

impl Port {
    pub(crate) async fn open(location: &StoreLocation, access: &DirectAccess) -> Self {
        let store = ChunkStore::open_direct(location, access, &owner(), Patience::default()).await;
        let (store, root) = (store.unwrap(), tempfile::tempdir().unwrap());
        let couriers = Couriers::open(root.path(), store.clone()).unwrap();
        let now = Timestamp(tombolo_runtime::clock::now().wall_milliseconds);
        let authority = Authority::create(TrustDomain::default(), now).unwrap();
        let member = Member::Cluster(ClusterName::new("east").unwrap());
        let identity = Identity::new(authority.issue(&member, authority.trust(), now).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        let (serving, token) = (couriers.clone(), stop.clone());
        tokio::spawn(async move { couriers::serve(serving, listener, &identity, token).await });
        Self {
            store,
            couriers,
            port,
            trust: authority.trust().pem(),
            root,
            _stop: stop.drop_guard(),
        }
    }

    /// Expects the courier of an attempt that runs `command` with these inputs.
    pub(crate) fn expect(&self, command: &Specification, materials: Vec<Material>) -> Visit {
        let folder = AttemptFolder::new(self.root.path().join("attempt"));
        fs::create_dir(folder.path()).unwrap();
        let duty = Duty {
            project: PROJECT,
            command: command.clone(),
            job_file: b"{}".to_vec(),
            materials,
            cache: None,
            secrets: Default::default(),
        };
        let visit = self.couriers.expect(command.attempt, &folder, duty).unwrap();
        visit.begin();
        visit
    }
}

/// Runs a job that copies its input and adds to it. Its output must be whole in the store.
pub(crate) async fn run(location: &StoreLocation, access: &DirectAccess) -> Moved {
    let open = async || ChunkStore::open(location, &owner(), Patience::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    fs::create_dir(&input).unwrap();
    fs::write(input.join("noise"), noise(INPUT_BYTES as usize)).unwrap();
    let packed = open().await.pack(PROJECT, &input, PackLimits::default()).await.unwrap();
    let agent = Port::open(location, access).await;
    let counted = Counted::start(agent.port).await;
    let script = format!(
        "cp $TOMBOLO_INPUTS/a/noise $TOMBOLO_OUTPUT/copy
        head -c {OUTPUT_BYTES} /dev/urandom > $TOMBOLO_OUTPUT/new; seq 200000 > $TOMBOLO_OUTPUT/text"
    );
    let attempt = specification(&script);
    let material = Material {
        folder: "inputs/a".to_owned(),
        manifest: packed.manifest,
        optional: false,
        paths: Vec::new(),
    };
    let visit = agent.expect(&attempt, vec![material]);
    let began = Instant::now();
    let mut pod = Pod::new();
    let token = agent.couriers.token(attempt.attempt);
    pod.start_courier_of((counted.port, &agent.trust), "east", token.expose_secret());
    pod.start_job();
    assert_eq!(pod.ended().await, (Some(0), Some(0)));
    let took = began.elapsed();
    let collected = tokio::time::timeout(SOON, visit.collected()).await.unwrap();
    let output = collected.output.unwrap().unwrap();
    let (into, options) = (folder.path().join("output"), UnpackOptions::default());
    open()
        .await
        .unpack(PROJECT, output.manifest, &into, options)
        .await
        .unwrap();
    assert!(fs::read(into.join("copy")).unwrap() == fs::read(input.join("noise")).unwrap());
    let made = pod.path("sandbox/output/new");
    assert!(fs::read(into.join("new")).unwrap() == fs::read(made).unwrap());
    let courier = pod.courier.as_ref().unwrap().peak_kilobytes >> 10;
    println!(
        "{} bytes between pod and agent, {took:?}, the courier's peak {courier} MiB",
        counted.bytes()
    );
    assert!(courier <= COURIER_LIMIT_MIB);
    Moved {
        agent_bytes: counted.bytes(),
        took,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_go_directly_where_they_can() {
    let server = Server::start(is_ready).await;
    let address = server.address;
    straight(address).await;
    a_busy_store_is_waited_for(address).await;
    damage_on_the_way_is_found(address).await;
    a_store_out_of_reach_is_not_needed(address).await;
    the_store_s_certificate_is_believed_as_the_agent_believes_it(address).await;
    what_may_not_go_directly_does_not(address).await;
}

async fn straight(address: SocketAddr) {
    let way = Storeway::start(address, Meddling::default()).await;
    let moved = run(&bucket(address, "straight"), &at(way.address)).await;
    let (up, down) = way.seen.bytes();
    // The copy is there already.
    assert!(
        (OUTPUT_BYTES..OUTPUT_BYTES + INPUT_BYTES).contains(&up),
        "{up} bytes went up"
    );
    assert!(down >= INPUT_BYTES, "{down} bytes came down");
    assert!(
        moved.agent_bytes < TALK_BYTES,
        "{} bytes through the agent",
        moved.agent_bytes
    );
}

async fn a_busy_store_is_waited_for(address: SocketAddr) {
    let busy = Meddling {
        busy: 2,
        ..Meddling::default()
    };
    let way = Storeway::start(address, busy).await;
    let moved = run(&bucket(address, "busy"), &at(way.address)).await;
    assert!(moved.took >= Duration::from_secs(1), "{:?}", moved.took);
    assert!(way.seen.bytes().0 >= OUTPUT_BYTES);
    assert!(
        moved.agent_bytes < TALK_BYTES,
        "{} bytes through the agent",
        moved.agent_bytes
    );
}

async fn damage_on_the_way_is_found(address: SocketAddr) {
    let damage = Meddling {
        corrupt_uploads: 1,
        corrupt_downloads: 1,
        ..Meddling::default()
    };
    let way = Storeway::start(address, damage).await;
    let moved = run(&bucket(address, "damage"), &at(way.address)).await;
    // The upload was refused by the store and repeated; the download came once more, from the agent.
    let (up, down) = way.seen.bytes();
    assert!(up > OUTPUT_BYTES && down >= INPUT_BYTES, "{up} bytes up, {down} down");
    assert!(
        moved.agent_bytes > TALK_BYTES && moved.agent_bytes < INPUT_BYTES,
        "{} bytes through the agent",
        moved.agent_bytes
    );
}

async fn a_store_out_of_reach_is_not_needed(address: SocketAddr) {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let moved = run(&bucket(address, "closed"), &at(closed)).await;
    assert!(
        moved.agent_bytes > INPUT_BYTES + OUTPUT_BYTES,
        "{} bytes through the agent",
        moved.agent_bytes
    );
    // Somebody else answers there, and does not know the signatures.
    let stranger = Storeway::start(closed_server().await, Meddling::default()).await;
    let moved = run(&bucket(address, "stranger"), &at(stranger.address)).await;
    // Those that were under way, of inputs; and no output.
    let (asked, uploads) = (stranger.seen.requests(), stranger.seen.uploads.load(Ordering::SeqCst));
    assert!(
        asked > 0 && uploads == 0,
        "it was asked {asked} times, {uploads} uploads"
    );
    assert!(moved.agent_bytes > INPUT_BYTES + OUTPUT_BYTES);
}

async fn the_store_s_certificate_is_believed_as_the_agent_believes_it(address: SocketAddr) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, made.cert.pem()).unwrap();
    for ca_file in [Some(file), None] {
        let tls = TlsAcceptor::from(Arc::new(config.clone()));
        let way = Storeway::start_with(address, Meddling::default(), Some(tls)).await;
        let StoreLocation::S3(mut location) = bucket(address, "tls") else {
            panic!("a bucket is in S3");
        };
        location.ca_file.clone_from(&ca_file);
        let access = DirectAccess {
            endpoint: Some(format!("https://{}", way.address)),
            ..DirectAccess::default()
        };
        let moved = run(&StoreLocation::S3(location), &access).await;
        let (requests, through_agent) = (way.seen.requests(), moved.agent_bytes);
        match ca_file {
            Some(_) => assert!(requests > 0 && through_agent < TALK_BYTES, "{through_agent} bytes"),
            None => assert!(
                requests == 0 && through_agent > INPUT_BYTES + OUTPUT_BYTES,
                "{through_agent} bytes"
            ),
        }
    }
}

async fn what_may_not_go_directly_does_not(address: SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    for (location, access) in [
        (StoreLocation::local(folder.path()), DirectAccess::default()),
        (bucket(address, "never"), DirectAccess::never()),
    ] {
        let moved = run(&location, &access).await;
        assert!(
            moved.agent_bytes > INPUT_BYTES + OUTPUT_BYTES,
            "{} bytes through the agent",
            moved.agent_bytes
        );
    }
}

/// A server that answers 403 to whatever is asked.
async fn closed_server() -> SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 64 * 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream
                .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await;
        }
    });
    address
}
