//! Agents whose process ends for another one to take its place, while commands of theirs go on.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::world::{World, job};

const LEASE: [(&str, &str); 3] = [
    ("TOMBOLO_MASTER_LEASES__LEASE", "4s"),
    ("TOMBOLO_MASTER_LEASES__HEARTBEAT", "1s"),
    ("TOMBOLO_MASTER_LEASES__LOST_AFTER", "2s"),
];

/// Jobs that prefer `east`, and write there for as long as there is a file `go`. Elsewhere they end at once.
const FILE: &str = r#"
version: 1
jobs:
  - name: migrate
    type: docker-image
    image: b
    exclusive: true
    cluster: {prefer: east}
    command: [sh, -c, "trap '' TERM; echo start $TOMBOLO_CLUSTER_NAME >> PLACE/diary; while test $TOMBOLO_CLUSTER_NAME = east -a -e PLACE/go; do echo east >> PLACE/diary; sleep 0.05; done"]
  - name: movable
    type: docker-image
    image: b
    on_disconnect: replace
    cluster: {prefer: east}
    command: [sh, -c, "while test $TOMBOLO_CLUSTER_NAME = east -a -e PLACE/go; do sleep 0.05; done"]
"#;

fn diary(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.path("diary")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn begin(handover: &'static str) -> (World, u64) {
    let settings = [&LEASE[..], &[("TOMBOLO_MASTER_LEASES__HANDOVER", handover)]].concat();
    let world = World::start_set(&settings);
    fs::write(world.path("go"), "").expect("writable");
    let place = world.path("").display().to_string();
    let number = world.submit(&FILE.replace("PLACE", place.trim_end_matches('/')));
    world.wait_for_state(number, "migrate", "running");
    world.wait_for_state(number, "movable", "running");
    world.wait_for("the command to run", || (!diary(&world).is_empty()).then_some(()));
    (world, number)
}

fn state_of_east(world: &World) -> String {
    let listed = world.tombolo(&["cluster", "list"]).succeeded().output;
    let line = listed
        .lines()
        .find(|line| line.starts_with("east"))
        .expect("it is listed");
    line.to_owned()
}

fn attempt(build: &Value, name: &str) -> (Value, Value) {
    let job = job(build, name);
    (job["cluster"].clone(), job["epoch"].clone())
}

#[test]
fn commands_go_on_while_another_process_takes_the_place_of_their_agent() {
    let (world, number) = begin("60s");
    let configuration = world.dismiss("east");
    assert!(
        state_of_east(&world).contains("handing over until"),
        "{}",
        state_of_east(&world)
    );
    // Twice as long as a lease; a master that restarts meanwhile counts on it as well.
    std::thread::sleep(Duration::from_secs(4));
    world.kill("master");
    std::thread::sleep(Duration::from_secs(8));
    let written = diary(&world).len();
    let jobs = world
        .tombolo(&["jobs", &number.to_string(), "-o", "json"])
        .succeeded()
        .json();
    for name in ["migrate", "movable"] {
        assert_eq!(attempt(&jobs, name), ("east".into(), 1.into()), "{jobs:#}");
    }
    world.wait_for("the command to go on", || (diary(&world).len() > written).then_some(()));
    world.write("east.toml", &configuration);
    world.wait_for("the cluster to be back", || {
        state_of_east(&world).contains(" connected").then_some(())
    });
    // Under ordinary leases.
    std::thread::sleep(Duration::from_secs(6));
    fs::remove_file(world.path("go")).expect("it is there");
    let build = world.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
    for name in ["migrate", "movable"] {
        assert_eq!(attempt(&build, name), ("east".into(), 1.into()), "{build:#}");
    }
    assert_eq!(diary(&world).iter().filter(|line| line.starts_with("start")).count(), 1);
}

#[test]
fn an_exclusive_command_is_gone_before_it_starts_elsewhere_if_nobody_takes_the_place() {
    let (world, number) = begin("12s");
    world.dismiss("east");
    std::thread::sleep(Duration::from_secs(6));
    let jobs = world
        .tombolo(&["jobs", &number.to_string(), "-o", "json"])
        .succeeded()
        .json();
    assert_eq!(attempt(&jobs, "migrate"), ("east".into(), 1.into()), "{jobs:#}");
    assert_eq!(
        diary(&world).last().map(String::as_str),
        Some("east"),
        "it runs, beyond the ordinary lease"
    );
    let build = world.finish_within(number, Duration::from_secs(60));
    assert_eq!(build["state"], "finished", "{build:#}");
    for name in ["migrate", "movable"] {
        assert_eq!(attempt(&build, name), ("west".into(), 2.into()), "{build:#}");
    }
    let written = diary(&world);
    assert_eq!(
        written.last().map(String::as_str),
        Some("start west"),
        "nobody writes after it"
    );
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(diary(&world), written, "nobody writes any more");
}
