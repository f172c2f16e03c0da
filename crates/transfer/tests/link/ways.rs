//! The ways for clusters that cannot simply dial each other: the other way round, and straight from the bucket.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tombolo_core::attempt::{RouteKind, RouteOutcome};
use tombolo_identity::transport::{self, Address, Connections, Proxy};
use tombolo_transfer::store::DirectAccess;
use tombolo_transfer::tunnel::Limits;

use crate::embedded;
use crate::places::{PROJECT, Place, failure, grant};
use crate::setting::{DEADLINE, Record, Setting, cluster, name, until};

/// East cannot be dialled and can dial; West can be dialled.
async fn one_way(setting: &Setting) -> (Place, Place, Address) {
    let mut east = Place::new(setting, cluster("east")).await;
    east.dials_back();
    east.serve_tunnels(setting);
    let mut west = Place::new(setting, cluster("west")).await;
    let address = west.open_door().await;
    (east, west, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_it_dials_and_the_master_sees_next_to_nothing() {
    let setting = Setting::new(Limits::default(), Record::Everything).await;
    let (east, west, _) = one_way(&setting).await;
    let (output, content) = east.pack(1, 8).await;
    let grant = grant(&setting.signer, &west.member, output.manifest);
    let sources = vec![west.links.reverse(name("east"), grant)];
    let receipt = timeout(DEADLINE, west.pull(output.manifest, sources))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(receipt.manifest.reference(), output);
    assert_eq!(receipt.progress.route, RouteKind::ReversePeer);
    assert!(receipt.progress.moved_bytes >= content.len() as u64);
    let seen = setting.seen.lock().unwrap().len();
    assert!(seen < content.len() / 10, "{seen} bytes went through the master");
    // With the last who reads, the connection goes.
    until("nobody is served any more", || east.connections.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_door_that_nobody_can_reach_is_said_and_another_way_is_taken() {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let (east, mut west, _) = one_way(&setting).await;
    west.door_at("127.0.0.1:1");
    let (output, _) = east.pack(2, 2).await;
    let grant = grant(&setting.signer, &west.member, output.manifest);
    let reverse = || west.links.reverse(name("east"), grant.clone());
    let sources = vec![reverse(), west.links.relay(name("east"), grant.clone())];
    let receipt = timeout(DEADLINE, west.pull(output.manifest, sources))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(receipt.progress.route, RouteKind::Relay);
    let [first, second] = &receipt.routes[..] else {
        panic!("{:?}", receipt.routes);
    };
    assert!(
        matches!(&first.outcome, RouteOutcome::Failed(reason) if reason.contains("127.0.0.1:1")),
        "{first:?}"
    );
    assert_eq!((first.route, second.route), (RouteKind::ReversePeer, RouteKind::Relay));
    assert_eq!(second.outcome, RouteOutcome::Used);
    // One that does not dial for others says so, and is not asked again.
    let mut north = Place::new(&setting, cluster("north")).await;
    north.serve_tunnels(&setting);
    let (output, _) = north.pack(7, 1).await;
    let grant = crate::places::grant(&setting.signer, &west.member, output.manifest);
    let sources = vec![west.links.reverse(name("north"), grant)];
    let reason = failure(timeout(DEADLINE, west.pull(output.manifest, sources)).await.unwrap());
    assert!(reason.contains("dials nobody"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_comes_in_who_is_not_expected() {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let (east, west, address) = one_way(&setting).await;
    let mallory = setting.identity(&cluster("mallory"));
    let tls = mallory.client(&west.member).unwrap();
    let connections = Connections::default();
    for ticket in [&[7; 16][..], &[7; 3][..]] {
        let dialled = transport::dial_reverse(&address, &tls, &Proxy::none(), &mallory, &connections).await;
        let mut dialled = dialled.unwrap();
        dialled.write_all(ticket).await.unwrap();
        dialled.flush().await.unwrap();
        if ticket.len() == 16 {
            let ended = timeout(DEADLINE, dialled.read(&mut [0; 1])).await.unwrap();
            assert!(matches!(ended, Ok(0) | Err(_)), "it is closed without a word");
        }
    }
    // And who was expected still comes in.
    let (output, _) = east.pack(3, 1).await;
    let grant = grant(&setting.signer, &west.member, output.manifest);
    let sources = vec![west.links.reverse(name("east"), grant)];
    timeout(DEADLINE, west.pull(output.manifest, sources))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn straight_from_the_bucket() {
    let setting = Setting::new(Limits::default(), Record::Everything).await;
    let server = embedded::Server::start().await;
    let access = DirectAccess::default();
    let mut east = Place::in_store(&setting, cluster("east"), &server.location("east"), &access).await;
    east.dials_back();
    east.serve_tunnels(&setting);
    // More chunks than are signed at once.
    let (output, content) = east.pack(4, 200).await;
    let manifest = east.store.get_manifest(PROJECT, output.manifest).await.unwrap();
    assert!(manifest.chunk_count() > 32, "{}", manifest.chunk_count());
    let grant = grant(&setting.signer, &cluster("west"), output.manifest);
    let closed = Address::parse("127.0.0.1:1").unwrap();
    // Its agent is reached in a tunnel where the direct way leads nowhere.
    for address in [Some(closed), None] {
        let place = Place::new(&setting, cluster("west")).await;
        let sources = vec![place.links.signed(name("east"), address, false, grant.clone())];
        let receipt = timeout(DEADLINE, place.pull(output.manifest, sources))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(receipt.manifest.reference(), output);
        assert_eq!(receipt.progress.route, RouteKind::Signed);
        assert_eq!(receipt.routes[0].outcome, RouteOutcome::Used);
    }
    assert_eq!(east.service.served_bytes(), 2 * manifest.encoded().len() as u64);
    let seen = setting.seen.lock().unwrap().len();
    assert!(seen < content.len() / 10, "{seen} bytes went through the master");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_nobody_may_read_says_so_and_another_way_is_taken() {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let server = embedded::Server::start().await;
    let folder = Place::new(&setting, cluster("east")).await;
    let never = Place::in_store(
        &setting,
        cluster("north"),
        &server.location("n"),
        &DirectAccess::never(),
    )
    .await;
    for mut place in [folder, never] {
        place.dials_back();
        place.serve_tunnels(&setting);
        let (output, _) = place.pack(5, 2).await;
        let west = Place::new(&setting, cluster("west")).await;
        let grant = grant(&setting.signer, &west.member, output.manifest);
        let from = place.member.cluster().unwrap();
        let sources = vec![
            west.links.signed(from.clone(), None, false, grant.clone()),
            west.links.relay(from.clone(), grant),
        ];
        let receipt = timeout(DEADLINE, west.pull(output.manifest, sources))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(receipt.progress.route, RouteKind::Relay);
        let RouteOutcome::Unavailable(reason) = &receipt.routes[0].outcome else {
            panic!("{:?}", receipt.routes);
        };
        assert!(reason.contains("through its agent only"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_goes_away_leaves_what_came_and_the_rest_comes_otherwise() {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let server = embedded::Server::start().await;
    let mut way = Way::to(server.address()).await;
    let access = DirectAccess {
        members_endpoint: Some(format!("http://{}", way.address)),
        ..DirectAccess::default()
    };
    let mut east = Place::in_store(&setting, cluster("east"), &server.location("east"), &access).await;
    east.dials_back();
    east.serve_tunnels(&setting);
    let (output, content) = east.pack(6, 60).await;
    let west = Place::new(&setting, cluster("west")).await;
    let grant = grant(&setting.signer, &west.member, output.manifest);
    let sources = vec![
        west.links.signed(name("east"), None, false, grant.clone()),
        west.links.relay(name("east"), grant),
    ];
    // Well before all that is left is on its way.
    let quarter = content.len() as u64 / 4;
    let closed = AtomicBool::new(false);
    let closing = std::sync::Mutex::new(&mut way);
    let pulling = west.pull_watching(output.manifest, sources, |progress| {
        if progress.done_bytes > quarter && !closed.swap(true, Ordering::Relaxed) {
            closing.lock().unwrap().close();
        }
    });
    let receipt = timeout(DEADLINE, pulling).await.unwrap().unwrap();
    assert_eq!(receipt.manifest.reference(), output);
    let moved: Vec<_> = receipt.routes.iter().map(|report| report.moved_bytes).collect();
    assert!(moved[0] >= quarter && moved[1] > 0, "{moved:?}");
    assert!(
        moved[0] + moved[1] < content.len() as u64 * 11 / 10,
        "nothing comes twice: {moved:?}"
    );
    assert!(
        matches!(receipt.routes[0].outcome, RouteOutcome::Failed(_)),
        "{:?}",
        receipt.routes
    );
}

/// The network between the bucket and other clusters.
struct Way {
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Way {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { address, tasks }
    }

    fn close(&mut self) {
        self.tasks.abort_all();
    }
}
