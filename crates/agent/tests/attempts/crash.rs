//! Agents and supervisors that die.

use tombolo_agent::folder::read_record;
use tombolo_agent::supervisor::{self, Presence, Started};
use tombolo_core::attempt::{Outcome, Phase};
use tombolo_core::build::TerminalState;

use crate::cluster::{Cluster, script, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_command_is_found_again_and_runs_once() {
    let cluster = Cluster::new().await;
    let assignment =
        script("echo up; until test -e /tombolo/context/go; do sleep 0.01; done; echo on; echo x > /tombolo/output/x");
    let attempt = assignment.attempt;
    let mut agent = cluster.start();
    agent.assign(&assignment).await;
    agent.until_running(attempt).await;
    cluster.until_printed(attempt, "up").await;
    agent.die().await;

    let mut agent = cluster.start();
    let [report] = agent.recovered.as_slice() else {
        panic!("{:?}", agent.recovered)
    };
    assert_eq!((report.attempt, report.phase.rank()), (attempt, 2));
    agent.until_running(attempt).await;
    std::fs::write(cluster.folder(attempt).sandbox().join("context/go"), "").unwrap();
    let outcome = agent.outcome(attempt).await;
    assert_eq!(outcome.state, TerminalState::Finished);
    assert!(outcome.output.is_some());
    assert_eq!(cluster.printed(attempt), ["up", "on"]);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_ends_while_no_agent_is_there_is_not_lost() {
    let cluster = Cluster::new().await;
    let assignment = script("echo up; until test -e /tombolo/context/go; do sleep 0.01; done; exit 5");
    let attempt = assignment.attempt;
    let mut agent = cluster.start();
    agent.assign(&assignment).await;
    agent.until_running(attempt).await;
    agent.stop().await;
    std::fs::write(cluster.folder(attempt).sandbox().join("context/go"), "").unwrap();
    until(|| cluster.folder(attempt).exit().exists()).await;

    let mut agent = cluster.start();
    assert_eq!(agent.recovered[0].phase, Phase::Publishing);
    let outcome = agent.outcome(attempt).await;
    assert_eq!((outcome.state, outcome.exit_code), (TerminalState::Failure, Some(5)));
    agent.die().await;

    // What has ended stays so, word for word, until it is forgotten.
    let mut agent = cluster.start();
    assert_eq!(agent.recovered[0].phase, Phase::Ended(outcome));
    agent.forget(attempt).await;
    agent.stop().await;
    assert!(cluster.start().recovered.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_die_at_any_moment_run_each_command_once() {
    let cluster = Cluster::new().await;
    let jobs: Vec<_> = (0..8)
        .map(|number| script(&format!("echo {number}; sleep 0.05; echo done")))
        .collect();
    let agent = cluster.start();
    for assignment in &jobs {
        agent.assign(assignment).await;
    }
    until(|| jobs.iter().all(|job| cluster.folder(job.attempt).assignment().exists())).await;
    agent.die().await;
    for milliseconds in [3, 11, 17, 23, 31, 47, 60] {
        let agent = cluster.start();
        tokio::time::sleep(std::time::Duration::from_millis(milliseconds)).await;
        agent.die().await;
    }
    let _agent = cluster.start();
    for (number, assignment) in jobs.iter().enumerate() {
        until(|| cluster.folder(assignment.attempt).ended().exists()).await;
        let outcome: Outcome = read_record(&cluster.folder(assignment.attempt).ended())
            .unwrap()
            .unwrap();
        assert_eq!(outcome.state, TerminalState::Finished, "{outcome:?}");
        assert_eq!(
            cluster.printed(assignment.attempt),
            [number.to_string(), "done".to_owned()]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_supervisor_is_an_error_and_with_its_agent_a_loss_and_leaves_nothing() {
    let cluster = Cluster::new().await;
    for agent_dies in [false, true] {
        let assignment = script("setsid sleep 600 & echo $!; echo up; sleep 600");
        let attempt = assignment.attempt;
        let mut agent = cluster.start();
        agent.assign(&assignment).await;
        agent.until_running(attempt).await;
        cluster.until_printed(attempt, "up").await;
        let started: Started = read_record(&cluster.folder(attempt).started()).unwrap().unwrap();
        let pid = cluster.printed(attempt)[0].clone();
        let agent = if agent_dies {
            agent.die().await;
            None
        } else {
            Some(agent)
        };
        let pid_of_supervisor = rustix::process::Pid::from_raw(started.supervisor as i32).unwrap();
        rustix::process::kill_process(pid_of_supervisor, rustix::process::Signal::KILL).unwrap();
        // A process that was killed holds its lock for a moment longer.
        until(|| supervisor::presence(&cluster.folder(attempt)).unwrap() == Presence::Absent).await;
        let mut agent = agent.unwrap_or_else(|| cluster.start());
        if agent_dies {
            // Nobody saw it: the hello says so, and each later one until the control plane has replaced it.
            for _ in 0..2 {
                let outcome = agent.outcome(attempt).await;
                assert_eq!((outcome.state, outcome.lost), (TerminalState::Error, true));
                assert_eq!(outcome.started_at, Some(started.started_at));
                let log = cluster.log(attempt);
                assert_eq!(log.last(), Some(&format!("tombolo: {}", outcome.message)));
                assert_eq!(outcome.log_lines, log.len() as u64);
                agent.die().await;
                agent = cluster.start();
            }
        } else {
            let outcome = agent.outcome(attempt).await;
            assert_eq!(outcome.state, TerminalState::Error);
            assert_eq!(outcome.message, "the supervisor of the command died");
            assert_eq!(outcome.started_at, Some(started.started_at));
        }
        until(|| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .unwrap_or_default()
                .is_empty()
        })
        .await;
        agent.forget(attempt).await;
        until(|| !cluster.folder(attempt).path().exists()).await;
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_read_are_an_error_of_that_attempt_only() {
    let cluster = Cluster::new().await;
    let broken = script("");
    std::fs::create_dir_all(cluster.folder(broken.attempt).path()).unwrap();
    std::fs::write(cluster.folder(broken.attempt).assignment(), "{").unwrap();
    let mut runs = std::process::Command::new("sleep")
        .arg("600")
        .env("TOMBOLO_ATTEMPT", broken.attempt.to_string())
        .spawn()
        .unwrap();
    let unaccepted = script("");
    std::fs::create_dir_all(cluster.folder(unaccepted.attempt).path()).unwrap();
    let mut agent = cluster.start();
    let [report] = agent.recovered.as_slice() else {
        panic!("{:?}", agent.recovered)
    };
    assert_eq!((report.attempt, &report.phase), (broken.attempt, &Phase::Accepted));
    let outcome = agent.outcome(broken.attempt).await;
    assert_eq!(outcome.state, TerminalState::Error);
    assert!(
        outcome.message.starts_with("its records cannot be read: "),
        "{}",
        outcome.message
    );
    assert!(!runs.wait().unwrap().success(), "what runs of it is of no use any more");
    assert!(!cluster.folder(unaccepted.attempt).path().exists());
    agent.forget(broken.attempt).await;
    let good = script("echo fine");
    agent.assign(&good).await;
    assert_eq!(agent.outcome(good.attempt).await.state, TerminalState::Finished);
    agent.stop().await;
}
