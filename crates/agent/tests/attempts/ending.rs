//! How attempts end.

use std::time::Duration;

use tombolo_agent::executor::process::Images;
use tombolo_core::attempt::{Outcome, Phase};
use tombolo_core::build::TerminalState;

use crate::cluster::{Cluster, job, script, until};

#[tokio::test(flavor = "multi_thread")]
async fn phases_come_in_order_and_nothing_is_left_at_the_end() {
    let cluster = Cluster::new().await;
    let mut agent = cluster.start();
    let assignment = script("echo hello; echo result > /tombolo/output/file");
    let attempt = assignment.attempt;
    agent.assign(&assignment).await;
    let phases = agent.phases_until(attempt, 4).await;
    assert_eq!(phases.iter().map(Phase::rank).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let Some(Phase::Ended(outcome)) = phases.last() else {
        panic!()
    };
    assert_eq!((outcome.state, outcome.exit_code), (TerminalState::Finished, Some(0)));
    let output = outcome.output.unwrap();
    assert_eq!((output.files, output.bytes), (1, 7));
    assert!(
        cluster
            .store
            .has_manifest(assignment.build.project, output.manifest)
            .await
            .unwrap()
    );
    let expected = [
        "tombolo: the image `debian:12` is not used: cluster `east` runs commands on its agent's own system",
        "hello",
    ];
    assert_eq!(cluster.log(attempt), expected);
    assert_eq!(outcome.log_lines, 2);
    agent.forget(attempt).await;
    assert!(!cluster.folder(attempt).path().exists());
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_has_its_state_and_its_words() {
    use TerminalState::{Error, Failure, Finished, Unstable};
    let cluster = Cluster::new().await;
    let unstable = "printf '<testsuite><testcase/><testcase><failure/></testcase></testsuite>' \
                    > /infrabox/upload/testresult/r.xml";
    let socket = "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/tombolo/output/s\")'";
    for (text, state, message, has_output) in [
        ("true", Finished, "", false),
        ("echo > /tombolo/output/x; exit 3", Failure, "exit code 3", true),
        (
            "echo > /tombolo/output/x; kill -9 $$",
            Failure,
            "killed by signal 9 (KILL)",
            true,
        ),
        (unstable, Unstable, "1 of 2 tests failed", false),
        ("rm -r /tombolo/output /tombolo/upload", Finished, "", false),
        (socket, Error, "the output cannot be stored: `s` is a socket", false),
    ] {
        let assignment = script(text);
        let outcome = cluster.run(&assignment).await;
        assert_eq!(outcome.state, state, "{text}: {outcome:?}");
        assert!(outcome.message.starts_with(message), "{text}: {}", outcome.message);
        assert_eq!(outcome.output.is_some(), has_output, "{text}");
        if !message.is_empty() {
            let last = cluster.log(assignment.attempt).pop().unwrap();
            assert!(last.starts_with(&format!("tombolo: {message}")), "{last}");
        }
        assert_eq!(outcome.log_lines, cluster.log(assignment.attempt).len() as u64);
    }
    let outcome = cluster.run(&job("job", Some(vec!["no-such-program".to_owned()]))).await;
    assert_eq!((outcome.state, outcome.started_at), (Failure, None));
    assert_eq!(outcome.message, "the command `no-such-program` was not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_is_a_failure_with_an_output() {
    let cluster = Cluster::new().await;
    let mut assignment = script("echo partial > /tombolo/output/x; trap '' TERM; while :; do sleep 1; done");
    assignment.job.timeout = Duration::from_secs(1);
    let outcome = cluster.run(&assignment).await;
    assert_eq!(
        (outcome.state, outcome.message.as_str()),
        (TerminalState::Failure, "timed out after 1s")
    );
    assert_eq!(outcome.output.unwrap().bytes, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_cannot_run_here_say_why() {
    let mut cluster = Cluster::new().await;
    let outcome = cluster.run(&job("job", None)).await;
    assert_eq!(outcome.state, TerminalState::Error);
    assert!(
        outcome.message.contains("the job names no command"),
        "{}",
        outcome.message
    );
    cluster.images = Images::Refuse;
    let assignment = script("echo ran");
    let outcome = cluster.run(&assignment).await;
    assert_eq!(outcome.state, TerminalState::Error);
    assert!(
        outcome.message.contains("refuses those that name one (`debian:12`)"),
        "{}",
        outcome.message
    );
    assert!(cluster.printed(assignment.attempt).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_killed_wherever_it_is() {
    let mut cluster = Cluster::new().await;
    cluster.slots = 1;
    let mut agent = cluster.start();
    let running = script("echo partial > /tombolo/output/x; echo up; sleep 600");
    let waiting = script("echo never");
    agent.assign(&running).await;
    agent.until_running(running.attempt).await;
    agent.assign(&waiting).await;
    agent.phases_until(waiting.attempt, 0).await;
    agent.cancel(waiting.attempt).await;
    let outcome = agent.outcome(waiting.attempt).await;
    assert_eq!(outcome.state, TerminalState::Killed);
    assert_eq!(outcome.message, "cancelled before its command started");
    assert!(cluster.printed(waiting.attempt).is_empty());
    cluster.until_printed(running.attempt, "up").await;
    agent.cancel(running.attempt).await;
    let Outcome {
        state, message, output, ..
    } = agent.outcome(running.attempt).await;
    assert_eq!((state, message.as_str()), (TerminalState::Killed, "cancelled"));
    assert!(output.is_some(), "what there was is kept");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_bound_what_runs_at_once() {
    let mut cluster = Cluster::new().await;
    cluster.slots = 2;
    let mut agent = cluster.start();
    let marks = cluster.scratch("marks");
    std::fs::create_dir(&marks).unwrap();
    let text = format!("mkdir {0}/$$; ls {0} | wc -l; sleep 0.2; rmdir {0}/$$", marks.display());
    let jobs: Vec<_> = (0..6).map(|_| script(&text)).collect();
    for assignment in &jobs {
        agent.assign(assignment).await;
    }
    let mut ended = 0;
    while ended < jobs.len() {
        let notice = agent.notice().await;
        ended += usize::from(matches!(
            notice,
            tombolo_agent::seam::Notice::Progressed {
                phase: Phase::Ended(_),
                ..
            }
        ));
    }
    let seen: Vec<usize> = jobs
        .iter()
        .map(|job| cluster.printed(job.attempt)[0].trim().parse().unwrap())
        .collect();
    assert_eq!(seen.iter().max(), Some(&2), "{seen:?}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_starts_without_a_lease() {
    let cluster = Cluster::new().await;
    let mut agent = cluster.start_without_lease();
    let assignment = script("echo ran");
    agent.assign(&assignment).await;
    agent.phases_until(assignment.attempt, 1).await;
    until(|| cluster.folder(assignment.attempt).prepared().exists()).await;
    assert!(!cluster.folder(assignment.attempt).specification().exists());
    agent.give_lease();
    assert_eq!(agent.outcome(assignment.attempt).await.state, TerminalState::Finished);
    agent.stop().await;
}

/// What was said before the lease is heeded before it. In a world of simulated time, one command in some hundreds started that was to be forgotten, since the
/// lease overtook the word.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_stopped_before_the_lease_does_not_start_with_it() {
    let cluster = Cluster::new().await;
    let mut agent = cluster.start_without_lease();
    for _ in 0..10 {
        agent.hold_back();
        let assignment = script("echo ran");
        agent.assign(&assignment).await;
        until(|| cluster.folder(assignment.attempt).prepared().exists()).await;
        agent.cancel(assignment.attempt).await;
        agent.give_lease();
        let outcome = agent.outcome(assignment.attempt).await;
        assert_eq!(outcome.state, TerminalState::Killed, "{outcome:?}");
        assert!(!cluster.folder(assignment.attempt).specification().exists());
        agent.forget(assignment.attempt).await;
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_gone_at_once_also_while_it_runs() {
    let cluster = Cluster::new().await;
    let mut agent = cluster.start();
    let assignment = script("trap '' TERM; setsid sleep 600 & echo $!; echo up; while :; do sleep 1; done");
    let attempt = assignment.attempt;
    agent.assign(&assignment).await;
    agent.until_running(attempt).await;
    cluster.until_printed(attempt, "up").await;
    let pid = cluster.printed(attempt)[0].clone();
    agent.forget(attempt).await;
    assert!(!cluster.folder(attempt).path().exists());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    // Of what was never here, too.
    agent.forget(script("").attempt).await;
    agent.stop().await;
}
