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
    let mut agent = cluster.start_without_lease();
    agent.lease(LEASE);
    agent.assign(&assignment).await;
    agent.until_running(attempt).await;
    cluster.until_printed(attempt, "up").await;
    agent.die().await;
    until(|| cluster.folder(attempt).exit().exists()).await;

    let mut agent = cluster.start_without_lease();
    let outcome = agent.outcome(attempt).await;
    assert_eq!((outcome.state, outcome.lease_ended), (TerminalState::Error, true));
    assert!(outcome.message.contains("ends with its cluster's lease"), "{}", outcome.message);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_goes_on_with_every_lease_of_every_agent() {
    let cluster = Cluster::new().await;
    let assignment = exclusive("echo up; until test -e /tombolo/context/go; do sleep 0.05; done; echo on");
    let attempt = assignment.attempt;
    let mut agent = cluster.start_without_lease();
    agent.lease(LEASE);
    agent.assign(&assignment).await;
    agent.until_running(attempt).await;
    agent.die().await;
    // The lease of the next agent is a later one.
    let mut agent = cluster.start_without_lease();
    agent.lease(LEASE);
    agent.until_running(attempt).await;
    agent.give_lease();
    tokio::time::sleep(2 * LEASE).await;
    std::fs::write(cluster.folder(attempt).sandbox().join("context/go"), "").unwrap();
    let outcome = agent.outcome(attempt).await;
    assert_eq!((outcome.state, outcome.lease_ended), (TerminalState::Finished, false));
    assert_eq!(cluster.printed(attempt), ["up", "on"]);
    agent.stop().await;
}
