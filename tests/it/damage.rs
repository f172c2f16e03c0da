//! Damage in a store: found, never a result, and healed by running the parent again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::world::{World, job};

const FILE: &str = r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: b
    command: [sh, -c, "seq 1 300000 > $TOMBOLO_OUTPUT/numbers"]
    cluster: {selector: [AWS]}
  - name: gate
    type: docker-image
    image: b
    command: [sh, -c, "while ! test -e GATE; do sleep 0.05; done"]
    depends_on: [build]
    cluster: {selector: [AWS]}
  - name: test
    type: docker-image
    image: b
    command: [sh, -c, "test $(wc -l < $TOMBOLO_INPUTS/build/numbers) = 300000"]
    depends_on: [build, gate]
    cluster: {selector: [GCP]}
"#;

pub(crate) fn chunks(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder)
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
    {
        if entry.is_dir() {
            chunks(&entry, found);
        } else if entry.components().any(|part| part.as_os_str() == "chunks") {
            found.push(entry);
        }
    }
}

#[test]
fn a_flipped_byte_is_found_and_heals() {
    let world = World::start();
    let gate = world.path("gate");
    let file = FILE.replace("GATE", &gate.display().to_string());
    let build = world.submit(&file);
    world.wait_for_state(build, "gate", "running");

    let mut stored = Vec::new();
    chunks(&world.path("east/store"), &mut stored);
    assert!(!stored.is_empty(), "east keeps no chunks");
    // It is known where they will be needed, so they are on their way already; they are damaged there as well.
    let ahead = world.wait_for("the output has come ahead", || {
        let mut ahead = Vec::new();
        chunks(&world.path("s3"), &mut ahead);
        (ahead.len() == stored.len()).then_some(ahead)
    });
    for path in stored.into_iter().chain(ahead) {
        let mut bytes = fs::read(&path).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).expect("writable");
    }
    fs::write(&gate, "").expect("writable");

    // West finds its copy damaged and asks east, which finds its own: nobody has it, so that it is made again.
    let healed = world.finish(build);
    let child = job(&healed, "test");
    assert_eq!(child["state"], "finished", "{healed:#}");
    let parent = job(&healed, "build");
    assert_eq!(parent["state"], "finished", "{healed:#}");
    assert_eq!(parent["epoch"], 2, "{healed:#}");
    let again = world.run(&file);
    assert_eq!(again["state"], "finished", "{again:#}");
}
