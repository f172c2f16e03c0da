//! What an attempt costs beside its command.

use std::time::{Duration, Instant};

use tombolo_agent::seam::Notice;
use tombolo_core::attempt::Phase;
use tombolo_core::build::TerminalState;

use crate::cluster::{Cluster, script};

/// From the assignment to the report of the end, one after the other, each with a small output. The whole system has 25 ms in
/// a release build on an idle machine; this bound only catches what is far off (a poll, a sleep).
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_costs_milliseconds() {
    let cluster = Cluster::new().await;
    let mut agent = cluster.start();
    let mut totals = Vec::new();
    let mut reached = [const { Vec::new() }; 5];
    for _ in 0..20 {
        let assignment = script("echo x > $TOMBOLO_OUTPUT/x");
        let begin = Instant::now();
        agent.assign(&assignment).await;
        loop {
            let Notice::Progressed { phase, .. } = agent.notice().await else {
                continue;
            };
            reached[usize::from(phase.rank())].push(begin.elapsed());
            if let Phase::Ended(outcome) = phase {
                assert_eq!(outcome.state, TerminalState::Finished);
                break;
            }
        }
        totals.push(begin.elapsed());
    }
    for (phase, times) in ["accepted", "preparing", "running", "publishing", "ended"]
        .iter()
        .zip(&mut reached)
    {
        times.sort();
        println!("{phase}: p50 {:?}, worst {:?}", times[10], times[19]);
    }
    totals.sort();
    assert!(totals[10] < Duration::from_millis(250), "{totals:?}");
    agent.stop().await;
}
