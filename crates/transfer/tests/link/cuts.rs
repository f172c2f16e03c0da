//! A way that is cut anywhere, and a reader that starts anew after that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tombolo_identity::transport::Address;
use tombolo_transfer::pull::{Patience, Puller, Request};
use tombolo_transfer::tunnel::Limits;

use crate::places::{PROJECT, Place, grant};
use crate::setting::{DEADLINE, Record, Setting, cluster, name};

/// How many transfers are cut, each once.
const CUTS: u64 = 100;
/// So long no connection lasts without being cut.
const PATIENCE: Patience = Patience {
    request: Duration::from_secs(5),
    stalled: Duration::from_millis(300),
};

/// Passes bytes on until it has passed on so many to the reader, and then cuts all connections.
struct Scissors {
    address: SocketAddr,
    /// What is left until the next cut.
    left: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Scissors {
    async fn before(server: &Address) -> Self {
        let server = server.to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let left = Arc::new(AtomicU64::new(0));
        let limit = Arc::clone(&left);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(&server).await.unwrap();
                connections.spawn(pass_on(near, far, Arc::clone(&limit)));
            }
        });
        Self {
            address,
            left,
            _tasks: tasks,
        }
    }
}

async fn pass_on(near: TcpStream, far: TcpStream, left: Arc<AtomicU64>) {
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let asking = async { tokio::io::copy(&mut from_near, &mut to_far).await.map(drop) };
    let answering = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = from_far.read(&mut buffer).await?;
            let allowed = left.load(Ordering::Relaxed).min(count as u64);
            to_near.write_all(&buffer[..allowed as usize]).await?;
            left.fetch_sub(allowed, Ordering::Relaxed);
            if count == 0 || allowed < count as u64 {
                return std::io::Result::Ok(());
            }
        }
    };
    // However one of them ends, both do: that is the cut.
    tokio::select! {
        _ = asking => {}
        _ = answering => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_before_a_cut_never_comes_again() {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let mut east = Place::new(&setting, cluster("east")).await;
    let address = east.serve_directly().await;
    let (output, _) = east.pack(11, 12).await;
    let manifest = east.store.get_manifest(PROJECT, output.manifest).await.unwrap();
    let mut stored = Vec::new();
    for chunk in manifest.chunks() {
        stored.push(
            east.store
                .get_stored_chunk(PROJECT, chunk)
                .await
                .unwrap()
                .stored_length() as u64,
        );
    }
    let whole: u64 = stored.iter().sum::<u64>() + manifest.encoded().len() as u64;
    let scissors = Scissors::before(&address).await;
    let way = Address::parse(&scissors.address.to_string()).unwrap();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let (mut cut, mut saved) = (0, 0);
    for _ in 0..CUTS {
        let reader = Place::new(&setting, cluster("west")).await;
        let grant = grant(&setting.signer, &cluster("west"), output.manifest);
        let pull = async |place: &Place, until_cut: u64| {
            scissors.left.store(until_cut, Ordering::Relaxed);
            let sources = vec![place.links.peer(name("east"), way.clone(), grant.clone())];
            let request = Request {
                project: PROJECT,
                manifest: output.manifest,
                sources,
            };
            timeout(
                DEADLINE,
                Puller::new(place.store.clone(), PATIENCE).pull(request, |_| {}),
            )
            .await
            .unwrap()
        };
        // Handshakes and frames take some more than the chunks themselves; so some come through whole.
        cut += u64::from(pull(&reader, random.random_range(0..whole + whole / 20)).await.is_err());
        let mut there = 0;
        for (chunk, length) in manifest.chunks().zip(&stored) {
            let is_there = reader.store.has_chunk(PROJECT, chunk.digest).await.unwrap();
            there += if is_there { *length } else { 0 };
        }
        let has_manifest = reader.store.get_manifest(PROJECT, output.manifest).await.is_ok();
        // As a program that was just started: it knows what the store has, and nothing else.
        let again = reader.again(&setting).await;
        let receipt = pull(&again, u64::MAX).await.unwrap();
        assert_eq!(receipt.manifest.reference(), output);
        let missing = if has_manifest { 0 } else { whole - there };
        assert_eq!(
            receipt.progress.moved_bytes, missing,
            "nothing that is there comes again"
        );
        saved += there;
    }
    assert!(cut >= CUTS / 2, "only {cut} were cut");
    assert!(
        saved >= whole * CUTS / 10,
        "what came stays: {saved} of {whole} bytes {CUTS} times"
    );
}
