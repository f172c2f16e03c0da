//! Workflows, waiting jobs, jobs that jobs make, and what no cluster here can do.

use std::fs;

use serde_json::Value;

use crate::recovery::{BARE, empty};
use crate::world::{World, job};

fn states(build: &Value) -> Vec<(String, String)> {
    let jobs = build["jobs"].as_array().expect("a list of jobs");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    jobs.iter()
        .map(|job| (text(&job["name"]), text(&job["state"])))
        .collect()
}

fn expect_states(build: &Value, expected: &[(&str, &str)]) {
    let owned = expected
        .iter()
        .map(|(name, state)| ((*name).to_owned(), (*state).to_owned()));
    assert_eq!(states(build), owned.collect::<Vec<_>>(), "{build:#}");
}

/// A folder with a job file and the files of its workflows.
fn project(world: &World, files: &[(&str, &str)]) -> String {
    let folder = world.path("project");
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders can be made");
        fs::write(path, text).expect("files can be written");
    }
    folder.display().to_string()
}

const FLOW: &str = r#"
version: 1
jobs:
  - {name: compile, type: docker-image, image: b, command: [sh, -c, "cp $TOMBOLO_CONTEXT/ci/flow.yaml $TOMBOLO_OUTPUT/"], cluster: {selector: [AWS]}}
  - {name: check, type: docker-image, image: b, command: [sh, -c, "test -s $TOMBOLO_INPUTS/compile/flow.yaml"], depends_on: [compile], cluster: {selector: [GCP]}}
"#;

#[test]
fn workflows_are_expanded_in_their_places() {
    let world = World::start();
    let root = r#"
version: 1
jobs:
  - {name: before, type: docker-image, image: b, command: ["true"]}
  - {name: flow, type: workflow, infrabox_file: ci/flow.yaml, depends_on: [before]}
  - {name: gate, type: wait, depends_on: [flow]}
  - {name: sourceless, type: docker-image, image: b, repository: {clone: false}, command: [sh, -c, "test -z \"$(ls $TOMBOLO_CONTEXT)\""], depends_on: [gate]}
"#;
    let folder = project(&world, &[("infrabox.yaml", root), ("ci/flow.yaml", FLOW)]);
    let file = format!("{folder}/infrabox.yaml");
    let checked = world.tombolo(&["validate", &file]).succeeded();
    assert!(checked.output.contains("is valid: 6 jobs"), "{checked:?}");
    let alone = world.tombolo(&["plan", &file]);
    assert!(alone.code == 2 && alone.error.contains("--source"), "{alone:?}");
    let plan = world
        .tombolo(&["plan", &file, "--source", &folder, "-o", "json"])
        .succeeded()
        .json();
    let compile = plan["jobs"]
        .as_array()
        .expect("jobs")
        .iter()
        .find(|job| job["name"] == "flow/compile");
    assert_eq!(compile.map(|job| &job["cluster"]), Some(&"east".into()), "{plan:#}");
    world.tombolo(&["push", &folder, "--file", &file]).succeeded();
    let build = world.finish(1);
    expect_states(
        &build,
        &[
            ("before", "finished"),
            ("flow/compile", "finished"),
            ("flow/check", "finished"),
            ("flow", "finished"),
            ("gate", "finished"),
            ("sourceless", "finished"),
        ],
    );
}

#[test]
fn a_workflow_ends_as_its_jobs_and_its_faults_are_told_with_their_file() {
    let world = World::start();
    let root = r#"
version: 1
jobs:
  - {name: flow, type: workflow, infrabox_file: ci/flow.yaml}
  - {name: next, type: docker-image, image: b, command: ["true"], depends_on: [flow]}
  - {name: repair, type: docker-image, image: b, command: ["true"], depends_on: [{job: flow, on: [failure]}]}
"#;
    let failing = r#"
version: 1
jobs:
  - {name: a, type: docker-image, image: b, command: ["false"]}
  - {name: b, type: docker-image, image: b, command: ["true"], depends_on: [a]}
"#;
    let folder = project(&world, &[("tombolo.yaml", root), ("ci/flow.yaml", failing)]);
    world.tombolo(&["push", &folder]).succeeded();
    let build = world.finish(1);
    assert_eq!(build["state"], "failure");
    expect_states(
        &build,
        &[
            ("flow/a", "failure"),
            ("flow/b", "skipped"),
            ("flow", "failure"),
            ("next", "skipped"),
            ("repair", "finished"),
        ],
    );

    project(
        &world,
        &[(
            "ci/flow.yaml",
            "version: 1\njobs:\n- {name: a, type: docker-image}\n- {name: w, type: workflow, infrabox_file: flow.yaml}\n",
        )],
    );
    let file = format!("{folder}/tombolo.yaml");
    for arguments in [
        &["validate", file.as_str(), "--source", folder.as_str()][..],
        &["push", folder.as_str()],
    ] {
        let refused = world.tombolo(arguments);
        assert_eq!(refused.code, 2, "{refused:?}");
        let said = format!("{}{}", refused.output, refused.error);
        for part in [
            "ci/flow.yaml:3:3: jobs[0].image",
            "the workflow includes itself: ci/flow.yaml -> ci/flow.yaml",
        ] {
            assert!(said.contains(part), "{part} is missing in {said}");
        }
    }
    let sourceless = world.tombolo(&["run", &file]);
    assert_eq!(sourceless.code, 2, "{sourceless:?}");
    assert!(sourceless.error.contains("the build has no source"), "{sourceless:?}");
}

