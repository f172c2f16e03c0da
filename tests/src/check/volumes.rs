//! Jobs that share a volume run where it is.

use tombolo_core::build::JobSpec;
use tombolo_core::control::record::JobStatus;
use tombolo_core::volume::VolumeKind;

use super::{Record, held};
use crate::history::Fact;
use crate::history::Outcome;

/// Whether a job uses the volume of its build.
pub fn shares(job: &JobSpec) -> bool {
    job.volumes.contains(VolumeKind::Shared)
}

/// When a job that shares a volume is given to a cluster, all others of its build that use the volume, and have run or are being
/// run, are there. What stale attempts do has no effect on that.
pub(super) fn sharers_together(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    for (at, fact) in &outcome.history.facts {
        record.take(fact);
        let Fact::CommandStarted {
            cluster, assignment, ..
        } = fact
        else {
            continue;
        };
        let attempt = assignment.attempt;
        let Some(status) = record.jobs.get(&attempt.job).filter(|_| shares(&assignment.job)) else {
            continue;
        };
        if status.epoch != attempt.epoch || !held(status.state) {
            continue;
        }
        let siblings = record.builds.get(&assignment.build.build).into_iter().flatten();
        let sharing = siblings.filter(|id| record.specs.get(id).is_some_and(shares));
        for other in sharing.flat_map(|sibling| record.leaving(*sibling)) {
            let sibling = other.id;
            let ended = other.as_ended();
            let ran = ended.state.terminal().is_some() && ended.started_at.is_some();
            let elsewhere = |other: &JobStatus| other.cluster.as_ref() != Some(cluster);
            if (ran && elsewhere(&ended)) || (held(other.state) && elsewhere(other)) {
                return Err(format!(
                    "{at:?}: {attempt} starts on {cluster}, and {sibling}, which shares a volume with it, is on {:?}",
                    other.cluster
                ));
            }
        }
    }
    Ok(())
}
