//! Whoever removes a cluster that is drained loses nothing.

use crate::history::Fact;
use crate::history::Outcome;

/// When a cluster is removed that is drained, no job runs again for what it had, and what jobs are to be given is in some store.
pub(super) fn drained_takes_nothing_along(outcome: &Outcome) -> Result<(), String> {
    for (at, fact) in &outcome.history.facts {
        let Fact::DrainedRemoved {
            cluster,
            recovered,
            nowhere,
        } = fact
        else {
            continue;
        };
        if let Some(job) = recovered.first() {
            return Err(format!("{at:?}: {job} runs again because {cluster} was removed"));
        }
        if let Some(job) = nowhere.first() {
            return Err(format!(
                "{at:?}: the output of {job} is nowhere since {cluster} was removed"
            ));
        }
    }
    Ok(())
}
