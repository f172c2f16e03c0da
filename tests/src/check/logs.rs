//! That of each attempt that counts the whole log is taken, and of no other.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_core::control::record::{AttemptLog, JobStatus};
use tombolo_core::id::AttemptId;
use tombolo_core::name::ClusterName;

use super::Record;
use crate::history::Fact;
use crate::history::Outcome;

/// Whether the attempt is, or was, that of the job on this cluster.
fn counts(status: &JobStatus, attempt: AttemptId, cluster: &ClusterName) -> bool {
    let earlier = status
        .try_of(attempt.epoch)
        .and_then(|earlier| earlier.cluster.as_ref());
    let end = status.end().filter(|_| status.log_epoch() == attempt.epoch);
    let is_end = end.is_some_and(|end| end.cluster.as_ref() == Some(cluster));
    let is_latest = status.epoch == attempt.epoch && status.cluster.as_ref() == Some(cluster);
    let replaced = status.replaced_of(attempt.epoch);
    let is_replaced = replaced.is_some_and(|replaced| replaced.cluster == *cluster && replaced.log_lines.is_some());
    is_replaced || earlier == Some(cluster) || is_latest || is_end
}

/// A cluster's lines are taken only of the attempts that are its own, and have not been taken from it.
pub(super) fn logs_that_count(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    for (at, fact) in &outcome.history.facts {
        if let Fact::LogTaken { cluster, attempt, .. } = fact {
            let status = record.jobs.get(&attempt.job);
            if status.is_none_or(|status| !counts(status, *attempt, cluster)) {
                return Err(format!(
                    "{at:?}: lines of {attempt} are taken from {cluster}, and the store says {status:?}"
                ));
            }
        }
        record.take(fact);
    }
    Ok(())
}

/// What is there of a log has no gap, and in the end it is as long as its attempt has said, unless its cluster lost it.
pub(super) fn logs_are_whole(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    let mut lines: BTreeMap<AttemptId, u64> = BTreeMap::new();
    let mut lost: BTreeSet<&ClusterName> = BTreeSet::new();
    for (at, fact) in &outcome.history.facts {
        match fact {
            Fact::LogTaken {
                attempt, first, end, ..
            } => {
                let next = lines.entry(*attempt).or_default();
                if *first != *next {
                    return Err(format!(
                        "{at:?}: the log of {attempt} goes on at {first}, and {next} is next"
                    ));
                }
                *next = *end;
            }
            Fact::Wiped(cluster) | Fact::Buried(cluster) => {
                lost.insert(cluster);
            }
            _ => {}
        }
        record.take(fact);
    }
    for status in record.jobs.values() {
        let (Some(cluster), epoch) = (&status.cluster, status.log_epoch()) else {
            continue;
        };
        // Once the output was made again, nobody knows any more where the attempt ran whose log it is.
        if status.epoch != epoch {
            continue;
        }
        let attempt = AttemptId { job: status.id, epoch };
        let there = lines.get(&attempt).copied().unwrap_or(0);
        if let AttemptLog::Lines(written) = status.log_of(epoch)
            && there < written
            && !lost.contains(cluster)
        {
            return Err(format!(
                "{there} of {written} lines of {attempt} are there, from {cluster}: {status:?}"
            ));
        }
    }
    Ok(())
}

/// A master that another one has followed does nothing any more.
pub(super) fn one_leads(outcome: &Outcome) -> Result<(), String> {
    let found = outcome.history.facts.iter().find_map(|(at, fact)| match fact {
        Fact::ActedAfter { life, latest } => Some(format!("{at:?}: master {life} acts, and {latest} leads")),
        _ => None,
    });
    found.map_or(Ok(()), Err)
}
