//! A large output by relay, with every process small.

use std::time::Duration;

use crate::world::{World, job};

/// The size of the output: what a run of all tests can afford. The checks before a landing set more.
const DEFAULT_MEBIBYTES: u64 = 256;
/// What no process may pass.
const RESIDENT_BYTES: u64 = 160 << 20;

#[test]
fn memory_does_not_grow_with_the_output() {
    let mebibytes =
        std::env::var("TOMBOLO_LARGE_MEBIBYTES").map_or(DEFAULT_MEBIBYTES, |text| text.parse().expect("a number"));
    let world = World::start();
    let build = world.submit(&format!(
        r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: b
    command: [sh, -c, "head -c {mebibytes}M /dev/urandom | tee $TOMBOLO_OUTPUT/large | sha256sum"]
    cluster: {{selector: [AWS]}}
  - name: test
    type: docker-image
    image: b
    command: [sh, -c, "sha256sum < $TOMBOLO_INPUTS/build/large"]
    depends_on: [build]
    cluster: {{selector: [GCP]}}
"#
    ));
    // Slow is not wrong: a loaded machine gets its time.
    let build = world.finish_within(build, Duration::from_secs(120 + mebibytes));
    assert_eq!(build["state"], "finished", "{build:#}");
    let input = &job(&build, "test")["inputs"][0];
    assert_eq!(input["route"], "relay");
    assert_eq!(input["bytes"], mebibytes << 20);
    let sum = |job| {
        world
            .log(1, job)
            .into_iter()
            .find(|line| line.len() == 67)
            .expect("a checksum")
    };
    assert_eq!(sum("build"), sum("test"));
    for part in ["master", "east", "west"] {
        let resident = world.peak_resident_bytes(part);
        println!(
            "{part}: {} MiB resident at most, {} ms for {mebibytes} MiB",
            resident >> 20,
            input["milliseconds"]
        );
        assert!(resident <= RESIDENT_BYTES, "{part} held {} MiB", resident >> 20);
    }
}
