//! Parts that die: nothing acknowledged is lost, and nothing runs twice without need.

use std::time::Duration;

use crate::world::{World, job};

const SLOW: &str = r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: b
    command: [sh, -c, "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.5; done; head -c 2000000 /dev/urandom > $TOMBOLO_OUTPUT/noise"]
    cluster: {selector: [AWS]}
  - name: test
    type: docker-image
    image: b
    command: [sh, -c, "test $(stat -c %s $TOMBOLO_INPUTS/build/noise) = 2000000"]
    depends_on: [build]
    cluster: {selector: [GCP]}
"#;

fn survives(part: &str) {
    let world = World::start();
    let build = world.submit(SLOW);
    world.wait_for_state(build, "build", "running");
    world.kill(part);
    let build = world.finish(build);
    assert_eq!(build["state"], "finished", "{build:#}");
    assert_eq!(
        job(&build, "build")["epoch"],
        1,
        "the running job was started again: {build:#}"
    );
    let log = world.log(build["number"].as_u64().expect("a number"), "build");
    let lines: Vec<_> = log.iter().filter(|line| line.starts_with("line ")).collect();
    assert_eq!(lines, ["line 1", "line 2", "line 3", "line 4", "line 5", "line 6"]);
}

#[test]
fn a_running_job_outlives_the_master() {
    survives("master");
}

#[test]
fn a_running_job_outlives_its_agent() {
    survives("east");
}

#[test]
fn the_destination_dies_and_the_build_completes() {
    survives("west");
}

/// Kills at many moments of a short build: between any two steps there is a moment at which it happens.
#[test]
fn killing_at_any_moment_loses_nothing() {
    let world = World::start();
    let file = SLOW.replace("sleep 0.5", "sleep 0.1");
    for (round, part) in ["master", "east", "west", "master", "east", "west"]
        .into_iter()
        .enumerate()
    {
        let build = world.submit(&file);
        std::thread::sleep(Duration::from_millis(60 + 140 * round as u64));
        world.kill(part);
        let build = world.finish(build);
        assert_eq!(build["state"], "finished", "{part} in round {round}: {build:#}");
    }
}

#[test]
fn everything_goes_on_after_a_restart() {
    let mut world = World::start();
    let first = world.run(SLOW);
    assert_eq!(first["state"], "finished");
    let second = world.submit(SLOW);
    world.wait_for_state(second, "build", "running");
    world.restart();
    let second = world.finish(second);
    assert_eq!(second["state"], "finished", "{second:#}");
    let builds = world.tombolo(&["builds", "-o", "name"]).succeeded();
    assert_eq!(builds.output, "2\n1\n");
    assert!(
        world.log(1, "build").iter().any(|line| line == "line 6"),
        "the log of the first build is gone"
    );
}
