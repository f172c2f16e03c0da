//! Arrays: one job of which many run.

use serde_json::{Value, json};

use crate::world::{World, job};

/// How many indexes of an array are in which state, as the API says.
fn counts(job: &Value) -> Vec<(String, u64)> {
    let counts = job["array"]["counts"].as_array().expect("an array has counts");
    let of = |count: &Value| {
        let state = count["state"].as_str().expect("a state").to_owned();
        (state, count["count"].as_u64().expect("a number"))
    };
    counts.iter().map(of).collect()
}

/// The names of an array's indexes in a state.
fn indexes(world: &World, build: &str, array: &str, more: &[&str]) -> Vec<String> {
    let mut arguments = vec!["jobs", build, array, "-o", "name"];
    arguments.extend_from_slice(more);
    let listed = world.tombolo(&arguments).succeeded();
    listed.output.lines().map(str::to_owned).collect()
}

const FILE: &str = r#"
version: 1
jobs:
  - name: square
    type: docker-image
    image: b
    command: [sh, -c, "test $TOMBOLO_ARRAY_INDEX != 3 || test $TOMBOLO_BUILD_RESTART_COUNTER = 1 || exit 1; echo index $INFRABOX_ARRAY_INDEX of $TOMBOLO_ARRAY_COUNT; echo $((TOMBOLO_ARRAY_INDEX * TOMBOLO_ARRAY_INDEX)) > $TOMBOLO_OUTPUT/square"]
    count: 12
    parallel: 4
  - name: root
    type: docker-image
    image: b
    command: [sh, -c, "test $(cat $TOMBOLO_INPUTS/square/square) = $((TOMBOLO_ARRAY_INDEX * TOMBOLO_ARRAY_INDEX))"]
    count: 12
    depends_on: [{job: square, on: ['*']}]
    inputs: {square: {index: same}}
    cluster: {selector: [GCP]}
  - name: sum
    type: docker-image
    image: b
    command: [sh, -c, "echo $(cat $TOMBOLO_INPUTS/square/*/square | sort -n)"]
    depends_on: [{job: square, on: ['*']}]
    cluster: {selector: [AWS]}
"#;

#[test]
fn an_array_runs_is_listed_and_runs_again_in_part() {
    let world = World::start();
    let file = world.write("array.yaml", FILE).display().to_string();
    let plan = world.tombolo(&["plan", &file]).succeeded();
    assert!(plan.output.contains("index 0 of 12"), "{plan:?}");
    let plan = world.tombolo(&["plan", &file, "-o", "json"]).succeeded().json();
    let indexes_of = |job: usize| plan["jobs"][job].get("indexes");
    let expected = json!({"count": 12, "placed": {"east": 2, "west": 2}, "left": 0, "not_looked_at": 8});
    assert_eq!(indexes_of(0), Some(&expected), "{plan:#}");
    assert_eq!(indexes_of(2), Some(&Value::Null), "it is no array: {plan:#}");
    let build = world.submit(FILE);
    let ended = world.finish(build);
    let square = job(&ended, "square");
    assert_eq!(square["state"], "failure", "{square:#}");
    assert_eq!(
        counts(&square),
        [("finished".to_owned(), 11), ("failure".to_owned(), 1)]
    );
    assert_eq!(square["message"], "index 3 of 12 ended as `failure`");
    assert_eq!(ended["jobs"].as_array().map(Vec::len), Some(3), "an array is one job");
    let number = build.to_string();
    assert_eq!(
        indexes(&world, &number, "square", &["--state", "failure"]),
        ["square/3"]
    );
    assert_eq!(
        indexes(&world, &number, "square", &["--first", "10"]),
        ["square/10", "square/11"]
    );
    assert_eq!(
        world.log(build, "square/7").last().map(String::as_str),
        Some("index 7 of 12")
    );
    let listed = world.tombolo(&["jobs", &number]).succeeded();
    assert!(listed.output.contains("11 finished, 1 failure of 12"), "{listed:?}");
    let explained = world.tombolo(&["explain", &number, "square/3"]).succeeded();
    assert!(
        explained.output.contains("it is over: failure (exit code 1)"),
        "{explained:?}"
    );
    // Index 3 left nothing for those that follow it.
    let printed = world.log(build, "sum");
    assert!(
        printed.iter().any(|line| line == "0 1 4 16 25 36 49 64 81 100 121"),
        "{printed:?}"
    );
    assert_eq!(counts(&job(&ended, "root"))[0], ("finished".to_owned(), 11));

    let unknown = world.tombolo(&["jobs", &number, "sum"]);
    assert!(
        unknown.code != 0 && unknown.error.contains("is no array"),
        "{unknown:?}"
    );
    let one = world.tombolo(&["jobs", &number, "square/3"]);
    let hint = format!("`tombolo jobs {number} square --first 3 -n 1` lists it");
    assert!(one.code != 0 && one.error.contains(&hint), "{one:?}");
    let unknown = world.tombolo(&["logs", &number, "square/12"]);
    assert!(
        unknown.code != 0 && unknown.error.contains("does not exist"),
        "{unknown:?}"
    );

    runs_again_in_part(&world, build);
}

/// What failed runs again, and what follows it; the rest is taken over.
fn runs_again_in_part(world: &World, build: u64) {
    world.tombolo(&["rerun", &build.to_string(), "--failed"]).succeeded();
    let again = world.finish(build + 1);
    let square = job(&again, "square");
    assert_eq!(
        (square["state"].as_str(), counts(&square)),
        (Some("finished"), vec![("finished".to_owned(), 12)])
    );
    let taken = format!("taken over from build {build}");
    let listed = world
        .tombolo(&["jobs", &(build + 1).to_string(), "square", "-o", "json"])
        .succeeded()
        .json();
    let messages = listed["jobs"]
        .as_array()
        .expect("jobs")
        .iter()
        .filter(|job| job["message"] == taken);
    assert_eq!(messages.count(), 11);
    assert_eq!(job(&again, "root")["state"], "finished");
    let printed = world.log(build + 1, "sum");
    assert!(
        printed.iter().any(|line| line == "0 1 4 9 16 25 36 49 64 81 100 121"),
        "{printed:?}"
    );
}

#[test]
fn ten_thousand_indexes_are_submitted_and_cancelled_at_once() {
    let world = World::start();
    let text = r#"{"version": 1, "jobs": [{"type": "docker-image", "name": "many", "image": "b", "command": ["sleep", "600"], "count": 10000}]}"#;
    let before = std::time::Instant::now();
    let build = world.submit(text);
    let took = before.elapsed();
    println!("submitting 10,000 indexes took {took:?}, with the start of the program");
    let number = build.to_string();
    world.wait_for("an index to run", || {
        let running = indexes(&world, &number, "many", &["--state", "running"]);
        (!running.is_empty()).then_some(())
    });
    world.tombolo(&["cancel", &number, "many/9999"]).succeeded();
    assert_eq!(
        indexes(&world, &number, "many", &["--first", "9998"]),
        ["many/9998", "many/9999"]
    );
    assert_eq!(indexes(&world, &number, "many", &["--state", "killed"]), ["many/9999"]);
    let explained = world.tombolo(&["explain", &number, "many/5000"]).succeeded();
    assert!(explained.output.contains("it comes after index"), "{explained:?}");
    world.tombolo(&["cancel", &number, "many"]).succeeded();
    let ended = world.finish(build);
    let many = job(&ended, "many");
    assert_eq!(
        (many["state"].as_str(), counts(&many)),
        (Some("killed"), vec![("killed".to_owned(), 10_000)])
    );
}
