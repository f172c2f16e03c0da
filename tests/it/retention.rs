//! Outputs that are not kept go from all stores, others stay, and a project that was deleted leaves nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::world::{World, job};

/// One cluster makes something that is new each time, and the other takes it and leaves something else.
const TWO_JOBS: &str = r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: busybox
    cluster: {selector: [AWS]}
    command: ["sh", "-c", "head -c 1500000 /dev/urandom > $TOMBOLO_OUTPUT/noise"]
  - name: test
    type: docker-image
    image: busybox
    depends_on: [build]
    cluster: {selector: [GCP]}
    command: ["sh", "-c", "head -c 1000 $TOMBOLO_INPUTS/build/noise > $TOMBOLO_OUTPUT/head"]
"#;

/// Fast enough for a test: a store in a folder does not delete late.
const SOON: [(&str, &str); 3] = [
    ("TOMBOLO_MASTER_RETENTION__EVERY", "1s"),
    ("TOMBOLO_AGENT_SWEEP__EVERY", "2s"),
    ("TOMBOLO_AGENT_SWEEP__READERS_RETURN", "1s"),
];

/// The objects of all clusters' stores whose paths contain `part`; marks and records are none.
fn objects(world: &World, part: &str) -> BTreeSet<String> {
    fn collect(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, found);
            } else {
                found.insert(path.display().to_string());
            }
        }
    }
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(world.path("")).expect("the world has a folder").flatten() {
        // The master's own store is not swept.
        if entry.file_name() != "master" {
            collect(&entry.path(), &mut found);
        }
    }
    found.retain(|path| {
        let is_mark = path.ends_with(".damaged") || path.ends_with(".condemned");
        path.contains(part) && path.contains("/projects/") && !is_mark
    });
    found
}

fn chunks_and_manifests(world: &World) -> BTreeSet<String> {
    objects(world, "/chunks/")
        .union(&objects(world, "/manifests/"))
        .cloned()
        .collect()
}

fn finished(build: &Value) -> String {
    assert_eq!(build["state"], "finished", "{build:#}");
    job(build, "build")["output"]["digest"]
        .as_str()
        .expect("a digest")
        .to_owned()
}

#[test]
fn what_is_not_kept_goes_and_the_rest_stays() {
    let world = World::start_set(&SOON);
    old_outputs_go_and_new_ones_stay(&world);
    a_deleted_project_leaves_nothing(&world);
}

fn old_outputs_go_and_new_ones_stay(world: &World) {
    let projects = world.tombolo(&["project", "list", "-o", "name"]).succeeded().output;
    let project = projects.lines().next().expect("a project").to_owned();
    let first = finished(&world.run(TWO_JOBS));
    let of_first = chunks_and_manifests(world);
    assert!(of_first.iter().any(|path| path.contains(&first)), "{of_first:?}");
    let second = finished(&world.run(TWO_JOBS));
    let of_second: BTreeSet<String> = chunks_and_manifests(world).difference(&of_first).cloned().collect();
    assert!(of_second.iter().any(|path| path.contains(&second)), "{of_second:?}");

    let set = world
        .tombolo(&["project", "set", &project, "--keep-builds", "1"])
        .succeeded();
    assert!(set.output.contains("are kept: 1 build\n"), "{set:?}");
    let refused = world.wait_for("the first build's outputs to be given up", || {
        let listed = world.tombolo(&["outputs", "ls", "1", "build"]);
        (listed.code != 0).then_some(listed)
    });
    assert!(refused.error.contains("was removed by retention at 20"), "{refused:?}");
    world.wait_for("the first build's objects to go from all stores", || {
        chunks_and_manifests(world).is_disjoint(&of_first).then_some(())
    });
    assert_eq!(chunks_and_manifests(world), of_second);
    let into = world.path("fetched");
    world
        .tombolo(&["outputs", "get", "2", "build", "--to", &into.display().to_string()])
        .succeeded();
    let plan = world
        .tombolo(&["retention", "plan", &project, "-o", "json"])
        .succeeded()
        .json();
    assert_eq!(plan["builds"], Value::Array(Vec::new()), "{plan:#}");
}

/// What is not kept beyond the build goes with its end; what was needed of it is made again when it is needed again.
#[test]
fn an_output_that_its_job_does_not_keep_goes_and_comes_again() {
    const FAILS_ONCE: &str = r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: busybox
    cluster: {selector: [AWS]}
    command: ["sh", "-c", "head -c 1500000 /dev/urandom > $TOMBOLO_OUTPUT/noise"]
    outputs: {keep: 0}
  - name: test
    type: docker-image
    image: busybox
    depends_on: [build]
    cluster: {selector: [GCP]}
    command: ["sh", "-c", "test -s $TOMBOLO_INPUTS/build/noise && echo kept > $TOMBOLO_OUTPUT/report && test -e MARK"]
"#;
    let world = World::start_set(&SOON);
    let mark = world.path("mark");
    let file = FAILS_ONCE.replace("MARK", &mark.display().to_string());
    let path = world.write("once.yaml", &file).display().to_string();
    world.tombolo(&["run", &path, "--watch"]);
    let build = world.tombolo(&["jobs", "1", "-o", "json"]).succeeded().json();
    let (made, tested) = (job(&build, "build"), job(&build, "test"));
    assert_eq!(
        (&made["state"], &tested["state"]),
        (&"finished".into(), &"failure".into()),
        "{build:#}"
    );
    assert_eq!(made["output_expires_at"], build["ended_at"], "{build:#}");
    assert!(tested["output_expires_at"].is_null(), "{build:#}");
    let refused = world.tombolo(&["outputs", "ls", "1", "build"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.error.contains("as the job says (`outputs.keep`)"),
        "{refused:?}"
    );
    let listed = world.tombolo(&["jobs", "1"]).succeeded();
    assert!(listed.output.contains("removed"), "{listed:?}");
    let digest = made["output"]["digest"].as_str().expect("a digest").to_owned();
    world.wait_for("the output to go from both stores", || {
        objects(&world, &digest).is_empty().then_some(())
    });
    world.tombolo(&["outputs", "ls", "1", "test"]).succeeded();

    std::fs::write(mark, "").expect("the mark is written");
    world.tombolo(&["rerun", "1", "--failed", "--watch"]).succeeded();
    let build = world.tombolo(&["jobs", "2", "-o", "json"]).succeeded().json();
    let (made, tested) = (job(&build, "build"), job(&build, "test"));
    assert_eq!(
        (&made["state"], &tested["state"]),
        (&"finished".into(), &"finished".into()),
        "{build:#}"
    );
    assert_ne!(made["output"]["digest"], digest.as_str(), "it was made again");
}

fn a_deleted_project_leaves_nothing(world: &World) {
    world.tombolo(&["project", "create", "passing"]).succeeded();
    let id = world
        .tombolo(&["project", "show", "passing", "-o", "json"])
        .succeeded()
        .json()["id"]
        .clone();
    let id = id.as_str().expect("an id").to_owned();
    let path = world.write("passing.yaml", TWO_JOBS).display().to_string();
    world
        .tombolo(&["--project", "passing", "run", &path, "--watch"])
        .succeeded();
    assert!(objects(world, &id).iter().any(|path| path.contains("/manifests/")));
    world.tombolo(&["project", "delete", "passing", "--yes"]).succeeded();
    world.wait_for("the project's objects to go from all stores", || {
        objects(world, &id).is_empty().then_some(())
    });
}
