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
