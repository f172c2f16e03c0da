use std::time::Duration;

use tombolo_core::attempt::{InputSource, OutputReference, RouteKind};
use tombolo_core::digest::Digest;
use tombolo_core::id::JobId;
use tombolo_core::name::JobName;
use tombolo_identity::transport::Proxy;

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
    };
    let input = InputReference {
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
    let network = Network::new(links, name("east"));
    let sources = network.input(&input);
    let ways: Vec<_> = sources
        .iter()
        .map(|source| (source.cluster.clone().unwrap(), source.route))
        .collect();
    let expected = [
        (name("west"), RouteKind::Peer),
        (name("west"), RouteKind::Relay),
        (name("north"), RouteKind::Relay),
        (name("south"), RouteKind::Relay),
    ];
    assert_eq!(ways, expected);
    let source = SourceReference {
        manifest: Digest::new([1; 32]),
        grant: Vec::new(),
    };
    assert_eq!(network.source(&source)[0].route, RouteKind::Master);
}
