use std::time::Duration;

use tombolo_core::attempt::OutputReference;
use tombolo_core::digest::Digest;
use tombolo_core::id::JobId;
use tombolo_core::name::JobName;
use tombolo_identity::transport::Proxy;
use tombolo_transfer::peer::Door;
use tombolo_transfer::pull::Behaviour;

use super::*;
use crate::trial::Trial;

#[tokio::test]
async fn the_best_way_comes_first_and_this_cluster_is_not_asked() {
    let trial = Trial::start().await;
    let member = trial.member(Duration::ZERO);
    let links = Links::new(member.identity.clone(), trial.bulk(&member), Proxy::none());
    let name = |text: &str| ClusterName::new(text).unwrap();
    let place = |cluster: &str, address: Option<&str>| InputSource {
        cluster: name(cluster),
        peer_address: address.map(str::to_owned),
        direct_per_gigabyte: Cost(0),
        relay_per_gigabyte: Cost(0),
    };
    let mut input = InputReference {
        index: None,
        job: JobId::from_u128(1),
        name: JobName::new("build").unwrap(),
        output: OutputReference {
            manifest: Digest::new([1; 32]),
            bytes: 1,
            files: 1,
        },
        sources: vec![
            place("west", Some("127.0.0.1:7445")),
            place("east", None),
            place("north", Some("no address")),
            place("south", None),
        ],
        grant: Vec::new(),
    };
    let network = Network::new(links.clone(), name("east"));
    let ways = network.input(&input, Cost(1_000_000));
    let found = |cluster: &str| {
        let of = |source: &&Source| source.cluster == Some(name(cluster));
        let sources = ways.sources.iter().filter(of);
        sources.map(|source| source.route).collect::<Vec<_>>()
    };
    // A byte goes the shortest way.
    assert_eq!(found("west"), [RouteKind::Peer, RouteKind::Relay, RouteKind::Signed]);
    assert_eq!(found("north"), [RouteKind::Relay, RouteKind::Signed]);
    assert_eq!(found("south"), [RouteKind::Relay, RouteKind::Signed]);
    assert_eq!(found("east"), [], "this cluster's own store is looked at first anyway");
    let missing = |cluster: &str, route| {
        let of = |report: &&RouteReport| report.from == Some(name(cluster)) && report.route == route;
        match &ways.unavailable.iter().find(of).unwrap().outcome {
            RouteOutcome::Unavailable(reason) => reason.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert!(missing("south", RouteKind::Peer).contains("that cluster has no port"));
    assert!(missing("north", RouteKind::Peer).contains("is none"));
    assert!(missing("west", RouteKind::ReversePeer).contains("this cluster has no port"));
    // What costs a lot straight goes through the master, and much goes by the bucket.
    input.sources[0].direct_per_gigabyte = Cost(u64::MAX / 4);
    let ways = network.input(&input, Cost(1_000_000));
    assert_eq!(ways.sources.last().unwrap().cluster, Some(name("west")));
    input.output.bytes = 1 << 40;
    input.sources[0].direct_per_gigabyte = Cost(0);
    let network = Network::new(links.with_door(Door::new("east:7445")), name("east"));
    let ways = network.input(&input, Cost(1_000_000));
    assert_eq!(ways.sources[0].route, RouteKind::Signed);
    assert!(ways.sources.iter().any(|source| source.route == RouteKind::ReversePeer));
    let source = SourceReference {
        manifest: Digest::new([1; 32]),
        grant: Vec::new(),
    };
    assert_eq!(network.source(&source).sources[0].route, RouteKind::Master);
}

#[tokio::test]
async fn what_failed_comes_last_the_next_time() {
    let trial = Trial::start().await;
    let member = trial.member(Duration::ZERO);
    let links = Links::new(member.identity.clone(), trial.bulk(&member), Proxy::none());
    let west = ClusterName::new("west").unwrap();
    let place = InputSource {
        cluster: west.clone(),
        peer_address: Some("127.0.0.1:7445".to_owned()),
        direct_per_gigabyte: Cost(0),
        relay_per_gigabyte: Cost(0),
    };
    let input = InputReference {
        index: None,
        job: JobId::from_u128(1),
        name: JobName::new("build").unwrap(),
        output: OutputReference {
            manifest: Digest::new([1; 32]),
            bytes: 1,
            files: 1,
        },
        sources: vec![place],
        grant: Vec::new(),
    };
    let network = Network::new(links, ClusterName::new("east").unwrap());
    let first = || network.input(&input, Cost(1_000_000)).sources[0].clone();
    assert_eq!(first().route, RouteKind::Peer);
    first().observer.unwrap().observe(Behaviour {
        moved_bytes: 0,
        busy: Duration::from_secs(3),
        failed: true,
    });
    assert_eq!(first().route, RouteKind::Relay);
}
