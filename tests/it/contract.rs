//! What a job finds around it, and how its end is reported.

use crate::world::{World, job};

fn one(command: &str) -> String {
    let command = serde_json::to_string(command).expect("text");
    format!(
        "{{version: 1, jobs: [{{name: only, type: docker-image, image: busybox, timeout: 2, command: [sh, -c, {command}]}}]}}"
    )
}

#[test]
fn paths_and_environment() {
    let world = World::start();
    let build = world.run(&one(
        "env; pwd; test -d $TOMBOLO_INPUTS && test -d $TOMBOLO_OUTPUT && test -d $TOMBOLO_CACHE && test -d $TOMBOLO_SHARED \
         && test -d $TOMBOLO_UPLOAD/testresult && grep -q only $TOMBOLO_JOB_JSON && touch $TOMBOLO_CONTEXT/writable",
    ));
    assert_eq!(build["state"], "finished", "{build:#}");
    let log = world.log(1, "only");
    for family in ["TOMBOLO", "INFRABOX"] {
        for name in [
            "PROJECT_ID",
            "JOB_ID",
            "JOB_URL",
            "JOB_API_URL",
            "BUILD_API_URL",
            "BUILD_NUMBER",
            "BUILD_RESTART_COUNTER",
            "BUILD_URL",
        ] {
            let variable = format!("{family}_{name}=");
            assert!(
                log.iter().any(|line| line.starts_with(&variable)),
                "{variable} is missing in {log:#?}"
            );
        }
    }
    assert!(log.iter().any(|line| line.starts_with("TERM=")));
    assert!(log.iter().any(|line| line == "INFRABOX_BUILD_NUMBER=1"));
    assert!(
        log.iter()
            .any(|line| line.contains("image") && line.contains("busybox")),
        "{log:#?}"
    );
    assert!(
        !log.iter().any(|line| line.contains("TOMBOLO_AGENT_INVITE")),
        "the agent's environment leaks"
    );
}

#[test]
fn ends_are_told_apart() {
    let world = World::start();
    for (command, state, message) in [
        ("exit 0", "finished", ""),
        ("exit 3", "failure", "3"),
        ("kill -9 $$", "failure", "signal"),
        ("trap '' TERM; sleep 600 & sleep 600", "failure", "time"),
        ("mkfifo $TOMBOLO_OUTPUT/pipe", "error", "pipe"),
        (
            "echo '<testsuite><testcase name=\"a\"><failure/></testcase></testsuite>' > $TOMBOLO_UPLOAD/testresult/r.xml",
            "unstable",
            "",
        ),
    ] {
        let build = world.run(&one(command));
        let job = job(&build, "only");
        assert_eq!(job["state"], state, "{command}: {job:#}");
        let said = job["message"].as_str().expect("a text");
        assert!(said.contains(message), "{command}: {said}");
    }
    let missing =
        world.run("{version: 1, jobs: [{name: only, type: docker-image, image: busybox, command: [no-such-program]}]}");
    let job = job(&missing, "only");
    assert_eq!(job["state"], "failure", "{job:#}");
    assert!(
        job["message"]
            .as_str()
            .is_some_and(|message| message.contains("no-such-program")),
        "{job:#}"
    );
}

#[test]
fn outputs_are_kept_also_on_failure_and_conditions_follow_the_state() {
    let world = World::start();
    let build = world.run(
        r#"
version: 1
jobs:
  - {name: fails, type: docker-image, image: b, command: [sh, -c, "echo kept > $TOMBOLO_OUTPUT/file; exit 1"], cluster: {selector: [AWS]}}
  - {name: skipped, type: docker-image, image: b, command: ["true"], depends_on: [fails]}
  - name: cleanup
    type: docker-image
    image: b
    command: [sh, -c, "test $(cat $TOMBOLO_INPUTS/fails/file) = kept"]
    depends_on: [{job: fails, on: [failure]}]
    cluster: {selector: [GCP]}
"#,
    );
    assert_eq!(build["state"], "failure");
    assert_eq!(job(&build, "skipped")["state"], "skipped");
    assert_eq!(job(&build, "cleanup")["state"], "finished", "{build:#}");
}

#[test]
fn cancelling_ends_the_whole_group_of_processes() {
    let world = World::start();
    let marker = world.path("marker").display().to_string();
    let build = world.submit(&format!(
        "{{version: 1, jobs: [{{name: only, type: docker-image, image: b, \
         command: [sh, -c, \"trap '' TERM; (setsid sleep 987654 {marker} 2>/dev/null || sleep 987654) & echo started; wait\"]}}]}}"
    ));
    world.wait_for_state(build, "only", "running");
    world.tombolo(&["cancel", &build.to_string()]).succeeded();
    let build = world.finish(build);
    assert_eq!(build["state"], "killed", "{build:#}");
    assert_eq!(job(&build, "only")["state"], "killed");
}

/// 200,000 lines: more than every buffer on the way, and quick enough for every run.
#[test]
fn a_long_log_is_whole_or_its_cut_is_said() {
    let world = World::start();
    let build = world.submit(&one("seq 1 200000; echo the end"));
    let log = world.log(build, "only");
    let numbers: Vec<u64> = log.iter().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(numbers, (1..=200_000).collect::<Vec<_>>());
    assert!(log.iter().any(|line| line == "the end"));
}
