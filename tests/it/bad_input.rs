//! What a user gets for what cannot be.

use crate::world::{World, job};

#[test]
fn a_bad_job_file_is_refused_with_all_its_faults() {
    let world = World::start();
    let file = world.write(
        "bad.yaml",
        "version: 1\njobs:\n  - name: a\n    type: docker-image\n    image: b\n    comand: [x]\n    timeout: 0\n    depends_on: [b]\n  - name: b\n    type: docker-image\n    image: b\n    depends_on: [a]\n    cluster: {selector: ['region in eu']}\n",
    );
    let file = file.display().to_string();
    let validated = world.tombolo(&["validate", &file]);
    assert_eq!(validated.code, 2, "{validated:?}");
    for expected in ["bad.yaml:6", "comand", "command", "timeout", "region in eu"] {
        assert!(
            validated.output.contains(expected),
            "{expected} is missing in {validated:?}"
        );
    }
    let report = world.tombolo(&["validate", &file, "-o", "json"]);
    assert_eq!(report.code, 2);
    assert_eq!(report.json()["valid"], false);
    let refused = world.tombolo(&["run", &file]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.error.contains("timeout") || refused.output.contains("timeout"),
        "{refused:?}"
    );
    assert_eq!(world.tombolo(&["builds", "-o", "name"]).succeeded().output, "");
}

#[test]
fn a_selector_that_no_cluster_meets_waits_and_says_why() {
    let world = World::start();
    let build = world.submit(
        "{version: 1, jobs: [{name: only, type: docker-image, image: b, command: ['true'], cluster: {selector: [region=mars]}}]}",
    );
    let jobs = world.tombolo(&["jobs", &build.to_string()]).succeeded();
    assert!(
        jobs.output.contains("queued") && jobs.output.contains("region=mars"),
        "{jobs:?}"
    );
    let explanation = world.tombolo(&["explain", &build.to_string(), "only"]).succeeded();
    for cluster in ["east", "west"] {
        let line = explanation
            .output
            .lines()
            .find(|line| line.starts_with(cluster))
            .expect("every cluster is there");
        assert!(line.contains("no") && line.contains("region=mars"), "{line}");
    }
    world.tombolo(&["cancel", &build.to_string()]).succeeded();
    let build = world.finish(build);
    assert_eq!(job(&build, "only")["state"], "killed");
}

#[test]
fn what_is_not_there_is_said_with_a_hint() {
    let world = World::start();
    for (arguments, code, words) in [
        (&["jobs", "99"][..], 1, "99"),
        (&["logs", "99", "a"], 1, "99"),
        (&["outputs", "ls", "99", "a"], 1, "99"),
        (&["run", "/no/such/file"], 2, "/no/such/file"),
        (&["--context", "nowhere", "builds"], 2, "nowhere"),
        (&["--project", "nobody", "builds"], 1, "nobody"),
        (&["--project", "Not A Name", "builds"], 2, "project"),
        (&["frobnicate"], 2, "frobnicate"),
    ] {
        let printed = world.tombolo(arguments);
        assert_eq!(printed.code, code, "{arguments:?}: {printed:?}");
        assert!(printed.error.contains(words), "{arguments:?}: {printed:?}");
    }
    let nobody = world.tombolo_with(&["builds"], &[("TOMBOLO_CONFIG", "/nonexistent/cli.toml")]);
    assert_eq!(nobody.code, 2, "{nobody:?}");
    assert!(nobody.error.contains("hint:"), "{nobody:?}");
}
