//! Commands that end with their cluster's lease.

use std::time::Duration;

use tombolo_core::attempt::Assignment;
use tombolo_core::build::TerminalState;

use crate::cluster::{Cluster, script, until};

fn exclusive(text: &str) -> Assignment {
    let mut assignment = script(text);
    assignment.job.extensions.get_or_insert_default().exclusive = true;
    assignment
}

const LEASE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_with_the_lease_also_if_its_agent_is_dead() {
    let cluster = Cluster::new().await;
    let assignment = exclusive("echo up; while :; do sleep 0.05; done");
    let attempt = assignment.attempt;
    let mut agent = cluster.start();
    agent.assign(&assignment).await;
    agent.hold(attempt, LEASE).await;
    agent.until_running(attempt).await;
    cluster.until_printed(attempt, "up").await;
    agent.die().await;
    until(|| cluster.folder(attempt).exit().exists()).await;

    let mut agent = cluster.start_without_lease();
    let outcome = agent.outcome(attempt).await;
    assert_eq!((outcome.state, outcome.lease_ended), (TerminalState::Error, true));
    assert!(
        outcome.message.contains("ends with its cluster's lease"),
        "{}",
        outcome.message
    );
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_nobody_holds_does_not_start() {
    let cluster = Cluster::new().await;
    let assignment = exclusive("echo up");
    let attempt = assignment.attempt;
    // It has a lease, but nobody has confirmed the attempt.
    let mut agent = cluster.start();
    agent.assign(&assignment).await;
    until(|| cluster.folder(attempt).prepared().exists()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!cluster.folder(attempt).started().exists());
    agent.hold(attempt, LEASE).await;
    assert_eq!(agent.outcome(attempt).await.state, TerminalState::Finished);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_goes_on_with_every_lease_of_every_agent() {
    let cluster = Cluster::new().await;
    let assignment = exclusive("echo up; until test -e /tombolo/context/go; do sleep 0.05; done; echo on");
    let attempt = assignment.attempt;
    let mut agent = cluster.start();
    agent.assign(&assignment).await;
    agent.hold(attempt, LEASE).await;
    agent.until_running(attempt).await;
    agent.die().await;
    // The lease of the next agent is a later one.
    let mut agent = cluster.start();
    agent.until_running(attempt).await;
    agent.hold(attempt, LEASE).await;
    agent.hold(attempt, 100 * LEASE).await;
    tokio::time::sleep(2 * LEASE).await;
    std::fs::write(cluster.folder(attempt).sandbox().join("context/go"), "").unwrap();
    let outcome = agent.outcome(attempt).await;
    assert_eq!((outcome.state, outcome.lease_ended), (TerminalState::Finished, false));
    assert_eq!(cluster.printed(attempt), ["up", "on"]);
    agent.stop().await;
}
