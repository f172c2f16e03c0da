//! `tombolo dev`, started again after something was done to its clusters.

use serde_json::Value;

use crate::world::World;

/// The clusters as `name: state`.
fn clusters(world: &World) -> Vec<String> {
    let list = world.tombolo(&["cluster", "list", "-o", "json"]).succeeded().json();
    let clusters = list["clusters"].as_array().expect("a list of clusters");
    let line = |cluster: &Value| {
        let (name, state) = (cluster["name"].as_str(), cluster["availability"].as_str());
        let connected = if cluster["connected"] == true {
            "connected"
        } else {
            "away"
        };
        format!("{}: {}, {connected}", name.expect("a name"), state.expect("a state"))
    };
    clusters.iter().map(line).collect()
}

#[test]
fn a_cluster_that_was_removed_joins_again_and_one_that_is_disabled_is_not_waited_for() {
    let mut world = World::start();
    world.tombolo(&["cluster", "remove", "east"]).succeeded();
    assert_eq!(clusters(&world), ["west: open, connected"]);
    world.restart();
    assert_eq!(clusters(&world), ["east: open, connected", "west: open, connected"]);
    world.tombolo(&["cluster", "disable", "east"]).succeeded();
    world.restart();
    assert_eq!(clusters(&world), ["east: disabled, away", "west: open, connected"]);
    world.tombolo(&["cluster", "enable", "east"]).succeeded();
    world.wait_for("east to come back", || {
        (clusters(&world)[0] == "east: open, connected").then_some(())
    });
}