const MAKER: &str = r#"
version: 1
jobs:
  - name: gen
    type: docker-image
    image: b
    command: [sh, -c, "cat $TOMBOLO_CONTEXT/made.json > $TOMBOLO_OUTPUT/infrabox.json; echo shared > $TOMBOLO_OUTPUT/file"]
    cluster: {selector: [AWS]}
  - name: child
    type: docker-image
    image: b
    command: [sh, -c, "test -s $TOMBOLO_INPUTS/gen/file && test $(cat $TOMBOLO_INPUTS/two/file) = two"]
    depends_on: [gen]
    cluster: {selector: [GCP]}
"#;

const MADE: &str = r#"{"version": 1, "jobs": [
  {"name": "one", "type": "docker-image", "image": "b", "command": ["sh", "-c", "test $(cat $TOMBOLO_INPUTS/gen/file) = shared"]},
  {"name": "two", "type": "docker-image", "image": "b", "command": ["sh", "-c", "echo two > $TOMBOLO_OUTPUT/file"], "depends_on": ["one"]},
  {"name": "flow", "type": "workflow", "infrabox_file": "ci/flow.yaml"}
]}"#;

#[test]
fn jobs_that_a_job_has_made_run_on_clusters_of_both_kinds() {
    let world = World::start();
    let folder = project(
        &world,
        &[("tombolo.yaml", MAKER), ("made.json", MADE), ("ci/flow.yaml", FLOW)],
    );
    let watched = world.tombolo(&["push", &folder, "--watch"]).succeeded();
    assert!(watched.output.contains("gen/two"), "{watched:?}");
    let build = world.finish(1);
    expect_states(
        &build,
        &[
            ("gen", "finished"),
            ("child", "finished"),
            ("gen/one", "finished"),
            ("gen/two", "finished"),
            ("gen/flow/compile", "finished"),
            ("gen/flow/check", "finished"),
            ("gen/flow", "finished"),
        ],
    );
    let parents = job(&build, "child")["parents"].as_array().expect("a list").clone();
    let names: Vec<&str> = parents.iter().filter_map(|parent| parent["name"].as_str()).collect();
    assert_eq!(names, ["gen", "gen/two", "gen/flow"]);
}

#[test]
fn a_bad_file_of_a_job_is_its_error_and_its_children_are_skipped() {
    let world = World::start();
    for (made, part) in [
        (
            r#"{"version": 1, "jobs": [{"name": "one", "type": "docker-image"}]}"#,
            "infrabox.json:1:25: jobs[0].image: the field is missing",
        ),
        ("{", "is not valid: infrabox.json:1:2"),
        (
            r#"{"version": 1, "jobs": [{"name": "gen", "type": "wait"}]}"#,
            "would both come to `inputs/gen` of `child`",
        ),
        (
            r#"{"version": 1, "jobs": [{"name": "a", "type": "docker", "docker_file": "D"}]}"#,
            "`docker` (for job `gen/a`)",
        ),
    ] {
        let folder = project(&world, &[("tombolo.yaml", MAKER), ("made.json", made)]);
        let pushed = world.tombolo(&["push", &folder, "--watch"]);
        assert_eq!(pushed.code, 1, "{pushed:?}");
        let builds = world.tombolo(&["builds", "-o", "name"]).succeeded();
        let number = builds
            .output
            .lines()
            .next()
            .expect("a build")
            .parse()
            .expect("a number");
        let build = world.finish(number);
        expect_states(&build, &[("gen", "error"), ("child", "skipped")]);
        let message = job(&build, "gen")["message"].as_str().expect("a text").to_owned();
        assert!(message.contains(part), "{part} is missing in {message}");
    }
}

