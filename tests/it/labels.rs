//! Labels of clusters that administrators change, and jobs that share a volume and are told of each other.

use serde_json::{Value, json};

use crate::world::{World, job};

const FILE: &str = r"
version: 1
jobs:
  - {name: gpu, type: docker-image, image: b, command: ['true'], cluster: {selector: [cluster=west, 'gpu>7']}}
  - {name: first, type: docker-image, image: b, command: ['true'], volumes: [shared], cluster: {selector: [cluster=west, SSD]}}
  - {name: second, type: docker-image, image: b, command: ['true'], volumes: [shared], depends_on: [first]}
";

const CONTRADICTION: &str = r"
version: 1
jobs:
  - {name: vol, type: docker-image, image: b, volumes: [shared], cluster: {selector: [region=us]}}
  - {name: conflict, type: docker-image, image: b, volumes: [shared], cluster: {selector: [region=eu]}}
  - {name: plain, type: docker-image, image: b, volumes: [shared]}
";

fn explained(world: &World, build: u64, job: &str) -> Value {
    world
        .tombolo(&["explain", &build.to_string(), job, "-o", "json"])
        .json()
}

/// Runs the command that the advice for a job ends with.
fn follow(world: &World, explanation: &Value) {
    let advice = explanation["advice"].as_str().expect("there is advice");
    let (_, command) = advice.split_once("`tombolo cluster label ").expect(advice);
    let (command, _) = command.split_once('`').expect(advice);
    let arguments: Vec<&str> = ["cluster", "label"].into_iter().chain(command.split(' ')).collect();
    world.tombolo(&arguments).succeeded();
}

#[test]
fn the_command_that_advice_names_has_the_job_run() {
    let world = World::start();
    let build = world.submit(FILE);
    world.wait_for_state(build, "gpu", "queued");
    follow(&world, &explained(&world, build, "gpu"));
    let shared = explained(&world, build, "first");
    assert_eq!(shared["cluster"], Value::Null, "{shared:#}");
    follow(&world, &shared);
    let ended = world.finish(build);
    for name in ["gpu", "first", "second"] {
        let job = job(&ended, name);
        assert_eq!(
            (&job["state"], &job["cluster"]),
            (&json!("finished"), &json!("west")),
            "{job:#}"
        );
    }
    // Who came along says whose requirements those were.
    let second = explained(&world, build, "second");
    let summary = second["summary"].as_str().expect("a summary");
    assert!(
        summary.contains("of which `first` needed `cluster=west`, `SSD`") && !summary.contains("any cluster"),
        "{summary}"
    );
    assert_eq!(second["cluster"], json!("west"));
    assert!(second["reason"].is_string(), "{second:#}");
}

#[test]
fn labels_are_changed_and_shown_and_reserved_ones_are_refused() {
    let world = World::start();
    let changed = world
        .tombolo(&["cluster", "label", "west", "gpu=8", "SSD", "absent-"])
        .succeeded();
    assert!(
        changed.output.contains("SSD") && changed.output.contains("gpu=8"),
        "{changed:?}"
    );
    assert!(!changed.output.contains("node."), "{changed:?}");
    let show = || world.tombolo(&["cluster", "show", "west", "-o", "json"]).json();
    let shown = show();
    assert_eq!(
        (&shown["labels"]["gpu"], &shown["labels"]["SSD"]),
        (&json!("8"), &json!(""))
    );
    let can = shown["capabilities"].as_array().expect("what it can do");
    for capability in ["exec", "secrets", "volumes"] {
        assert!(can.contains(&json!(capability)), "{can:?}");
    }
    world.tombolo(&["cluster", "label", "west", "gpu-", "SSD-"]).succeeded();
    assert_eq!(show()["labels"]["gpu"], Value::Null);
    for (change, words) in [
        ("cluster=east", "label `cluster` is reserved"),
        ("node.os-", "label `node.os` is reserved"),
        ("a=b=c", "not a valid value"),
    ] {
        let refused = world.tombolo(&["cluster", "label", "west", change]);
        assert_ne!(refused.code, 0);
        assert!(refused.error.contains(words), "{refused:?}");
    }
    let unknown = world.tombolo(&["cluster", "label", "south", "a"]);
    assert!(unknown.error.contains("the clusters are: east, west"), "{unknown:?}");
}

#[test]
fn jobs_that_share_a_volume_and_exclude_each_other_are_refused_with_both_places() {
    let world = World::start();
    let file = world.write("tombolo.yaml", CONTRADICTION).display().to_string();
    for command in ["validate", "run", "plan"] {
        let refused = world.tombolo(&[command, &file]);
        assert_ne!(refused.code, 0, "{refused:?}");
        let all = format!("{}{}", refused.output, refused.error);
        for words in [
            "5:91",
            "jobs[1].cluster.selector",
            "`vol` needs `region=us`",
            "jobs[0].cluster.selector on line 4",
        ] {
            assert!(all.contains(words), "{words}: {all}");
        }
    }
}
