//! Inputs: whole or not at all.

use tombolo_core::attempt::{Assignment, InputReference, InputSource, LostInput, Outcome, RouteKind, SourceReference};
use tombolo_core::build::TerminalState;
use tombolo_core::build::extensions::{Extensions, InputRule};
use tombolo_core::digest::Digest;
use tombolo_core::id::JobId;
use tombolo_core::name::{ClusterName, JobName};
use tombolo_core::route::Cost;

use crate::cluster::{Cluster, script};

fn input(name: &str, parent: &Outcome) -> InputReference {
    InputReference {
        index: None,
        job: JobId::from_u128(rand::random()),
        name: JobName::new(name).unwrap(),
        output: parent.output.unwrap(),
        sources: vec![InputSource {
            cluster: ClusterName::new("west").unwrap(),
            peer_address: None,
            direct_per_gigabyte: Cost(0),
            relay_per_gigabyte: Cost(0),
        }],
        grant: Vec::new(),
    }
}

fn child(text: &str, inputs: Vec<InputReference>) -> Assignment {
    let mut assignment = script(text);
    assignment.inputs = inputs;
    assignment
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_of_the_indexes_of_an_array_have_folders_of_their_own() {
    let cluster = Cluster::new().await;
    let parent = cluster.run(&script("echo text > /tombolo/output/f")).await;
    let of_index = |index| InputReference {
        index: Some(index),
        ..input("work/sim", &parent)
    };
    let assignment = child(
        "cat /tombolo/inputs/sim/0/f /tombolo/inputs/sim/17/f; ls /tombolo/inputs",
        vec![of_index(0), of_index(17)],
    );
    let outcome = cluster.run(&assignment).await;
    assert_eq!(outcome.state, TerminalState::Finished, "{outcome:?}");
    assert_eq!(cluster.printed(assignment.attempt), ["text", "text", "sim"]);
    let names: Vec<&str> = outcome
        .inputs
        .iter()
        .filter_map(|receipt| Some(receipt.parent.as_ref()?.as_str()))
        .collect();
    assert_eq!(names, ["work/sim/0", "work/sim/17"]);
    let twice = child("true", vec![of_index(1), of_index(1)]);
    assert_eq!(cluster.run(&twice).await.state, TerminalState::Error);
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_become_inputs_by_the_last_segment_of_the_name() {
    let cluster = Cluster::new().await;
    let parent = script(
        "mkdir /tombolo/output/d; echo text > /tombolo/output/d/f; ln -s d/f /tombolo/output/l; chmod 755 /tombolo/output/d/f",
    );
    let parent = cluster.run(&parent).await;
    let mut assignment = child(
        "cat /infrabox/inputs/build/l; ls /tombolo/inputs; test -x /tombolo/inputs/build/d/f && echo mode; cat /tombolo/context/d/f",
        vec![input("work/build", &parent)],
    );
    assignment.source = Some(SourceReference {
        manifest: parent.output.unwrap().manifest,
        grant: Vec::new(),
    });
    let outcome = cluster.run(&assignment).await;
    assert_eq!(outcome.state, TerminalState::Finished, "{outcome:?}");
    assert_eq!(cluster.printed(assignment.attempt), ["text", "build", "mode", "text"]);
    let [source, receipt] = outcome.inputs.as_slice() else {
        panic!("{:?}", outcome.inputs)
    };
    assert_eq!((source.parent.as_ref(), source.moved_bytes), (None, 0));
    assert_eq!(receipt.parent.as_ref().unwrap().as_str(), "work/build");
    assert_eq!(
        (receipt.route, receipt.moved_bytes, receipt.bytes),
        (RouteKind::Local, 0, 5)
    );
    let log = cluster.log(assignment.attempt);
    assert!(
        log[2].starts_with("tombolo: the output of `work/build` (5 B, digest "),
        "{log:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_input_is_an_error_and_nothing_runs() {
    let cluster = Cluster::new().await;
    let parent = cluster.run(&script("echo > /tombolo/output/x")).await;
    let mut missing = input("build", &parent);
    missing.output.manifest = Digest::new([9; 32]);
    missing.sources.push(InputSource {
        cluster: ClusterName::new("east").unwrap(),
        ..missing.sources[0].clone()
    });
    let assignment = child("echo ran", vec![missing]);
    let outcome = cluster.run(&assignment).await;
    assert_eq!((outcome.state, outcome.started_at), (TerminalState::Error, None));
    assert!(
        outcome.message.starts_with("cannot get the output of `build`: "),
        "{}",
        outcome.message
    );
    assert!(outcome.message.contains("090909090909"), "{}", outcome.message);
    // This cluster is `east`, and was to have it as well.
    let expected = LostInput {
        parent: assignment.inputs[0].job,
        manifest: Digest::new([9; 32]),
        missing: vec![ClusterName::new("east").unwrap()],
        unreachable: vec![ClusterName::new("west").unwrap()],
    };
    assert_eq!(outcome.lost_inputs, [expected]);
    let [receipt] = outcome.inputs.as_slice() else {
        panic!("{:?}", outcome.inputs)
    };
    assert_eq!(receipt.parent.as_ref().map(|parent| parent.as_str()), Some("build"));
    assert_eq!(receipt.failure.as_deref(), Some("nobody gave the manifest"));
    assert!(!receipt.routes.is_empty(), "{receipt:?}");
    assert!(cluster.printed(assignment.attempt).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_inputs_for_one_folder_are_refused() {
    let cluster = Cluster::new().await;
    let parent = cluster.run(&script("echo > /tombolo/output/x")).await;
    let assignment = child("echo ran", vec![input("a/test", &parent), input("b/test", &parent)]);
    let outcome = cluster.run(&assignment).await;
    assert_eq!(outcome.state, TerminalState::Error);
    assert!(outcome.message.contains("`inputs/test`"), "{}", outcome.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_takes_what_it_asks_for_under_the_name_that_it_gives() {
    let cluster = Cluster::new().await;
    let parent = script("mkdir /tombolo/output/dist; echo a > /tombolo/output/dist/a; echo b > /tombolo/output/b");
    let parent = cluster.run(&parent).await;
    let taking = |paths: &[&str]| {
        let mut assignment = child(
            "cd /tombolo/inputs; find . -type f | sort",
            vec![input("a/test", &parent), input("b/test", &parent)],
        );
        let rule = InputRule {
            same_index: false,
            job: JobName::new("a/test").unwrap(),
            wanted: true,
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
            folder: Some("first".to_owned()),
            is_source: false,
        };
        let inputs = vec![rule];
        assignment.job.extensions = Extensions {
            inputs,
            ..Extensions::default()
        }
        .boxed();
        assignment
    };
    let assignment = taking(&["dist/**"]);
    let outcome = cluster.run(&assignment).await;
    assert_eq!(outcome.state, TerminalState::Finished, "{outcome:?}");
    assert_eq!(
        cluster.printed(assignment.attempt),
        ["./first/dist/a", "./test/b", "./test/dist/a"]
    );
    let outcome = cluster.run(&taking(&["dist/*", "lib/**"])).await;
    assert_eq!((outcome.state, outcome.started_at), (TerminalState::Error, None));
    assert_eq!(outcome.message, "inputs/first: nothing in it matches `lib/**`");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_larger_than_the_job_says_is_an_error() {
    let cluster = Cluster::new().await;
    let mut assignment = script("head -c 2097153 /dev/zero > /tombolo/output/x");
    for (limit, state) in [
        (2 << 20, TerminalState::Error),
        ((2 << 20) + 1, TerminalState::Finished),
    ] {
        assignment.attempt.job = JobId::from_u128(rand::random());
        assignment.job.extensions = Extensions {
            output_limit_bytes: Some(limit),
            ..Extensions::default()
        }
        .boxed();
        let outcome = cluster.run(&assignment).await;
        assert_eq!(
            (outcome.state, outcome.output.is_some()),
            (state, state == TerminalState::Finished)
        );
        let expected = match state {
            TerminalState::Error => "the output cannot be stored: ",
            _ => "",
        };
        assert!(outcome.message.starts_with(expected) && outcome.message.is_empty() == expected.is_empty());
    }
}
