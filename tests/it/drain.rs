//! Clusters are emptied before they go, and nothing runs again because of that.

use serde_json::Value;

use crate::gated::{self, Gated, sum};
use crate::world::{World, job};

/// Nothing travels ahead, and what travels takes some seconds.
const SLOW: [(&str, &str); 2] = [
    ("TOMBOLO_MASTER_TRANSFERS__PREFETCH", "false"),
    ("TOMBOLO_AGENT_BANDWIDTH__RECEIVE", "4194304"),
];

fn begin(world: &World) -> u64 {
    let gated = Gated {
        command: "head -c 24000000 /dev/urandom | tee $TOMBOLO_OUTPUT/noise | sha256sum",
        output: "noise",
        build: "{selector: [AWS]}",
        test: "{selector: [GCP]}",
    };
    gated.begin(world)
}

/// What is left of east, once it is known.
fn left(world: &World) -> Option<Value> {
    let shown = world.tombolo(&["cluster", "show", "east", "-o", "json"]);
    let drain = (shown.code == 0).then(|| shown.json()["drain"].clone())?;
    (!drain.is_null()).then_some(drain)
}

#[test]
fn a_job_gets_the_copy_of_what_a_drained_cluster_had() {
    let world = World::start_set(&SLOW);
    let number = begin(&world);
    let refused = world.tombolo(&["cluster", "remove", "east"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for words in [
        "cluster `east` has an output that jobs wait for and no other cluster has",
        "--wait",
        "--force",
    ] {
        assert!(refused.error.contains(words), "{refused:?}");
    }

    let drained = world.tombolo(&["cluster", "drain", "east"]).succeeded();
    assert!(drained.output.contains("is being drained"), "{drained:?}");
    world.wait_for("the copy to be on its way", || {
        left(&world).filter(|left| left["moving"] == 1 && left["outputs"] == 1)
    });
    // In the middle of it.
    world.kill("master");
    let left_then = world.wait_for("the master to look again", || {
        left(&world).filter(|left| left["outputs"] == 1 || left["drained"] == true)
    });
    assert_eq!(
        left_then["drained"], false,
        "the master was killed too late: {left_then}"
    );
    let waited = world
        .tombolo(&["cluster", "drain", "east", "--wait", "--timeout", "60s"])
        .succeeded();
    assert!(waited.output.contains("Cluster `east` is drained"), "{waited:?}");
    assert!(
        waited.output.contains("1 output ("),
        "it said what was left: {waited:?}"
    );
    let listed = world.tombolo(&["cluster", "list"]).succeeded().output;
    assert!(listed.contains("connected, drained"), "{listed}");

    world.kill("master");
    world.wait_for("the master to know that nothing is left", || {
        left(&world).filter(|left| left["drained"] == true)
    });
    world.tombolo(&["cluster", "remove", "east"]).succeeded();
    gated::open(&world);
    let build = world.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
    let (parent, child) = (job(&build, "build"), job(&build, "test"));
    assert_eq!(
        (&parent["cluster"], &parent["epoch"], parent.get("output_lost")),
        (&"east".into(), &1.into(), None),
        "nobody ran again: {build:#}"
    );
    assert_eq!(child["cluster"], "west");
    assert_eq!(child["inputs"][0]["moved_bytes"], 0, "it was there: {child:#}");
    assert_eq!(sum(&world, number, "build"), sum(&world, number, "test"));
    // Users get it from there, too.
    let text = number.to_string();
    let listed = world.tombolo(&["outputs", "ls", &text, "build"]).succeeded().output;
    assert!(listed.contains("noise"), "{listed}");
}

#[test]
fn who_waits_is_told_what_is_in_the_way() {
    let world = World::start_set(&SLOW);
    let number = begin(&world);
    world.tombolo(&["cluster", "cordon", "west"]).succeeded();
    let waited = world.tombolo(&["cluster", "drain", "east", "--wait", "--timeout", "3s"]);
    assert_eq!(waited.code, 1, "{waited:?}");
    for words in [
        "cluster `east` is not drained after 3.0s: 1 output (24.0 MB) that jobs need is there only",
        "the output of `build` of build 1 cannot be moved: no other cluster is connected, takes jobs",
        "the draining goes on",
    ] {
        assert!(waited.error.contains(words), "{words}: {waited:?}");
    }
    // Back into use: nothing is moved, and the build ends as ever.
    world.tombolo(&["cluster", "uncordon", "east"]).succeeded();
    assert_eq!(left(&world), None);
    world.tombolo(&["cluster", "uncordon", "west"]).succeeded();
    gated::open(&world);
    let build = world.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
    assert_eq!(job(&build, "test")["inputs"][0]["from"], "east", "{build:#}");
}
