//! Projects that may not be everywhere, and what their users are told of it.

use serde_json::{Value, json};

use crate::world::{World, job};

const FILE: &str = r"
version: 1
jobs:
  - {name: anywhere, type: docker-image, image: b, command: ['true']}
  - {name: gpu, type: docker-image, image: b, command: ['true'], cluster: {selector: ['gpu>4']}}
";

/// What `east` and `west` miss of what the project requires.
const FOUND: [(&str, &str); 2] = [("east", "us"), ("west", "eu")];

/// The project of a world, which may run only where this holds.
fn confined(world: &World, requirement: &str) -> String {
    let project = world.tombolo(&["project", "list", "-o", "name"]).succeeded().output;
    let project = project.trim().to_owned();
    world
        .tombolo(&["project", "set", &project, "--clusters", requirement])
        .succeeded();
    project
}

fn widen(project: &str) -> String {
    format!("`tombolo project set {project} --clusters ...`")
}

fn miss(project: &str, found: &str) -> String {
    format!("project `{project}` may run only where `region=asia` holds (it is `{found}`)")
}

/// The kinds of what a cluster misses.
fn kinds(clusters: &Value, cluster: usize) -> Vec<String> {
    let misses = clusters[cluster]["misses"].as_array().expect("a list").iter();
    misses
        .map(|miss| miss["kind"].as_str().expect("a kind").to_owned())
        .collect()
}

#[test]
fn who_plans_where_a_project_may_not_run_is_told_that_an_administrator_can_change_it() {
    let world = World::start();
    let project = confined(&world, "region=asia");
    let file = world.write("residency.yaml", FILE).display().to_string();
    let plan = world.tombolo(&["plan", &file]);
    assert_eq!(plan.code, 3, "{plan:?}");
    for words in [widen(&project), miss(&project, "us")] {
        assert!(plan.output.contains(&words), "{words}: {plan:?}");
    }
    let plan = world.tombolo(&["plan", &file, "-o", "json"]).json();
    let planned = &plan["jobs"][0];
    let advice = planned["advice"].as_str().expect("there is advice");
    assert!(
        advice.contains(&widen(&project)) && !advice.contains("its selector"),
        "{plan:#}"
    );
    for (cluster, (_, found)) in FOUND.iter().enumerate() {
        let found = json!([{
            "kind": "residency",
            "message": miss(&project, found),
            "requirement": "region=asia",
            "found": found,
        }]);
        assert_eq!(planned["clusters"][cluster]["misses"], found, "{plan:#}");
    }
    // What the advice says helps.
    confined(&world, "region in (eu, asia)");
    let plan = world.tombolo(&["plan", &file, "-o", "json"]).json();
    assert_eq!(plan["jobs"][0]["cluster"], "west", "{plan:#}");
    assert_eq!(kinds(&plan["jobs"][1]["clusters"], 1), ["label"], "{plan:#}");
}

#[test]
fn a_job_waits_for_where_its_project_may_run_and_says_whose_that_is_to_change() {
    let world = World::start();
    let project = confined(&world, "region=asia");
    let build = world.submit(FILE);
    let number = build.to_string();
    let waiting = world.wait_for("the reason", || {
        let jobs = world.tombolo(&["jobs", &number, "-o", "json"]).succeeded().json();
        job(&jobs, "anywhere")["waiting"].as_str().map(str::to_owned)
    });
    let nearest = format!("no cluster can run it; the nearest is `east`: {}", miss(&project, "us"));
    assert_eq!(waiting, nearest);
    let table = world.tombolo(&["explain", &number, "anywhere"]).succeeded().output;
    for (cluster, found) in FOUND {
        let mut lines = table.lines();
        let row = lines.find(|line| line.starts_with(cluster)).expect("it is there");
        assert!(
            row.contains(&miss(&project, found)) && row.contains(&widen(&project)),
            "{row}"
        );
    }
    // What holds of neither is said of both, and whose each is.
    let gpu = world
        .tombolo(&["explain", &number, "gpu", "-o", "json"])
        .succeeded()
        .json();
    for cluster in [0, 1] {
        assert_eq!(kinds(&gpu["clusters"], cluster), ["label", "residency"], "{gpu:#}");
    }
    let advice = gpu["advice"].as_str().expect("there is advice");
    assert!(advice.contains("`west`"), "its one gpu is nearer than none: {advice}");
    assert!(
        advice.contains("leave `gpu>4` out") && advice.contains(&widen(&project)),
        "{advice}"
    );

    world.tombolo(&["cancel", &number]).succeeded();
    world.finish(build);
    confined(&world, "region in (eu, asia)");
    let again = world.tombolo(&["rerun", &number, "anywhere", "-o", "name"]).succeeded();
    let again = world.finish(again.output.trim().parse().expect("a number"));
    assert_eq!(job(&again, "anywhere")["cluster"], "west", "{again:#}");
    let explained = world.tombolo(&["explain", "2", "anywhere"]).succeeded().output;
    assert!(
        explained.contains("with no selector, where its project may run (no other suited it and had room)"),
        "{explained}"
    );
}
