//! `cargo xtask versions`: this version beside the one before it. Masters, agents and users' commands of both work together, and are replaced by
//! one another while jobs run. `TOMBOLO_PREVIOUS` is the earlier program.
#![allow(clippy::panic, reason = "a test that cannot go on says why")]

mod system;

use system::{System, Version::*, job};

/// Jobs that run while parts are replaced, an exclusive one among them, an output that crosses to the other cluster, and an array.
const BUSY: &str = r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: b
    command: [sh, -c, "for i in $(seq 1 60); do echo line $i; sleep 0.25; done; head -c 200000 /dev/urandom > $TOMBOLO_OUTPUT/noise"]
    cluster: {selector: [AWS]}
  - name: alone
    type: docker-image
    image: b
    exclusive: true
    command: [sh, -c, "echo begin; sleep 15; echo end"]
    cluster: {selector: [AWS]}
  - name: test
    type: docker-image
    image: b
    command: [sh, -c, "test $(stat -c %s $TOMBOLO_INPUTS/build/noise) = 200000"]
    depends_on: [build]
    cluster: {selector: [GCP]}
  - name: each
    type: docker-image
    image: b
    count: 3
    command: [sh, -c, "sleep $TOMBOLO_ARRAY_INDEX"]
    cluster: {selector: [GCP]}
"#;

/// Jobs that are over soon, on both clusters.
const SHORT: &str = r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: b
    command: [sh, -c, "echo made > $TOMBOLO_OUTPUT/what"]
    cluster: {selector: [AWS]}
  - name: test
    type: docker-image
    image: b
    command: [sh, -c, "test $(cat $TOMBOLO_INPUTS/build/what) = made && echo the same"]
    depends_on: [build]
    cluster: {selector: [GCP]}
"#;

/// Everything was done, and nothing was done twice.
#[track_caller]
fn finished_once(system: &System, number: u64) {
    let build = system.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
    for job in build["jobs"].as_array().expect("a list of jobs") {
        // The indexes of an array have the attempts.
        let epoch = if job["name"] == "each" { 0 } else { 1 };
        assert_eq!(
            job["epoch"].as_u64().unwrap_or(0),
            epoch,
            "it was started again: {job:#}"
        );
    }
    let alone = system.log(number, "alone");
    // The agent has a word of its own at the beginning.
    let own = alone.lines().filter(|line| !line.starts_with("tombolo: "));
    assert_eq!(own.collect::<Vec<_>>(), ["begin", "end"], "it ran once");
    let log = system.log(number, "build");
    let lines = log.lines().filter(|line| line.starts_with("line "));
    let expected: Vec<String> = (1..=60).map(|line| format!("line {line}")).collect();
    assert_eq!(lines.collect::<Vec<_>>(), expected, "{log}");
}

#[track_caller]
fn runs_something(system: &System) {
    let number = system.submit(SHORT);
    let build = system.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
    assert!(system.log(number, "test").contains("the same"));
}

#[test]
fn masters_are_upgraded_first() {
    let mut system = System::start(Previous, Previous);
    let number = system.submit(BUSY);
    system.wait_for_state(number, "alone", "running");
    // Of its tables new ones are made.
    system.replace("master", Present);
    system.wait_for_clusters();
    finished_once(&system, number);
    runs_something(&system);
    let number = system.submit(BUSY);
    system.wait_for_state(number, "alone", "running");
    for cluster in ["east", "west"] {
        system.replace(cluster, Present);
    }
    system.wait_for_clusters();
    finished_once(&system, number);
    runs_something(&system);
}

#[test]
fn agents_are_upgraded_first_and_go_back() {
    let mut system = System::start(Previous, Previous);
    for version in [Present, Previous] {
        let number = system.submit(BUSY);
        system.wait_for_state(number, "alone", "running");
        for cluster in ["east", "west"] {
            system.replace(cluster, version);
        }
        system.wait_for_clusters();
        finished_once(&system, number);
        runs_something(&system);
    }
}

#[test]
fn clusters_of_both_versions_give_each_other_outputs() {
    for (east, west) in [(Present, Previous), (Previous, Present)] {
        let mut system = System::start(Present, Previous);
        for (cluster, version) in [("east", east), ("west", west)] {
            if version == Present {
                system.replace(cluster, version);
            }
        }
        system.wait_for_clusters();
        runs_something(&system);
    }
}

/// What the other version's agent knows nothing of is not asked of it, and what it says is taken.
#[test]
fn an_agent_of_the_other_version_is_drained_and_leaves_nothing_undone() {
    let system = System::start(Present, Previous);
    let number = system.submit(BUSY);
    system.wait_for_state(number, "build", "running");
    system.tombolo(Present, &["cluster", "cordon", "west"]).succeeded();
    let explained = system
        .tombolo(Present, &["explain", &number.to_string(), "test"])
        .succeeded();
    assert!(explained.output.contains("build"), "{explained:?}");
    system.tombolo(Present, &["cluster", "uncordon", "west"]).succeeded();
    finished_once(&system, number);
    let drained = system.tombolo(Present, &["cluster", "drain", "east", "--wait", "--timeout", "60s"]);
    assert_eq!(drained.code, 0, "{drained:?}");
    system.tombolo(Present, &["cluster", "remove", "east"]).succeeded();
}

#[test]
fn users_commands_of_both_versions_are_answered() {
    for (master, user) in [(Previous, Present), (Present, Previous)] {
        let system = System::start(master, master);
        let number = system.submit_by(user, SHORT);
        let build = system.finish(number);
        assert_eq!(build["state"], "finished", "{build:#}");
        let number = number.to_string();
        for command in [
            &["jobs", &number] as &[&str],
            &["builds"],
            &["explain", &number, "test"],
            &["logs", &number, "test"],
            &["outputs", "ls", &number, "build"],
            &["cluster", "list"],
            &["cluster", "show", "east"],
            &["transfers", &number],
            &["token", "list"],
        ] {
            let printed = system.tombolo(user, command);
            assert_eq!(printed.code, 0, "{command:?}: {printed:?}");
        }
        let output = system.path("output").display().to_string();
        system
            .tombolo(user, &["outputs", "get", &number, "build", "--to", &output])
            .succeeded();
        let file = std::fs::read_dir(system.path("output")).expect("it is there").count();
        assert!(file > 0, "something was downloaded");
        job(&build, "test");
        std::fs::remove_dir_all(system.path("output")).expect("it is there");
    }
}

/// A master does not work on tables that it does not know, and a copy of the folder from before the upgrade is a way back.
#[test]
fn a_master_goes_back_with_what_was_there_before_only() {
    let mut system = System::start(Previous, Previous);
    let number = system.submit(SHORT);
    system.finish(number);
    system.stop("master");
    system.copy_folder("master", "before");
    system.start_part("master", Present);
    system.wait_for_clusters();
    system.stop("master");
    let refused = system.try_master(Previous);
    assert!(refused.contains("newer version"), "{refused}");
    system.copy_folder("before", "master");
    system.start_part("master", Previous);
    system.wait_for_clusters();
    runs_something(&system);
}