/// The master is gone while the command ends, and the agent dies before anybody has heard of that end.
#[test]
fn what_a_job_has_made_survives_crashes() {
    let world = World::start();
    let folder = project(
        &world,
        &[
            (
                "tombolo.yaml",
                &MAKER.replace("cat $TOMBOLO_CONTEXT", "sleep 2; cat $TOMBOLO_CONTEXT"),
            ),
            ("made.json", MADE),
            ("ci/flow.yaml", FLOW),
        ],
    );
    world.tombolo(&["push", &folder]).succeeded();
    world.wait_for_state(1, "gen", "running");
    for _ in 0..3 {
        world.kill("master");
        world.kill("east");
    }
    let build = world.finish(1);
    assert_eq!(build["state"], "finished", "{build:#}");
    assert_eq!(states(&build).len(), 7, "{build:#}");
}

#[test]
fn what_no_cluster_here_can_do_is_refused_in_a_sentence() {
    let world = World::start();
    for (job, words) in [
        (
            "{name: a, type: docker, docker_file: Dockerfile}",
            "`docker` (for job `a`)",
        ),
        (
            "{name: a, type: docker-compose, docker_compose_file: c.yml}",
            "`docker-compose` (for job `a`)",
        ),
        (
            "{name: a, type: docker-image, image: b, services: [{apiVersion: v1, kind: K, metadata: {name: s}}]}",
            "`services` (for job `a`)",
        ),
        (
            "{name: a, type: docker-image, image: b, deployments: [{type: docker-registry, host: h}]}",
            "`deployments` (for job `a`)",
        ),
        (
            "{name: a, type: docker-image, image: b, environment: {A: {$vault: v, $vault_secret_path: p, $vault_secret_key: k}}}",
            "`vault` (for job `a`)",
        ),
    ] {
        let file = world.write("needs.yaml", &format!("{{version: 1, jobs: [{job}]}}"));
        let file = file.display().to_string();
        world.tombolo(&["validate", &file]).succeeded();
        let refused = world.tombolo(&["run", &file]);
        assert_eq!(refused.code, 3, "{refused:?}");
        assert!(
            refused.error.contains("no cluster here has what the build needs: ") && refused.error.contains(words),
            "{refused:?}"
        );
    }
    assert_eq!(world.tombolo(&["builds", "-o", "name"]).succeeded().output, "");
}

#[test]
fn builds_run_again_whole_or_in_part() {
    let world = World::start();
    let gate = world.path("gate").display().to_string();
    let file = r#"
version: 1
jobs:
  - {name: a, type: docker-image, image: b, command: [sh, -c, "date +%N > $TOMBOLO_OUTPUT/stamp"], cluster: {selector: [AWS]}}
  - {name: b, type: docker-image, image: b, command: [sh, -c, "test -e GATE && test -s $TOMBOLO_INPUTS/a/stamp && echo $TOMBOLO_BUILD_RESTART_COUNTER"], depends_on: [a], cluster: {selector: [GCP]}}
  - {name: c, type: docker-image, image: b, command: ["true"], depends_on: [b]}
"#
    .replace("GATE", &gate);
    let first = world.run(&file);
    expect_states(&first, &[("a", "finished"), ("b", "failure"), ("c", "skipped")]);
    let stamp = |build: &str| {
        world
            .tombolo(&["outputs", "cat", build, "a", "stamp"])
            .succeeded()
            .output
    };
    let before = stamp("1");

    fs::write(&gate, "").expect("the folder is writable");
    let again = world.tombolo(&["rerun", "1", "--failed", "--watch"]).succeeded();
    assert!(
        again.output.contains("What failed in build 1 runs again as build 2."),
        "{again:?}"
    );
    let second = world.finish(2);
    expect_states(&second, &[("a", "finished"), ("b", "finished"), ("c", "finished")]);
    assert_eq!(job(&second, "a")["message"], "taken over from build 1");
    assert_eq!(stamp("2"), before, "it did not run again");
    assert!(world.log(2, "b").contains(&"1".to_owned()));

    world.tombolo(&["rerun", "2", "--watch"]).succeeded();
    assert_ne!(stamp("3"), before, "all of it ran again");
    let alone = world.tombolo(&["rerun", "3", "a", "--alone", "-o", "name"]).succeeded();
    assert_eq!(alone.output.trim(), "4");
    let fourth = world.finish(4);
    assert_eq!(job(&fourth, "b")["message"], "taken over from build 3");
    let transfers = |build: &str| {
        let list = world.tombolo(&["transfers", build, "-o", "json"]).succeeded().json();
        let transfers = list["transfers"].as_array().expect("a list").clone();
        transfers.into_iter().filter(|transfer| transfer["job"] == "b").count()
    };
    let inputs = |build: &Value| job(build, "b")["inputs"].as_array().map(Vec::len);
    let third = world.finish(3);
    assert!(transfers("3") > 0 && inputs(&third) > Some(0), "{third:#}");
    assert_eq!(
        (transfers("4"), inputs(&fourth)),
        (0, Some(0)),
        "it came in build 3: {fourth:#}"
    );
    expect_states(
        &world.finish(1),
        &[("a", "finished"), ("b", "failure"), ("c", "skipped")],
    );

    for (arguments, code, words) in [
        (
            &["rerun", "4", "--failed"][..],
            1,
            "no job of the build ended as `failure`",
        ),
        (&["rerun", "4", "nobody"], 1, "the build has no job `nobody`"),
        (&["rerun", "99"], 1, "99"),
        (&["rerun", "4", "--alone"], 2, "JOB"),
    ] {
        let refused = world.tombolo(arguments);
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.error.contains(words), "{refused:?}");
    }
}

