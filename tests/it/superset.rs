//! What Tombolo's own job files can say, on real processes.

use serde_json::json;

use crate::world::{World, job};

#[test]
fn a_job_that_fails_once_is_retried_and_each_log_is_kept() {
    let world = World::start();
    let build = world.run(
        r#"
version: 1
jobs:
  - name: flaky
    type: docker-image
    image: b
    command: [sh, -c, "echo this is attempt $TOMBOLO_ATTEMPT_EPOCH; test $TOMBOLO_ATTEMPT_EPOCH -gt 1 && echo made > $TOMBOLO_OUTPUT/file"]
    retry: {count: 2, backoff: {initial: 100ms}}
  - name: next
    type: docker-image
    image: b
    command: [sh, -c, "grep made $TOMBOLO_INPUTS/flaky/file"]
    depends_on: [flaky]
"#,
    );
    assert_eq!(build["state"], "finished", "{build:#}");
    let flaky = job(&build, "flaky");
    assert_eq!((&flaky["flaky"], &flaky["epoch"]), (&json!(true), &json!(2)));
    assert_eq!(
        (&flaky["tries"][0]["state"], &flaky["tries"][0]["epoch"]),
        (&json!("failure"), &json!(1))
    );
    assert_eq!(job(&build, "next")["flaky"], json!(false));
    let shown = world.tombolo(&["jobs", "1"]).succeeded();
    assert!(shown.output.contains("finished (flaky)"), "{shown:?}");
    for (attempt, expected) in [("1", "this is attempt 1"), ("2", "this is attempt 2")] {
        let log = world.tombolo(&["logs", "1", "flaky", "--attempt", attempt]).succeeded();
        assert!(log.output.contains(expected), "{log:?}");
    }
}

#[test]
fn a_job_that_is_cancelled_before_its_next_attempt_has_had_one() {
    let world = World::start();
    let build = world.submit(
        "{version: 1, jobs: [{name: again, type: docker-image, image: b, command: ['false'], retry: {count: 2, backoff: {initial: 10m}}}]}",
    );
    let number = build.to_string();
    world.wait_for("the first attempt to end", || {
        let jobs = world.tombolo(&["jobs", &number, "-o", "json"]).succeeded().json();
        job(&jobs, "again")["retry_at"].as_str().map(str::to_owned)
    });
    world.tombolo(&["cancel", &number]).succeeded();
    let ended = world.finish(build);
    let again = job(&ended, "again");
    assert_eq!(
        (&again["state"], &again["epoch"]),
        (&json!("killed"), &json!(1)),
        "{again:#}"
    );
    let shown = world.tombolo(&["jobs", &number]).succeeded().output;
    assert!(shown.contains("cancelled (before attempt 2, after failure)"), "{shown}");
    let explained = world.tombolo(&["explain", &number, "again"]).succeeded().output;
    assert!(explained.contains("attempt 2 never began"), "{explained}");
}

#[test]
fn a_matrix_runs_each_combination_and_its_name_waits_for_all() {
    let world = World::start();
    let build = world.run(
        r#"
version: 1
jobs:
  - name: test
    type: docker-image
    image: b
    command: [sh, -c, "echo ${{ matrix.word }} $MATRIX_NUMBER > $TOMBOLO_OUTPUT/said"]
    matrix: {word: [one, two], number: [1, 2], exclude: [{word: two, number: 1}]}
  - name: next
    type: docker-image
    image: b
    command: [sh, -c, "cat $TOMBOLO_INPUTS/two-2/said; ls $TOMBOLO_INPUTS"]
    depends_on: [test, test/two-2]
"#,
    );
    let names: Vec<&str> = build["jobs"]
        .as_array()
        .expect("jobs")
        .iter()
        .filter_map(|job| job["name"].as_str())
        .collect();
    assert_eq!(names, ["test/one-1", "test/one-2", "test/two-2", "test", "next"]);
    assert_eq!(build["state"], "finished", "{build:#}");
    let log = world.log(1, "next");
    assert!(
        log.contains(&"two 2".to_owned()) && log.contains(&"two-2".to_owned()),
        "{log:?}"
    );
}

#[test]
fn inputs_are_chosen_and_jobs_run_beside_each_other() {
    let world = World::start();
    let build = world.run(
        r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: b
    command: [sh, -c, "cd $TOMBOLO_OUTPUT; mkdir dist; echo a > dist/a; echo b > b"]
    cluster: {prefer: [{selector: GCP, weight: 5}, {selector: AWS, weight: 3}]}
  - {name: other, type: docker-image, image: b, command: [sh, -c, "echo > $TOMBOLO_OUTPUT/x"], cluster: {selector: [AWS]}}
  - name: take
    type: docker-image
    image: b
    command: [sh, -c, "cd $TOMBOLO_INPUTS; find . -type f"]
    depends_on: [build, other]
    inputs: {build: {paths: ["dist/**"], as: release}, other: false}
    cluster: {same_as: build}
"#,
    );
    assert_eq!(build["state"], "finished", "{build:#}");
    let cluster = |name| job(&build, name)["cluster"].clone();
    assert_eq!((cluster("build"), cluster("take")), (json!("west"), json!("west")));
    let log = world.log(1, "take");
    let found: Vec<&String> = log.iter().filter(|line| line.starts_with("./")).collect();
    assert_eq!(found, ["./release/dist/a"], "{log:?}");
}

#[test]
fn a_job_that_finds_no_cluster_in_its_time_says_so() {
    let world = World::start();
    let build = world.run(
        r#"
version: 1
jobs:
  - {name: nowhere, type: docker-image, image: b, command: ["true"], cluster: {selector: [moon]}, timeouts: {queue: 1s}}
"#,
    );
    let nowhere = job(&build, "nowhere");
    assert_eq!(nowhere["state"], "error");
    let message = nowhere["message"].as_str().expect("a text");
    assert!(
        message.starts_with("it found no cluster within 1s (`timeouts.queue`): no cluster can run it"),
        "{message}"
    );
    let schema = world.tombolo(&["validate", "--schema"]).succeeded();
    assert_eq!(schema.json()["title"], "A job file of Tombolo");
}
