//! Outputs that are lost after their jobs have ended: made again where that is possible, and else an error that says what is gone.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::gated::{self, Gated, sum};
use crate::world::{World, job};

/// Nothing travels ahead: what is lost has no copy. A transfer gives up soon.
pub(crate) const BARE: [(&str, &str); 2] = [
    ("TOMBOLO_MASTER_TRANSFERS__PREFETCH", "false"),
    ("TOMBOLO_AGENT_STORE_DEADLINE", "5s"),
];

/// `build` leaves the same bytes each time.
fn begin(world: &World, build: &str, test: &str) -> u64 {
    let gated = Gated {
        command: "echo made on $TOMBOLO_CLUSTER_NAME; seq 1 600000 > $TOMBOLO_OUTPUT/numbers; sha256sum < $TOMBOLO_OUTPUT/numbers",
        output: "numbers",
        build,
        test,
    };
    gated.begin(world)
}

/// What is said of `build` until the whole build is over: never anything but that it has finished.
fn watch_until_over(world: &World, number: u64) -> Value {
    let text = number.to_string();
    world.wait_for("the build to end", || {
        let jobs = world.tombolo(&["jobs", &text, "-o", "json"]).succeeded().json();
        assert_eq!(job(&jobs, "build")["state"], "finished", "{jobs:#}");
        (jobs["state"] != "running").then_some(jobs)
    })
}

/// `build` was made again on a cluster, and what came of that is what came of it before.
fn assert_made_again(world: &World, build: &Value, cluster: &str) {
    assert_eq!(build["state"], "finished", "{build:#}");
    let (parent, child) = (job(build, "build"), job(build, "test"));
    assert_eq!((&parent["cluster"], &parent["epoch"]), (&cluster.into(), &2.into()));
    assert_eq!(child["state"], "finished");
    assert!(
        parent.get("output_lost").is_none() && parent.get("recovery").is_none(),
        "{parent:#}"
    );
    let number = build["number"].as_u64().expect("a number");
    assert_eq!(sum(world, number, "build"), sum(world, number, "test"));
    let log = world.log(number, "build");
    assert!(
        log.iter().any(|line| line == "made on east"),
        "the log of the attempt that counts: {log:?}"
    );
    let text = number.to_string();
    let listed = world.tombolo(&["outputs", "ls", &text, "build"]).succeeded().output;
    assert!(listed.contains("numbers"), "{listed}");
}

/// Deletes all that is in a folder.
pub(crate) fn empty(world: &World, store: &str) {
    let folder = world.path(store);
    for entry in fs::read_dir(&folder).expect("the store is a folder").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => fs::remove_dir_all(path).expect("writable"),
            false => fs::remove_file(path).expect("writable"),
        }
    }
}

#[test]
fn a_store_that_somebody_emptied_is_filled_again() {
    let world = World::start_set(&BARE);
    // Once the child is on another cluster, and once on the very one.
    for test in ["{selector: [GCP]}", "{selector: [AWS]}"] {
        let number = begin(&world, "{selector: [AWS]}", test);
        empty(&world, "east/store");
        gated::open(&world);
        let build = watch_until_over(&world, number);
        assert_made_again(&world, &build, "east");
        gated::close(&world);
    }
}

#[test]
fn what_a_removed_cluster_had_is_made_again_elsewhere() {
    let world = World::start_set(&BARE);
    let number = begin(&world, "{prefer: east}", "{selector: [GCP]}");
    world.tombolo(&["cluster", "remove", "east", "--force"]).succeeded();
    gated::open(&world);
    let build = watch_until_over(&world, number);
    assert_made_again(&world, &build, "west");
    let text = number.to_string();
    let explained = world.tombolo(&["explain", &text, "build"]).succeeded().output;
    assert!(
        explained.contains("its output was lost later, and made again by attempt 2"),
        "{explained}"
    );
}

#[test]
fn what_only_a_removed_cluster_could_make_is_an_error_that_says_so() {
    let world = World::start_set(&BARE);
    let number = begin(&world, "{selector: [AWS]}", "{selector: [GCP]}");
    world.tombolo(&["cluster", "remove", "east", "--force"]).succeeded();
    gated::open(&world);
    let build = watch_until_over(&world, number);
    let child = job(&build, "test");
    assert_eq!(
        (&build["state"], &child["state"]),
        (&"error".into(), &"error".into()),
        "{build:#}"
    );
    let message = child["message"].as_str().expect("a text");
    let expected = "the output of its parent `build` is lost: cluster `east`, which had it, was removed; no other cluster is there \
                    that may run the job again";
    assert_eq!(message, expected);
}

/// A large output is on its way when its cluster dies and does not come back.
fn killed_in_the_middle(cluster: &str) -> (World, Value) {
    let limits = [
        ("TOMBOLO_AGENT_BANDWIDTH__RECEIVE", "4194304"),
        ("TOMBOLO_AGENT_STORE_DEADLINE", "5s"),
        ("TOMBOLO_MASTER_LEASES__LEASE", "3s"),
        ("TOMBOLO_MASTER_LEASES__HEARTBEAT", "500ms"),
        ("TOMBOLO_MASTER_LEASES__LOST_AFTER", "10s"),
        ("TOMBOLO_MASTER_TRANSFERS__PREFETCH", "false"),
    ];
    let world = World::start_set(&limits);
    let number = world.submit(&format!(
        r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: b
    cluster: {cluster}
    command: [sh, -c, "head -c 60000000 /dev/urandom | tee $TOMBOLO_OUTPUT/noise | sha256sum"]
  - name: test
    type: docker-image
    image: b
    depends_on: [build]
    cluster: {{selector: [GCP]}}
    command: [sh, -c, "test $(stat -c %s $TOMBOLO_INPUTS/build/noise) = 60000000"]
"#
    ));
    world.wait_for_state(number, "test", "preparing");
    let text = number.to_string();
    world.wait_for("some of it to be there", || {
        let transfers = world.tombolo(&["transfers", &text, "-o", "json"]).succeeded().json();
        let moved = transfers["transfers"][0]["moved_bytes"].as_u64();
        moved.filter(|moved| *moved > 4_000_000)
    });
    world.bury("east");
    let waiting = "it waits for cluster `east` to connect, which has the output of its parent `build`";
    world.wait_for("the child to wait for it", || {
        let jobs = world.tombolo(&["jobs", &text, "-o", "json"]).succeeded().json();
        (job(&jobs, "test")["message"] == waiting).then_some(())
    });
    let build = world.finish_within(number, Duration::from_secs(90));
    (world, build)
}

#[test]
fn a_cluster_that_dies_in_the_middle_is_replaced() {
    let (_world, build) = killed_in_the_middle("{prefer: east}");
    assert_eq!(build["state"], "finished", "{build:#}");
    let parent = job(&build, "build");
    assert_eq!((&parent["cluster"], &parent["epoch"]), (&"west".into(), &2.into()));
    assert_eq!(job(&build, "test")["inputs"][0]["digest"], parent["output"]["digest"]);
}

#[test]
fn a_cluster_that_dies_in_the_middle_is_named() {
    let (world, build) = killed_in_the_middle("{selector: [AWS]}");
    assert_eq!(build["state"], "error", "{build:#}");
    let child = job(&build, "test");
    let message = child["message"].as_str().expect("a text");
    let expected = "the output of its parent `build` is lost: cluster `east`, which had it, was not heard of for 13s; no other \
                    cluster is there that may run the job again";
    assert_eq!(message, expected);
    assert_eq!(job(&build, "build")["state"], "finished");
    drop(world);
}
