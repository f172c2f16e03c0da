//! Projects that may not be everywhere, and what their users are told of it.

use crate::world::{World, job};

const FILE: &str = r"
version: 1
jobs:
  - {name: anywhere, type: docker-image, image: b, command: ['true']}
  - {name: gpu, type: docker-image, image: b, command: ['true'], cluster: {selector: ['gpu>4']}}
";

#[test]
fn who_may_not_run_somewhere_is_told_that_an_administrator_can_change_it() {
    let world = World::start();
    let project = world.tombolo(&["project", "list", "-o", "name"]).succeeded().output;
    let project = project.trim();
    world
        .tombolo(&["project", "set", project, "--clusters", "region=asia"])
        .succeeded();
    let file = world.write("residency.yaml", FILE).display().to_string();
    let widen = format!("`tombolo project set {project} --clusters ...`");
    let miss = |found: &str| format!("project `{project}` may run only where `region=asia` holds (it is `{found}`)");

    let plan = world.tombolo(&["plan", &file]);
    assert_eq!(plan.code, 3, "{plan:?}");
    assert!(
        plan.output.contains(&widen) && plan.output.contains(&miss("us")),
        "{plan:?}"
    );
    let plan = world.tombolo(&["plan", &file, "-o", "json"]).json();
    let planned = &plan["jobs"][0];
    let advice = planned["advice"].as_str().expect("there is advice");
    assert!(advice.contains(&widen) && !advice.contains("its selector"), "{plan:#}");
    for (cluster, found) in [(0, "us"), (1, "eu")] {
        let found = serde_json::json!([{"kind": "residency", "message": miss(found)}]);
        assert_eq!(planned["clusters"][cluster]["misses"], found, "{plan:#}");
    }

    let build = world.submit(FILE);
    let waiting = world.wait_for("the reason", || {
        let jobs = world
            .tombolo(&["jobs", &build.to_string(), "-o", "json"])
            .succeeded()
            .json();
        job(&jobs, "anywhere")["waiting"].as_str().map(str::to_owned)
    });
    assert_eq!(
        waiting,
        format!("no cluster can run it; the nearest is `east`: {}", miss("us"))
    );
    let number = build.to_string();
    let table = world.tombolo(&["explain", &number, "anywhere"]).succeeded().output;
    for (cluster, found) in [("east", "us"), ("west", "eu")] {
        let row = table
            .lines()
            .find(|line| line.starts_with(cluster))
            .expect("every cluster is there");
        assert!(row.contains(&miss(found)) && row.contains(&widen), "{row}");
    }
    // What both do not hold of is said of both, and of whom each is.
    let gpu = world
        .tombolo(&["explain", &number, "gpu", "-o", "json"])
        .succeeded()
        .json();
    let kinds = |cluster: usize| {
        let misses = gpu["clusters"][cluster]["misses"].as_array().expect("a list");
        misses
            .iter()
            .map(|miss| miss["kind"].as_str().expect("a kind"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (kinds(0), kinds(1)),
        (vec!["label", "residency"], vec!["label", "residency"])
    );
    let advice = gpu["advice"].as_str().expect("there is advice");
    assert!(advice.contains("`west`"), "its one gpu is nearer than none: {advice}");
    assert!(
        advice.contains("leave `gpu>4` out") && advice.contains(&widen),
        "{advice}"
    );

    // What the advice says helps, for builds that are submitted then.
    world
        .tombolo(&["project", "set", project, "--clusters", "region in (eu, asia)"])
        .succeeded();
    let plan = world.tombolo(&["plan", &file, "-o", "json"]).json();
    assert_eq!(plan["jobs"][0]["cluster"], "west", "{plan:#}");
    assert_eq!(plan["jobs"][1]["clusters"][1]["misses"][0]["kind"], "label", "{plan:#}");
    world.tombolo(&["cancel", &number]).succeeded();
    world.finish(build);
    let again = world
        .tombolo(&["rerun", &number, "anywhere", "-o", "name"])
        .succeeded()
        .output;
    let again = world.finish(again.trim().parse().expect("a number"));
    assert_eq!(job(&again, "anywhere")["cluster"], "west", "{again:#}");
}
