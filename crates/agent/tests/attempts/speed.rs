//! What an attempt costs beside its command.

use std::time::{Duration, Instant};

use tombolo_core::build::TerminalState;

use crate::cluster::{Cluster, script};

/// From the assignment to the report of the end, one after the other, each with a small output. The whole system has 25 ms in
/// a release build on an idle machine; this bound only catches what is far off (a poll, a sleep).
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_costs_milliseconds() {
    let cluster = Cluster::new().await;
    let mut agent = cluster.start();
    let mut times = Vec::new();
    for _ in 0..20 {
        let assignment = script("echo x > $TOMBOLO_OUTPUT/x");
        let begin = Instant::now();
        agent.assign(&assignment).await;
        let outcome = agent.outcome(assignment.attempt).await;
        times.push(begin.elapsed());
        assert_eq!(outcome.state, TerminalState::Finished);
    }
    times.sort();
    println!("assignment to end: p50 {:?}, worst {:?}", times[10], times[19]);
    assert!(times[10] < Duration::from_millis(250), "{times:?}");
    agent.stop().await;
}
