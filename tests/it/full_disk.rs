//! A cluster whose store has no room left: what needs it fails with a word about that, and all goes on when there is room again.

use serde_json::Value;

use crate::world::{Setting, World, job};

/// More than the disk has.
const OUTPUT_BYTES: u64 = 64 << 20;
const DISK_BYTES: u64 = 40 << 20;

fn world() -> World {
    World::start_as(Setting {
        disk: Some(("east/store", DISK_BYTES)),
        variables: vec![
            ("TOMBOLO_AGENT_STORE_DEADLINE", "3s"),
            ("TOMBOLO_AGENT_SWEEP__EVERY", "1s"),
            ("TOMBOLO_AGENT_SWEEP__READERS_RETURN", "1s"),
        ],
        ..Setting::default()
    })
}

/// Something made on one side and read on the other.
fn crossing(world: &World, (from, to): (&str, &str), bytes: u64) -> Value {
    world.run(&format!(
        r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: b
    command: [sh, -c, "head -c {bytes} /dev/urandom > $TOMBOLO_OUTPUT/noise"]
    cluster: {{selector: [{from}]}}
  - name: test
    type: docker-image
    image: b
    command: [sh, -c, "test $(stat -c %s $TOMBOLO_INPUTS/build/noise) = {bytes}"]
    depends_on: [build]
    cluster: {{selector: [{to}]}}
"#
    ))
}

/// It says what is full, and that a person can do something about it.
fn assert_says_full(job: &Value) {
    assert_eq!(job["state"], "error", "{job:#}");
    let message = job["message"].as_str().expect("a text");
    assert!(message.contains("No space left on device"), "{message}");
    assert!(message.contains("east/store"), "{message}");
}

/// What was brought in vain goes by itself: a small output crosses again, in both directions.
fn assert_goes_on(world: &World) {
    world.wait_for("room on the disk", || {
        let there = crossing(world, ("GCP", "AWS"), 1 << 20);
        let back = crossing(world, ("AWS", "GCP"), 1 << 20);
        (there["state"] == "finished" && back["state"] == "finished").then_some(())
    });
}

#[test]
fn an_input_that_does_not_fit() {
    let world = world();
    let build = crossing(&world, ("GCP", "AWS"), OUTPUT_BYTES);
    assert_eq!(job(&build, "build")["state"], "finished");
    let child = job(&build, "test");
    assert_says_full(&child);
    assert!(
        child["message"]
            .as_str()
            .is_some_and(|message| message.contains("`build`")),
        "{child:#}"
    );
    assert_goes_on(&world);
}

#[test]
fn an_output_that_does_not_fit() {
    let world = world();
    let build = crossing(&world, ("AWS", "GCP"), OUTPUT_BYTES);
    assert_says_full(&job(&build, "build"));
    assert_eq!(job(&build, "test")["state"], "skipped");
    assert_goes_on(&world);
}
