//! That a command starts once, and only for an attempt that counts.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_core::build::JobState;
use tombolo_core::control::Change;
use tombolo_core::id::AttemptId;
use tombolo_core::name::ClusterName;

use super::Record;
use super::progress::latest;
use crate::history::{Fact, Outcome};

/// No attempt's command starts twice, and never on two clusters; also if its machine ended before the master heard of it. Unless the cluster lost its
/// disk in between.
pub(super) fn commands_run_once(outcome: &Outcome) -> Result<(), String> {
    let mut started: BTreeMap<AttemptId, ClusterName> = BTreeMap::new();
    for (at, fact) in &outcome.history.facts {
        match fact {
            Fact::CommandStarted {
                cluster, assignment, ..
            } => {
                let attempt = assignment.attempt;
                if let Some(before) = started.insert(attempt, cluster.clone()) {
                    return Err(format!(
                        "{at:?}: the command of {attempt} starts on {cluster}, as before on {before}"
                    ));
                }
            }
            Fact::Wiped(cluster) => started.retain(|_, other| other != cluster),
            _ => {}
        }
    }
    Ok(())
}

/// Leases: when a command starts, its attempt was not given up by the master. Only a cluster that was removed, or an
/// attempt that was cancelled, may be too late to know.
pub(super) fn replaced_never_starts(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    let mut held: BTreeMap<AttemptId, ClusterName> = BTreeMap::new();
    let mut cancelled: BTreeSet<AttemptId> = BTreeSet::new();
    for (at, fact) in &outcome.history.facts {
        // Also one that made an output again: its job is as it had ended when that is over.
        if let Fact::Committed(Change::PutJob(status)) = fact
            && status.cancel_requested
        {
            cancelled.insert(latest(status));
        }
        match fact {
            Fact::Committed(Change::PutJob(status)) if status.state == JobState::Assigned => {
                let attempt = latest(status);
                held.extend(status.cluster.clone().map(|cluster| (attempt, cluster)));
            }
            Fact::Committed(Change::DeleteCluster(name)) => held.retain(|_, cluster| cluster != name),
            Fact::CommandStarted {
                cluster, assignment, ..
            } if held.contains_key(&assignment.attempt) => {
                let attempt = assignment.attempt;
                let status = record
                    .jobs
                    .get(&attempt.job)
                    .ok_or("a command starts of a job that is nowhere")?;
                let given_up = status.epoch != attempt.epoch || status.cluster.is_none();
                if !cancelled.contains(&attempt) && (given_up || status.state.terminal().is_some()) {
                    return Err(format!(
                        "{at:?}: {attempt} starts on {cluster}, the store says {status:?}"
                    ));
                }
            }
            _ => {}
        }
        record.take(fact);
    }
    Ok(())
}
