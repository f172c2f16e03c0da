//! Transfers during which a process is killed: they end with the same bytes, and what had arrived is not sent again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::world::{World, job};

/// What an agent fetches at the most, so that a transfer takes long enough to be met in the middle.
const BYTES_PER_SECOND: &str = "16777216";
/// The size of each output, of bytes that cannot be compressed.
const OUTPUT_BYTES: u64 = 64 << 20;
/// What may be on its way at once: it is lost with the process that has it, and sent again.
const IN_FLIGHT_BYTES: u64 = 24 << 20;
/// For manifests, headers and frames.
const SPARE_BYTES: u64 = 1 << 20;

/// A place of outputs, as `tombolo dev` makes it.
struct Side {
    cluster: &'static str,
    label: &'static str,
    store: &'static str,
}

const EAST: Side = Side {
    cluster: "east",
    label: "AWS",
    store: "east/store",
};
const WEST: Side = Side {
    cluster: "west",
    label: "GCP",
    store: "s3",
};

fn limited(direct: bool) -> World {
    World::start_with(direct, &[("TOMBOLO_AGENT_BANDWIDTH__RECEIVE", BYTES_PER_SECOND)])
}

/// How many bytes of chunks lie in a store.
fn stored(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => stored(&entry.path()),
        Ok(metadata) if entry.path().components().any(|part| part.as_os_str() == "chunks") => metadata.len(),
        Ok(_) | Err(_) => 0,
    });
    sizes.sum()
}

/// One build whose output goes from one side to the other. `part` is killed when a good third of it is there.
fn interrupted(world: &World, (from, to): (&Side, &Side), route: &str, part: &str) {
    let before = stored(&world.path(to.store));
    let number = world.submit(&format!(
        r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: b
    command: [sh, -c, "head -c {OUTPUT_BYTES} /dev/urandom | tee $TOMBOLO_OUTPUT/noise | sha256sum"]
    cluster: {{selector: [{}]}}
  - name: test
    type: docker-image
    image: b
    command: [sh, -c, "sha256sum < $TOMBOLO_INPUTS/build/noise"]
    depends_on: [build]
    cluster: {{selector: [{}]}}
"#,
        from.label, to.label
    ));
    world.wait_for("a third of the output", || {
        (stored(&world.path(to.store)) - before >= OUTPUT_BYTES / 3).then_some(())
    });
    world.kill(part);
    let there = stored(&world.path(to.store)) - before;
    assert!(there < OUTPUT_BYTES, "{part} was killed too late");

    let build = world.finish_within(number, Duration::from_secs(180));
    assert_eq!(build["state"], "finished", "{part}: {build:#}");
    let sum = |job| {
        let lines = world.log(number, job).into_iter();
        lines.filter(|line| line.len() == 67).collect::<Vec<_>>()
    };
    assert_eq!(sum("build").len(), 1);
    assert_eq!(sum("build"), sum("test"), "{part}");

    let input = &job(&build, "test")["inputs"][0];
    assert_eq!(input["from"], from.cluster, "{part}: {input:#}");
    let ways = input["routes"].as_array().expect("a list");
    // Another may have taken over when this one broke.
    assert!(ways.iter().any(|way| way["route"] == route), "{part}: {input:#}");
    let moved = input["moved_bytes"].as_u64().expect("a number");
    // Who fetches begins a new count when it is killed; to the others the transfer is one.
    let lacking = if part == to.cluster {
        OUTPUT_BYTES - there
    } else {
        OUTPUT_BYTES
    };
    assert!(
        moved <= lacking + IN_FLIGHT_BYTES + SPARE_BYTES,
        "{part}: {there} bytes were there, and {moved} moved"
    );
}

fn each_part(world: &World, way: (&Side, &Side), route: &str) {
    for part in ["master", "east", "west"] {
        interrupted(world, way, route, part);
    }
}

#[test]
fn by_relay() {
    each_part(&limited(false), (&EAST, &WEST), "relay");
}

#[test]
fn from_peer_to_peer() {
    each_part(&limited(true), (&EAST, &WEST), "peer");
}

#[test]
fn straight_from_the_bucket() {
    each_part(&limited(false), (&WEST, &EAST), "signed");
}
