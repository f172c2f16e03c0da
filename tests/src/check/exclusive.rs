//! That commands which must not run twice at the same time do not.

use std::collections::BTreeMap;

use tombolo_core::id::{AttemptId, JobId};
use tombolo_core::name::ClusterName;

use crate::history::Fact;
use crate::history::Outcome;

/// When the command of an exclusive job starts, none of its earlier attempts runs anywhere, and nothing of it is heard of afterwards.
pub(super) fn exclusive_runs_alone(outcome: &Outcome) -> Result<(), String> {
    let mut running: BTreeMap<JobId, (AttemptId, &ClusterName)> = BTreeMap::new();
    for (at, fact) in &outcome.history.facts {
        match fact {
            Fact::CommandStarted {
                cluster, assignment, ..
            } if assignment.job.extensions.as_ref().is_some_and(|says| says.exclusive) => {
                let attempt = assignment.attempt;
                if let Some((before, other)) = running.insert(attempt.job, (attempt, cluster)) {
                    return Err(format!(
                        "{at:?}: {attempt} starts on {cluster} while {before} runs on {other}"
                    ));
                }
            }
            Fact::CommandOver(attempt) => {
                running.retain(|_, (runs, _)| runs != attempt);
            }
            Fact::MachineDown(cluster) => running.retain(|_, (_, on)| *on != cluster),
            _ => {}
        }
    }
    Ok(())
}
