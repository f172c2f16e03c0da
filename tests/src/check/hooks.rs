//! That jobs for when the others are over wait for them.

use tombolo_core::control::Change;

use super::Record;
use crate::history::Fact;
use crate::history::Outcome;

/// They get no attempt before.
pub(super) fn hooks_come_last(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    for (at, fact) in &outcome.history.facts {
        if let Fact::Committed(Change::PutJob(status)) = fact
            && let Some(node) = record.nodes.get(&status.id).filter(|node| node.hook().is_some())
            && record
                .jobs
                .get(&status.id)
                .is_none_or(|before| before.epoch < status.epoch)
        {
            let of_build = record.nodes.values().filter(|other| other.build == node.build);
            for other in of_build.filter(|other| other.hook() < node.hook()) {
                if record.jobs.get(&other.id).is_none_or(|other| other.ended().is_none()) {
                    let (hook, other) = (&node.name, &other.name);
                    return Err(format!("{at:?}: {hook} has an attempt, and {other} is not over"));
                }
            }
        }
        record.take(fact);
    }
    Ok(())
}
