//! Triggers: builds by a schedule, and when somebody asks.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::world::World;

const JOB: &str = r#"
version: 1
jobs:
  - name: a
    type: docker-image
    image: b
    environment: {KIND: of the file, MORE: of the file}
    command: [sh, -c, "echo $KIND, $MORE, $INFRABOX_CRONJOB_NAME $INFRABOX_CRONJOB; cat $TOMBOLO_CONTEXT/text; sleep ${PAUSE:-0}"]
"#;

fn trigger(world: &World, name: &str) -> Value {
    world
        .tombolo(&["trigger", "show", name, "-o", "json"])
        .succeeded()
        .json()
}

fn folder(world: &World) -> String {
    let folder = world.path("project");
    fs::create_dir_all(&folder).expect("folders can be made");
    fs::write(folder.join("text"), "from the source\n").expect("files can be written");
    fs::write(folder.join("tombolo.yaml"), JOB).expect("files can be written");
    folder.display().to_string()
}

#[test]
fn a_trigger_submits_its_build_when_somebody_asks() {
    let world = World::start();
    let source = folder(&world);
    let made = [
        "trigger",
        "create",
        "release",
        "--source",
        &source,
        "-e",
        "KIND=of the trigger",
        "--overlap",
        "skip",
    ];
    let said = world.tombolo(&made).succeeded();
    assert!(said.output.contains("tombolo trigger run release"), "{said:?}");
    let again = world.tombolo(&made);
    assert!(again.code == 1 && again.error.contains("exists already"), "{again:?}");
    // What is there when it fires is what was uploaded.
    fs::remove_dir_all(&source).expect("it is there");
    let run = [
        "trigger",
        "run",
        "release",
        "-e",
        "MORE=of the call",
        "-e",
        "PAUSE=5",
        "-o",
        "name",
    ];
    let number: u64 = world.tombolo(&run).succeeded().output.trim().parse().expect("a number");
    world.wait_for_state(number, "a", "running");
    let overlapping = world.tombolo(&["trigger", "run", "release"]);
    assert!(
        overlapping.code == 1 && overlapping.error.contains("still runs"),
        "{overlapping:?}"
    );
    let build = world.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
    let log = world.log(number, "a");
    for line in ["of the trigger, of the call, release false", "from the source"] {
        assert!(
            log.iter().any(|printed| printed == line),
            "{line} is missing in {log:#?}"
        );
    }
    assert_eq!(trigger(&world, "release")["last_build"], number);
    let listed = world.tombolo(&["trigger", "list"]).succeeded();
    assert!(listed.output.contains("by hand"), "{listed:?}");
    world.tombolo(&["trigger", "delete", "release"]).succeeded();
    assert_eq!(world.tombolo(&["trigger", "run", "release"]).code, 1);
    for (cron, words) in [("0 0 30 2 *", "never fires"), ("0 3 * *", "five fields")] {
        let file = world.write("job.yaml", JOB).display().to_string();
        let refused = world.tombolo(&["trigger", "create", "x", "--file", &file, "--cron", cron]);
        assert!(refused.code == 2 && refused.error.contains(words), "{refused:?}");
    }
}

/// By the real clock: a minute comes while the master is away, and is made up for once.
#[test]
fn a_time_that_comes_while_the_master_is_away_is_made_up_for_once() {
    let mut world = World::start();
    let file = world
        .write("job.yaml", &JOB.replace("; cat $TOMBOLO_CONTEXT/text", ""))
        .display()
        .to_string();
    world
        .tombolo(&["trigger", "create", "often", "--file", &file, "--cron", "* * * * *"])
        .succeeded();
    let next = trigger(&world, "often")["next_at"].clone();
    world.stop();
    std::thread::sleep(Duration::from_secs(61));
    world.start_again();
    let fired = world.wait_for("the trigger to fire", || {
        Some(trigger(&world, "often")).filter(|trigger| !trigger["last_build"].is_null())
    });
    assert_eq!(fired["obstacle"], Value::Null, "{fired:#}");
    assert_ne!(fired["next_at"], next);
    world.tombolo(&["trigger", "delete", "often"]).succeeded();
    let builds = world.tombolo(&["builds", "-o", "name"]).succeeded();
    // Another minute may have begun meanwhile.
    assert!(builds.output.lines().count() <= 2, "{builds:?}");
    let build = world.finish(1);
    assert_eq!(build["state"], "finished", "{build:#}");
    let log = world.log(1, "a");
    assert!(
        log.iter().any(|line| line == "of the file, of the file, often true"),
        "{log:#?}"
    );
}
