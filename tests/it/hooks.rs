//! Jobs that run when the others are over, on real processes.

use std::time::Duration;

use crate::world::{World, job};

const FILE: &str = r#"
version: 1
jobs:
  - name: work
    type: docker-image
    image: b
    command: [sh, -c, "echo left > $TOMBOLO_SHARED/file; echo out > $TOMBOLO_OUTPUT/out; WORK"]
    volumes: [shared]
    cluster: {selector: [GCP]}
on_error:
  - name: tell
    type: docker-image
    image: b
    command: [sh, -c, "echo told $TOMBOLO_BUILD_STATE"]
after:
  - name: clean
    type: docker-image
    image: b
    command: [sh, -c, "cat $TOMBOLO_SHARED/file; echo $INFRABOX_BUILD_STATE; grep -c failed_jobs $TOMBOLO_JOB_JSON; grep -c '\"name\": \"work\"' $TOMBOLO_JOB_JSON; cat $TOMBOLO_INPUTS/work/out"]
    depends_on: [{job: work, on: ["*"]}]
    volumes: [shared]
"#;

fn printed(world: &World, build: u64, job: &str) -> Vec<String> {
    let mut log = world.log(build, job);
    log.retain(|line| !line.contains("tombolo: "));
    log
}

#[test]
fn hooks_run_by_how_the_build_ended_and_see_its_volume() {
    let world = World::start();
    let build = world.run(&FILE.replace("WORK", "exit 3"));
    assert_eq!(build["state"], "failure", "{build:#}");
    assert_eq!(job(&build, "tell")["state"], "finished", "{build:#}");
    assert_eq!(job(&build, "tell")["hook"], "on_error");
    assert_eq!(job(&build, "clean")["cluster"], "west", "{build:#}");
    assert_eq!(printed(&world, 1, "tell"), ["told failure"]);
    assert_eq!(printed(&world, 1, "clean"), ["left", "failure", "1", "2", "out"]);

    let build = world.run(&FILE.replace("WORK", "true"));
    assert_eq!(build["state"], "finished", "{build:#}");
    assert_eq!(job(&build, "tell")["state"], "skipped", "{build:#}");
    assert_eq!(printed(&world, 2, "clean"), ["left", "finished", "1", "1", "out"]);
}

#[test]
fn cancelling_cleans_up_and_cancelling_at_once_does_not() {
    let world = World::start();
    let slow = FILE.replace("WORK", "sleep 600");
    for (number, arguments, expected) in [
        (1, &["cancel", "1"][..], "finished"),
        (2, &["cancel", "2", "--now"], "killed"),
    ] {
        assert_eq!(world.submit(&slow), number);
        world.wait_for_state(number, "work", "running");
        world.tombolo(arguments).succeeded();
        let build = world.finish_within(number, Duration::from_secs(60));
        assert_eq!(build["state"], "killed", "{build:#}");
        assert_eq!(job(&build, "clean")["state"], expected, "{build:#}");
        assert_ne!(job(&build, "tell")["state"], "finished", "{build:#}");
    }
}

#[test]
fn hooks_survive_crashes_of_master_and_agent() {
    let world = World::start();
    let number = world.submit(&FILE.replace("WORK", "sleep 2; exit 3"));
    world.wait_for_state(number, "work", "running");
    for _ in 0..2 {
        world.kill("master");
        world.kill("west");
    }
    let build = world.finish(number);
    assert_eq!(build["state"], "failure", "{build:#}");
    for hook in ["tell", "clean"] {
        assert_eq!(job(&build, hook)["state"], "finished", "{build:#}");
    }
}
