//! What the product is for: outputs follow jobs from cluster to cluster, whose stores have nothing in common.

use serde_json::{Value, json};

use crate::user::{Build, job};
use crate::world::World;

const MADE: &str = "cd $TOMBOLO_OUTPUT && mkdir -p deep/empty && printf 'hello\\n' > deep/greeting && ln -s deep/greeting link \
    && head -c 3000000 /dev/urandom > noise && chmod 750 deep/greeting && sha256sum noise && cat $TOMBOLO_CONTEXT/word";
const CARRIED: &str = "cd $TOMBOLO_INPUTS/made && test -d deep/empty && test \"$(cat link)\" = hello \
    && test \"$(stat -c %a deep/greeting)\" = 750 && sha256sum noise && cp noise $TOMBOLO_OUTPUT/";
const BACK: &str = "cd $INFRABOX_INPUTS/carried && sha256sum noise";

/// From east, whose store is a folder, to west, whose store is a bucket, and back: each time by one of these routes.
pub(crate) fn crosses(from_folder: &[&str], from_bucket: &[&str]) {
    let world = World::get();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("word"), "a word of the source\n").unwrap();
    let jobs = [
        job("made", "east", MADE, &json!({})),
        job("carried", "west", CARRIED, &json!({"depends_on": ["made"]})),
        job("back", "east", BACK, &json!({"depends_on": ["carried"]})),
    ];
    let source = source.path().display().to_string();
    let build = world.submit_with("main", &jobs, &["--source", &source]);
    let ended = build.finish();
    let names = ["made", "carried", "back"];
    let logs = names.map(|name| build.log(name));
    assert_eq!(ended["state"], "finished", "{ended:#}\n{logs:#?}");
    let [made, carried, back] = names.map(|name| build.job(name));
    came(&carried, &made, "east", from_folder);
    came(&back, &carried, "west", from_bucket);
    // The sums were made by programs of the images, not by ours.
    let sums = logs.each_ref().map(|log| sum(log));
    assert_eq!(sums[0], sums[1], "{logs:#?}");
    assert_eq!(sums[0], sums[2], "{logs:#?}");
    assert!(logs[0].iter().any(|line| line == "a word of the source"), "{logs:#?}");
    downloads(&build);
    for name in names {
        build.leaves_nothing(name);
    }
}

fn came(child: &Value, parent: &Value, from: &str, routes: &[&str]) {
    let inputs = child["inputs"].as_array().expect("inputs");
    let input = inputs.iter().find(|input| input["parent"] == parent["name"]);
    let input = input.unwrap_or_else(|| panic!("no input of {} in {child:#}", parent["name"]));
    assert_eq!(parent["cluster"], from);
    assert_eq!(input["from"], from, "{child:#}");
    assert!(routes.iter().any(|route| input["route"] == *route), "{child:#}");
    assert_eq!(input["digest"], parent["output"]["digest"]);
    // On its way back, chunks that are there already do not move again.
    assert!(input["moved_bytes"].as_u64() > Some(0), "{child:#}");
}

fn sum(log: &[String]) -> &str {
    let line = log.iter().find(|line| line.ends_with("  noise"));
    line.unwrap_or_else(|| panic!("no sum in {log:?}"))
}

fn downloads(build: &Build<'_>) {
    let folder = build.output("made");
    let greeting = std::fs::read_to_string(folder.path().join("output/deep/greeting"));
    assert_eq!(greeting.unwrap(), "hello\n");
}

#[test]
fn clusters_that_reach_each_other_fetch_outputs_directly() {
    let world = World::get();
    let (_east, _west) = (world.east.whole(), world.west.whole());
    crosses(&["peer"], &["peer"]);
}
