//! That what is to end does not begin.

use std::collections::BTreeSet;

use tombolo_core::id::AttemptId;
use tombolo_core::name::ClusterName;

use crate::history::{Fact, Outcome};

/// An agent that was told to stop or forget an attempt does not take it afterwards, and its command does not start once those who look after
/// attempts have the word: a lease that came with it or later is for others. A word goes with the process that had it; the next one lists the attempt in
/// its hello, and is told again.
pub(super) fn ended_never_starts(outcome: &Outcome) -> Result<(), String> {
    let mut heard: BTreeSet<(&ClusterName, AttemptId)> = BTreeSet::new();
    let mut ended: BTreeSet<(&ClusterName, AttemptId)> = BTreeSet::new();
    for (at, fact) in &outcome.history.facts {
        match fact {
            Fact::EndHeard { cluster, attempt } => {
                heard.insert((cluster, *attempt));
            }
            Fact::EndOrdered { cluster, attempt } => {
                heard.insert((cluster, *attempt));
                ended.insert((cluster, *attempt));
            }
            Fact::AgentStarted(cluster) => ended.retain(|(other, _)| *other != cluster),
            Fact::StartOrdered { cluster, attempt } if heard.contains(&(cluster, *attempt)) => {
                return Err(format!("{at:?}: {cluster} starts {attempt}, which it was told to end"));
            }
            Fact::CommandStarted {
                cluster, assignment, ..
            } if ended.contains(&(cluster, assignment.attempt)) => {
                return Err(format!(
                    "{at:?}: the command of {} starts on {cluster}, which was told to end it",
                    assignment.attempt
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
