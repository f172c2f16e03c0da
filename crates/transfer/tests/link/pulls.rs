//! Artifacts that come by each route, and what can go wrong on the way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tombolo_core::attempt::RouteKind;
use tombolo_core::digest::Digest;
use tombolo_core::time::Timestamp;
use tombolo_identity::grant::Signer;
use tombolo_identity::key::PrivateKey;
use tombolo_identity::member::Member;
use tombolo_identity::transport::Address;
use tombolo_transfer::pull::{Patience, Puller, Request};
use tombolo_transfer::tunnel::{self, Limits};

use crate::places::{PROJECT, Place, failure, grant, grant_until, pack};
use crate::setting::{DEADLINE, Record, Setting, cluster, name, until};

async fn places(setting: &Setting) -> (Place, Place) {
    (
        Place::new(setting, cluster("east")).await,
        Place::new(setting, cluster("west")).await,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_each_route() {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let (mut east, west) = places(&setting).await;
    east.serve_tunnels(&setting);
    let address = east.serve_directly().await;
    let closed = Address::parse("127.0.0.1:1").unwrap();
    for (seed, route, from) in [
        (1, RouteKind::Peer, Some(name("east"))),
        (2, RouteKind::Relay, Some(name("east"))),
        (3, RouteKind::Master, None),
    ] {
        let store = if route == RouteKind::Master {
            &setting.store
        } else {
            &east.store
        };
        let (output, content) = pack(store, seed, 8).await;
        let grant = grant(&setting.signer, &west.member, output.manifest);
        let links = &west.links;
        let sources = match route {
            RouteKind::Peer => vec![links.peer(name("east"), address.clone(), grant)],
            RouteKind::Relay => {
                // The direct way is known, but does not lead there.
                vec![
                    links.peer(name("east"), closed.clone(), grant.clone()),
                    links.relay(name("east"), grant),
                ]
            }
            _ => vec![links.master(grant)],
        };
        let receipt = timeout(DEADLINE, west.pull(output.manifest, sources))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(receipt.manifest.reference(), output);
        let receipt = receipt.for_parent(None);
        assert_eq!((receipt.route, receipt.from), (route, from));
        assert!(receipt.moved_bytes >= content.len() as u64, "{route:?}");
        let mut read = Vec::new();
        for chunk in west
            .store
            .get_manifest(PROJECT, output.manifest)
            .await
            .unwrap()
            .chunks()
        {
            read.extend_from_slice(west.store.get_chunk(PROJECT, chunk).await.unwrap().bytes());
        }
        assert!(read == content, "{route:?}");
    }
    assert!(setting.switchboard.moved_bytes() > 8 << 20);
    until("the tunnels end with their sources", || {
        setting.switchboard.tunnels() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_sees_nothing_of_what_it_relays() {
    let setting = Setting::new(Limits::default(), Record::Everything).await;
    let (mut east, west) = places(&setting).await;
    east.serve_tunnels(&setting);
    let (output, content) = east.pack(7, 6).await;
    let grant = grant(&setting.signer, &west.member, output.manifest);
    west.pull(output.manifest, vec![west.links.relay(name("east"), grant.clone())])
        .await
        .unwrap();
    let seen = setting.seen.lock().unwrap().clone();
    assert!(seen.len() > content.len());
    // Random bytes are stored as they are: in the clear, each of these would be there.
    for needle in content
        .chunks_exact(64 * 1024)
        .map(|block| &block[..16])
        .chain([&grant[..32]])
    {
        assert!(memmem::find(&seen, needle).is_none());
    }
    assert!(memmem::find(&seen, output.manifest.as_bytes()).is_none());

    // And it would be seen: the same, without TLS inside.
    let mut offers = setting.offers.listen("east");
    let target = name("east");
    let accepting = async {
        tunnel::accept(east.bulk.clone(), offers.recv().await.unwrap())
            .await
            .unwrap()
    };
    let (clear, end) = tokio::join!(tunnel::open(west.bulk.clone(), &target), accepting);
    let (mut clear, mut end) = (clear.unwrap(), end);
    clear.write_all(&content[..64]).await.unwrap();
    timeout(DEADLINE, end.read_exact(&mut [0; 64])).await.unwrap().unwrap();
    assert!(memmem::find(&setting.seen.lock().unwrap(), &content[..16]).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_at_the_source_is_an_error_and_heals() {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let (mut east, west) = places(&setting).await;
    east.serve_tunnels(&setting);
    let (output, _) = east.pack(11, 6).await;
    let victim = east.objects("/chunks/")[0].clone();
    let digest: Digest = victim.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let mut bytes = std::fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&victim, bytes).unwrap();
    let grant = grant(&setting.signer, &west.member, output.manifest);
    let sources = || vec![west.links.relay(name("east"), grant.clone())];
    let reason = failure(timeout(DEADLINE, west.pull(output.manifest, sources())).await.unwrap());
    assert!(
        reason.contains(&format!("chunk {digest} is damaged at its source")),
        "{reason}"
    );
    assert!(
        !west.store.has_manifest(PROJECT, output.manifest).await.unwrap(),
        "nothing looks whole"
    );
    // The parent is run again: what is damaged is written anew, and nothing else.
    assert_eq!(east.pack(11, 6).await.0, output);
    let receipt = timeout(DEADLINE, west.pull(output.manifest, sources()))
        .await
        .unwrap()
        .unwrap();
    assert!(
        receipt.progress.moved_bytes < output.bytes,
        "what had arrived did not come again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_grants_give_nothing() {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let (mut east, west) = places(&setting).await;
    let address = east.serve_directly().await;
    east.serve_tunnels(&setting);
    let (output, _) = east.pack(13, 1).await;
    let (other, _) = east.pack(14, 1).await;
    let forger = Signer::new(&PrivateKey::generate().unwrap()).unwrap();
    let good = grant(&setting.signer, &west.member, output.manifest);
    let mut altered = good.clone();
    altered[20] ^= 1;
    let before = east.service.served_bytes();
    for (case, shown, expected) in [
        (
            "another reader's",
            grant(&setting.signer, &cluster("north"), output.manifest),
            "for cluster north",
        ),
        (
            "the master's",
            grant(&setting.signer, &Member::Master, output.manifest),
            "for master",
        ),
        (
            "expired",
            grant_until(&setting.signer, &west.member, output.manifest, Timestamp(1)),
            "expired",
        ),
        ("forged", grant(&forger, &west.member, output.manifest), "signature"),
        ("altered", altered, "signature"),
        ("none", Vec::new(), "malformed"),
        ("cut off", good[..good.len() - 1].to_vec(), "signature"),
    ] {
        for source in [
            west.links.peer(name("east"), address.clone(), shown.clone()),
            west.links.relay(name("east"), shown),
        ] {
            let reason = failure(
                timeout(DEADLINE, west.pull(output.manifest, vec![source]))
                    .await
                    .unwrap(),
            );
            assert!(reason.contains(expected), "{case}: {reason}");
        }
    }
    assert_eq!(east.service.served_bytes(), before);
    // A grant for another artifact gives that other one, which is then not taken for this one.
    let another = grant(&setting.signer, &west.member, other.manifest);
    let source = west.links.peer(name("east"), address.clone(), another);
    let reason = failure(
        timeout(DEADLINE, west.pull(output.manifest, vec![source]))
            .await
            .unwrap(),
    );
    assert!(reason.contains(&format!("manifest {}", other.manifest)), "{reason}");
    let source = west.links.peer(name("east"), address, good);
    timeout(DEADLINE, west.pull(output.manifest, vec![source]))
        .await
        .unwrap()
        .unwrap();
}

/// Somebody who listens at the source's address, with a certificate of our CA, but not the source's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_member_cannot_stand_in_for_the_source() {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let (east, west) = places(&setting).await;
    let mut mallory = Place::new(&setting, cluster("mallory")).await;
    let address = mallory.serve_directly().await;
    let (output, _) = east.pack(17, 1).await;
    mallory.pack(17, 1).await;
    let grant = grant(&setting.signer, &west.member, output.manifest);
    let source = west.links.peer(name("east"), address, grant);
    let reason = failure(
        timeout(DEADLINE, west.pull(output.manifest, vec![source]))
            .await
            .unwrap(),
    );
    assert!(reason.contains("east.cluster.tombolo.internal"), "{reason}");
    assert_eq!(mallory.service.served_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_cut_goes_on_where_it_was() {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let (mut east, west) = places(&setting).await;
    east.serve_tunnels(&setting);
    let (output, _) = east.pack(19, 40).await;
    for cut in ["east", "west"] {
        let destination = Place::new(&setting, cluster("west")).await;
        let grant = grant(&setting.signer, &west.member, output.manifest);
        let sources = vec![destination.links.relay(name("east"), grant)];
        let done = AtomicBool::new(false);
        let pull = destination.pull_watching(output.manifest, sources, |progress| {
            if progress.done_bytes > 0 && !done.swap(true, Ordering::Relaxed) {
                assert!(setting.connections.close(&cluster(cut)) > 0, "{cut}");
            }
        });
        let receipt = timeout(DEADLINE, pull).await.unwrap().unwrap();
        assert_eq!(receipt.manifest.reference(), output, "{cut}");
        assert!(done.load(Ordering::Relaxed), "{cut}");
        // Each chunk counts when it arrived whole, and none arrived twice.
        let moved = receipt.progress.moved_bytes;
        assert!(moved < output.bytes + (1 << 20), "{cut}: {moved} bytes moved");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_says_nothing_costs_seconds() {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let (mut east, west) = places(&setting).await;
    east.serve_tunnels(&setting);
    // It takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::parse(&silent.local_addr().unwrap().to_string()).unwrap();
    let (output, _) = pack(&east.store, 1, 1).await;
    let grant = grant(&setting.signer, &west.member, output.manifest);
    let sources = vec![
        west.links.peer(name("east"), address, grant.clone()),
        west.links.relay(name("east"), grant),
    ];
    let request = Request {
        project: PROJECT,
        manifest: output.manifest,
        sources,
    };
    let puller = Puller::new(west.store.clone(), Patience::default());
    // Less than what a connection to the master may take.
    let pulled = timeout(Duration::from_secs(9), puller.pull(request, |_| {})).await;
    let receipt = pulled.expect("the other way is taken soon").unwrap().for_parent(None);
    assert_eq!(receipt.route, RouteKind::Relay);
}