#[test]
fn what_a_rerun_needs_of_a_job_that_has_made_others_is_given_without_making_those_again() {
    let world = World::start_set(&BARE);
    let on_aws = "cluster: {selector: [AWS]}";
    let not_kept = MAKER.replacen(on_aws, &format!("{on_aws}\n    outputs: {{keep: 0}}"), 1);
    let folder = project(
        &world,
        &[("tombolo.yaml", &not_kept), ("made.json", MADE), ("ci/flow.yaml", FLOW)],
    );
    world.tombolo(&["push", &folder, "--watch"]).succeeded();
    let first = world.finish(1);
    let gone = world.tombolo(&["outputs", "ls", "1", "gen"]);
    assert!(gone.code != 0 && gone.error.contains("was kept until"), "{gone:?}");

    world
        .tombolo(&["rerun", "1", "child", "--alone", "--watch"])
        .succeeded();
    let second = world.finish(2);
    assert_eq!(states(&second), states(&first));
    for name in ["gen", "gen/one", "gen/two", "gen/flow"] {
        assert_eq!(job(&second, name)["message"], "taken over from build 1", "{name}");
    }
    assert_eq!(job(&second, "child")["epoch"], 1);

    // It is nowhere any more: the job that has made others runs for its output alone.
    for store in ["east/store", "s3/artifacts"] {
        empty(&world, store);
    }
    world
        .tombolo(&["rerun", "1", "child", "--alone", "--watch"])
        .succeeded();
    let third = world.finish(3);
    assert_eq!(states(&third), states(&first));
    for name in ["gen/one", "gen/two", "gen/flow"] {
        assert_eq!(job(&third, name)["message"], "taken over from build 1", "{name}");
    }
    let made_again = job(&third, "gen");
    assert!(
        made_again["epoch"].as_u64() > job(&second, "gen")["epoch"].as_u64(),
        "{made_again:#}"
    );
}

#[test]
fn a_rerun_answers_for_what_it_runs() {
    let world = World::start();
    let file = r#"
version: 1
jobs:
  - {name: good, type: docker-image, image: b, command: ["true"]}
  - {name: bad, type: docker-image, image: b, command: ["false"]}
  - {name: many, type: docker-image, image: b, count: 3, command: [sh, -c, "test $TOMBOLO_ARRAY_INDEX -lt 2"]}
"#;
    world.run(file);
    for (name, code) in [("good", 0), ("bad", 1), ("many/1", 0), ("many/2", 1), ("many", 1)] {
        let again = world.tombolo(&["rerun", "1", name, "--alone", "--watch"]);
        assert_eq!(again.code, code, "{name}: {again:?}");
        let words = "What ran again ended well; what was taken over had not.";
        assert_eq!(again.output.contains(words), code == 0, "{name}: {again:?}");
    }
}
