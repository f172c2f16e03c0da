//! That what the store says of an attempt under way is so.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_core::build::JobState;
use tombolo_core::control::Change;
use tombolo_core::control::record::JobStatus;
use tombolo_core::id::AttemptId;
use tombolo_core::name::ClusterName;

use super::Record;
use crate::history::Fact;
use crate::history::Outcome;

pub(super) fn latest(status: &JobStatus) -> AttemptId {
    AttemptId {
        job: status.id,
        epoch: status.epoch,
    }
}

/// An attempt is said to run only if its own command has started, on the cluster that has it.
pub(super) fn progress_is_real(outcome: &Outcome) -> Result<(), String> {
    let mut started: BTreeSet<(AttemptId, &ClusterName)> = BTreeSet::new();
    for (at, fact) in &outcome.history.facts {
        match fact {
            Fact::CommandStarted {
                cluster, assignment, ..
            } => {
                started.insert((assignment.attempt, cluster));
            }
            // An array runs when its first index has begun, and has no attempt.
            Fact::Committed(Change::PutJob(status)) if status.state == JobState::Running && status.epoch.0 > 0 => {
                let attempt = latest(status);
                let here = status.cluster.as_ref().map(|cluster| (attempt, cluster));
                if here.is_none_or(|here| !started.contains(&here)) {
                    let cluster = &status.cluster;
                    return Err(format!("{at:?}: {attempt} is said to run on {cluster:?}, and does not"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a cluster that comes back still has is not placed again for want of it.
pub(super) fn returned_goes_on(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    let mut greeted: BTreeMap<&ClusterName, &BTreeSet<AttemptId>> = BTreeMap::new();
    for (at, fact) in &outcome.history.facts {
        match fact {
            Fact::Greeted { cluster, attempts } => {
                greeted.insert(cluster, attempts);
            }
            Fact::Committed(Change::PutJob(status)) if status.message.starts_with("placed again: ") => {
                let before = record.jobs.get(&status.id);
                let taken = before.and_then(|before| Some((latest(before), before.cluster.as_ref()?)));
                let wants = |cluster| format!("placed again: cluster `{cluster}` does not have it any more");
                // What else changes of an attempt that was placed so keeps those words.
                if let Some((attempt, cluster)) = taken
                    && (latest(status), status.cluster.as_ref()) != (attempt, Some(cluster))
                    && status.message.starts_with(&wants(cluster))
                    && greeted.get(cluster).is_some_and(|attempts| attempts.contains(&attempt))
                {
                    return Err(format!(
                        "{at:?}: {attempt} is placed again because {cluster} does not have it, and it has: {status:?}"
                    ));
                }
            }
            _ => {}
        }
        record.take(fact);
    }
    Ok(())
}
