//! Cancels jobs: at once what no cluster has, and by an order to its cluster what one has.

use super::builds::{JobKey, LiveJob};
use super::command::Extent;
use super::outbox::Outbox;
use super::view::Contact;
use super::{Control, Refusal, Reply};
use crate::build::hook::Hook;
use crate::build::{JobState, TerminalState};
use crate::id::{BuildId, JobId};
use crate::name::ClusterName;
use crate::planted::{Bug, planted};
use crate::session::{Order, StopReason};

/// What is said of a job that somebody cancelled before it ran.
const CANCELLED: &str = "cancelled";

impl Control {
    /// Cancels the jobs of a build. Those for afterwards are spared the first time, unless there is nothing else to cancel, or `whole` is to end.
    pub(super) fn cancel_build(&mut self, outbox: &mut Outbox, id: BuildId, extent: Extent) -> Result<Reply, Refusal> {
        let build = self.builds.get(id).ok_or_else(|| Refusal::not_found("build", &id))?;
        let spares = extent == Extent::Jobs && self.spares_hooks(id);
        let is_spared = |job: &LiveJob| spares && job.node.hook() == Some(Hook::After);
        let indexes = (0_u32..).zip(&build.jobs).filter(|(_, job)| !is_spared(job));
        let indexes: Vec<u32> = indexes.map(|(index, _)| index).collect();
        let arrays = build.arrays.iter().map(|array| array.job);
        let arrays: Vec<u32> = arrays
            .filter(|index| build.job(*index).is_some_and(|job| !is_spared(job)))
            .collect();
        // All are cancelled before any child is looked at: no child is to start because its parent was killed.
        let ended = indexes
            .into_iter()
            .filter(|index| {
                self.cancel_only(
                    outbox,
                    JobKey {
                        build: id,
                        index: *index,
                    },
                )
            })
            .collect();
        // What is next for them is done after this, when no child can start any more.
        for index in arrays {
            self.cancel_array(outbox, JobKey { build: id, index });
        }
        self.follow(outbox, id, ended);
        Ok(Reply::Done)
    }

    /// Cancels the jobs of a build that no cluster has. Those for afterwards are spared as when the build is cancelled: what runs may need them.
    pub(super) fn cancel_queued(&mut self, outbox: &mut Outbox, id: BuildId) -> Result<Reply, Refusal> {
        let spares = self.spares_hooks(id);
        let build = self.builds.get(id).ok_or_else(|| Refusal::not_found("build", &id))?;
        let is_spared = |job: &LiveJob| spares && job.node.hook() == Some(Hook::After);
        let waits = |job: &LiveJob| matches!(job.status.state, JobState::Waiting | JobState::Queued);
        let waiting: Vec<u32> = build
            .all()
            .filter(|job| !job.has_begun_as_array() && waits(job) && !is_spared(job))
            .map(|job| job.index)
            .collect();
        let arrays: Vec<u32> = build
            .arrays
            .iter()
            .map(|array| array.job)
            .filter(|index| {
                let job = build.job(*index);
                job.is_some_and(|job| job.has_begun_as_array() && goes_on(job) && !is_spared(job))
            })
            .collect();
        let unbegun = |array: &u32| match (build.array(*array), build.job(*array)) {
            (Some(array), Some(job)) if job.status.unbegun().is_none() => u64::from(array.unbegun()),
            _ => 0,
        };
        let jobs = |index: &u32| build.array(*index).map_or(1, |array| u64::from(array.array.count));
        let count = waiting.iter().map(jobs).chain(arrays.iter().map(unbegun)).sum();
        // None is to begin because others end.
        for index in arrays {
            self.end_unbegun(outbox, JobKey { build: id, index }, TerminalState::Killed, CANCELLED);
        }
        let ended = waiting
            .into_iter()
            .filter(|index| {
                let index = *index;
                self.cancel_only(outbox, JobKey { build: id, index })
            })
            .collect();
        self.follow(outbox, id, ended);
        Ok(Reply::Cancelled(count))
    }

    pub(super) fn cancel_job(&mut self, outbox: &mut Outbox, id: JobId) -> Result<Reply, Refusal> {
        let key = self.builds.key(id).ok_or_else(|| Refusal::not_found("job", &id))?;
        self.begin_out_of_turn(key);
        if self.builds.job(key).is_some_and(|(_, job)| job.has_begun_as_array()) {
            self.cancel_array(outbox, key);
        } else if self.cancel_only(outbox, key) {
            self.follow(outbox, key.build, vec![key.index]);
        }
        Ok(Reply::Done)
    }

    /// Cancels a job without a look at its children. Says whether it has ended by that.
    pub(super) fn cancel_only(&mut self, outbox: &mut Outbox, key: JobKey) -> bool {
        let Some(job) = self.builds.job_mut(key).filter(|job| !job.has_begun_as_array()) else {
            return false;
        };
        match (job.status.state, job.attempt()) {
            (JobState::Waiting | JobState::Queued, _) => {
                job.status.cancel_requested = true;
                job.status.message = CANCELLED.to_owned();
                self.end_only(outbox, key, TerminalState::Killed);
                true
            }
            (_, Some(attempt)) if !job.status.cancel_requested => {
                job.status.cancel_requested = !planted(Bug::CancelForgotten);
                let cluster = job.status.cluster.clone();
                if let Some(cluster) = cluster.filter(|cluster| self.contact(cluster) == Some(Contact::Lost)) {
                    // Nobody would ever say that it has stopped.
                    outbox.order(&cluster, Order::Forget(attempt));
                    self.kill_out_of_reach(outbox, key, &cluster);
                    return true;
                }
                let Some(job) = self.builds.job_mut(key) else {
                    return false;
                };
                if let Some(cluster) = &job.status.cluster {
                    let reason = StopReason::Cancelled;
                    outbox.order(cluster, Order::Stop { attempt, reason });
                }
                outbox.touch(key, job);
                false
            }
            _ => false,
        }
    }

    fn kill_out_of_reach(&mut self, outbox: &mut Outbox, key: JobKey, cluster: &ClusterName) {
        if let Some(job) = self.builds.job_mut(key) {
            job.status.message =
                format!("cancelled; cluster `{cluster}` is lost, and its command may go on there until it is back");
        }
        self.end_only(outbox, key, TerminalState::Killed);
    }
}

fn goes_on(job: &LiveJob) -> bool {
    job.status.state.terminal().is_none()
}
