//! Whose log is taken: what a cluster is to an attempt.

use super::Control;
use super::record::JobStatus;
use crate::id::{AttemptId, Epoch};
use crate::name::ClusterName;
use crate::planted::{Bug, planted};

/// What a cluster is to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It runs it.
    Current,
    /// It ran it, and no other attempt came after that takes its place.
    Over,
    /// It had it, and the system lost it there; its log had so many lines, and no others are taken.
    Replaced(u64),
    /// The attempt is another cluster's, or does not count any more.
    None,
}

impl Control {
    /// What a cluster is to an attempt, as far as that is known here; else what is stored of the job has to say ([`JobStatus::standing`]).
    pub fn standing(&self, cluster: &ClusterName, attempt: AttemptId) -> Option<Standing> {
        let asked = self.asked_about(attempt);
        if let Some(current) = self.current_attempt(asked) {
            return Some(match (current.cluster == cluster, current.state.terminal().is_some()) {
                (false, _) => Standing::None,
                (true, false) => Standing::Current,
                (true, true) => Standing::Over,
            });
        }
        Some(self.job(attempt.job)?.status.standing(cluster, asked.epoch))
    }

    fn asked_about(&self, attempt: AttemptId) -> AttemptId {
        match self.job(attempt.job) {
            Some(job) if planted(Bug::LogOfAnyEpoch) => AttemptId {
                epoch: job.status.epoch,
                ..attempt
            },
            _ => attempt,
        }
    }
}

impl JobStatus {
    /// What a cluster is to an attempt of the job, which may be over with its build, be followed by another one, or have its output made again, while
    /// the last lines are still on their way.
    pub fn standing(&self, cluster: &ClusterName, epoch: Epoch) -> Standing {
        let here = Some(cluster);
        let is_latest = self.epoch == epoch && self.cluster.as_ref() == here && self.state.terminal().is_some();
        let end = self.end().filter(|_| epoch == self.log_epoch());
        let earlier = self.try_of(epoch);
        let was_here = end.is_some_and(|end| end.cluster.as_ref() == here)
            || earlier.is_some_and(|earlier| earlier.cluster.as_ref() == here);
        if is_latest || was_here {
            return Standing::Over;
        }
        let replaced = self.replaced_of(epoch).filter(|replaced| replaced.cluster == *cluster);
        match replaced.and_then(|replaced| replaced.log_lines) {
            Some(lines) => Standing::Replaced(lines),
            None => Standing::None,
        }
    }
}
