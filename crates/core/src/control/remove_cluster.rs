//! Removes a cluster, with all that it had.

use super::builds::JobKey;
use super::clusters::{ClusterIndex, Lease};
use super::holders::Trust;
use super::outbox::Outbox;
use super::{Caution, Change, Contact, Control, Refusal, Reply};
use crate::build::JobState;
use crate::name::ClusterName;
use crate::placement::words::bytes;

impl Control {
    pub(super) fn remove_cluster(
        &mut self,
        outbox: &mut Outbox,
        name: &ClusterName,
        caution: Caution,
    ) -> Result<Reply, Refusal> {
        let index = self
            .clusters
            .index(name)
            .ok_or_else(|| Refusal::not_found("cluster", name))?;
        if caution == Caution::Needs {
            self.check_needed(index, name)?;
        }
        self.end_drain(index);
        self.set_lease(index, Lease::Over);
        self.queue.sort_out(index);
        let member = self.clusters.remove(index);
        self.removed_until = member.as_ref().and_then(|member| member.acts_until);
        let attempts = member.map(|member| member.attempts);
        outbox.changes.push(Change::DeleteCluster(name.clone()));
        self.lose_workspaces(outbox, name);
        self.lose_caches(outbox, name);
        for key in attempts.unwrap_or_default() {
            self.replace(outbox, key, &format!("cluster `{name}` was removed"));
        }
        self.removed_until = None;
        self.note_lost_places(outbox, name);
        self.note_removal(outbox, name);
        self.lose_shared(outbox, name);
        self.replace_inputs(outbox);
        self.fail_without_place(outbox);
        self.wake_parked(outbox);
        Ok(Reply::Done)
    }

    /// Refuses to take a cluster from jobs that it has or that are bound to it, and to lose outputs that jobs wait for. What those have of which nothing is expected is lost already.
    fn check_needed(&self, index: ClusterIndex, name: &ClusterName) -> Result<(), Refusal> {
        let Some(member) = self.clusters.get(index) else {
            return Ok(());
        };
        if member.contact() == Contact::Lost {
            return Ok(());
        }
        let left = self.lost_with(name);
        let jobs = match member.attempts.len() {
            0 => None,
            1 => Some("a job that is not over".to_owned()),
            count => Some(format!("{count} jobs that are not over")),
        };
        let bound = match left.bound {
            0 => None,
            1 => Some("what a job works with that can run nowhere else".to_owned()),
            count => Some(format!("what {count} jobs work with that can run nowhere else")),
        };
        let size = bytes(left.bytes);
        let outputs = match left.outputs {
            0 => None,
            1 => Some(format!(
                "an output that jobs wait for and no other cluster has ({size})"
            )),
            count => Some(format!(
                "{count} outputs that jobs wait for and no other cluster has ({size})"
            )),
        };
        let needed: Vec<String> = jobs.into_iter().chain(bound).chain(outputs).collect();
        match needed.is_empty() {
            true => Ok(()),
            false => Err(Refusal::Conflict(format!(
                "cluster `{name}` has {}",
                needed.join(", and ")
            ))),
        }
    }

    /// Looks at the queued jobs whose inputs or volumes are lost: inputs are made again if possible. Jobs that wait for other parents
    /// are looked at when these have ended; those that a cluster has may have fetched their inputs already, and their agents say so
    /// if not.
    fn replace_inputs(&mut self, outbox: &mut Outbox) {
        let mut affected: Vec<JobKey> = Vec::new();
        for build in self.builds.iter() {
            for job in build.all().filter(|job| job.is_queued()) {
                let mut parents = build.givers(job);
                if self.lost_volume(build, job).is_some()
                    || parents.any(|parent| self.loss(build, parent, Trust::Members).is_some())
                {
                    affected.push(JobKey {
                        build: build.record.id,
                        index: job.index,
                    });
                }
            }
        }
        for key in affected {
            let Some((build, job)) = self.builds.job(key) else {
                continue;
            };
            if job.status.state != JobState::Queued {
                continue;
            }
            let recovers = match self.lost_volume(build, job) {
                Some(message) => Err(message),
                None => self.recover_inputs(outbox, key, Trust::Members, &[]),
            };
            if let Err(message) = recovers {
                self.fail(outbox, key, message);
            }
        }
    }
}
