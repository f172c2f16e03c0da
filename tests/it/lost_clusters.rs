//! Clusters whose agent is gone while commands of theirs go on, and what jobs say of that.

use std::fs;
use std::time::Duration;

use crate::world::{World, job};

const LEASES: [(&str, &str); 3] = [
    ("TOMBOLO_MASTER_LEASES__LEASE", "8s"),
    ("TOMBOLO_MASTER_LEASES__HEARTBEAT", "1s"),
    ("TOMBOLO_MASTER_LEASES__LOST_AFTER", "5s"),
];

/// A job that writes for as long as it runs on `east`, and ends at once on `west`.
fn file(says: &str, diary: &str) -> String {
    format!(
        r#"
version: 1
jobs:
  - name: migrate
    type: docker-image
    image: b
    cluster: {{prefer: east}}
    {says}
    command: [sh, -c, "trap '' TERM; echo start $TOMBOLO_CLUSTER_NAME >> {diary}; while test $TOMBOLO_CLUSTER_NAME = east -a -e {diary}; do echo east >> {diary}; sleep 0.05; done"]
"#
    )
}

fn lines(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.path("diary")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Submits it, and kills the agent of `east` for good while the command runs.
fn orphaned(says: &str) -> (World, u64) {
    let world = World::start_set(&LEASES);
    let diary = world.path("diary").display().to_string();
    let number = world.submit(&file(says, &diary));
    world.wait_for_state(number, "migrate", "running");
    world.wait_for("the command to run", || (!lines(&world).is_empty()).then_some(()));
    world.bury("east");
    (world, number)
}

#[test]
fn an_exclusive_command_is_gone_before_it_starts_elsewhere() {
    let (world, number) = orphaned("exclusive: true");
    let build = world.finish_within(number, Duration::from_secs(60));
    assert_eq!(build["state"], "finished", "{build:#}");
    let migrated = job(&build, "migrate");
    assert_eq!((&migrated["cluster"], &migrated["epoch"]), (&"west".into(), &2.into()));
    let diary = lines(&world);
    assert_eq!(
        diary.last().map(String::as_str),
        Some("start west"),
        "nobody writes after it"
    );
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(lines(&world), diary, "nobody writes any more");
}

#[test]
fn a_job_that_waits_for_its_cluster_is_not_placed_again() {
    let (world, number) = orphaned("on_disconnect: wait");
    let text = number.to_string();
    let waits = "cluster `east` is not heard of; the job waits for it (`on_disconnect: wait`)";
    world.wait_for("the cluster to be missed", || {
        let explained = world.tombolo(&["explain", &text, "migrate"]).succeeded().output;
        explained.contains(waits).then_some(())
    });
    // Longer than the lease and what follows it.
    std::thread::sleep(Duration::from_secs(15));
    let jobs = world.tombolo(&["jobs", &text, "-o", "json"]).succeeded().json();
    let job = job(&jobs, "migrate");
    assert_eq!(
        (&job["state"], &job["epoch"], &job["on_disconnect"]),
        (&"running".into(), &1.into(), &"wait".into())
    );
    world.tombolo(&["cancel", &text]).succeeded();
    let build = world.finish(number);
    assert_eq!(build["state"], "killed", "{build:#}");
}

#[test]
fn a_job_that_says_so_is_placed_again_when_the_lease_ends() {
    let (world, number) = orphaned("on_disconnect: replace");
    let build = world.finish_within(number, Duration::from_secs(60));
    assert_eq!(build["state"], "finished", "{build:#}");
    assert!(lines(&world).iter().any(|line| line == "start west"));
}
