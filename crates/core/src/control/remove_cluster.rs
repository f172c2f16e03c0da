//! Removes a cluster, with all that it had.

use super::builds::JobKey;
use super::clusters::Lease;
use super::outbox::Outbox;
use super::{Change, Control, Refusal, Reply};
use crate::build::{JobState, TerminalState};
use crate::name::ClusterName;

impl Control {
    pub(super) fn remove_cluster(&mut self, outbox: &mut Outbox, name: &ClusterName) -> Result<Reply, Refusal> {
        let index = self
            .clusters
            .index(name)
            .ok_or_else(|| Refusal::not_found("cluster", name))?;
        self.set_lease(index, Lease::Over);
        self.queue.sort_out(index);
        let attempts = self.clusters.remove(index).map(|member| member.attempts);
        outbox.changes.push(Change::DeleteCluster(name.clone()));
        self.lose_workspaces(outbox, name);
        self.lose_caches(outbox, name);
        for key in attempts.unwrap_or_default() {
            self.replace(outbox, key, &format!("cluster `{name}` was removed"));
        }
        self.lose_shared(outbox, name);
        self.fail_without_inputs(outbox);
        Ok(Reply::Done)
    }

    /// Ends the queued jobs whose inputs or volumes are lost. Those that wait for other parents are looked at when these have
    /// ended; those that a cluster has may have fetched their inputs already, and their agents say so if not.
    fn fail_without_inputs(&mut self, outbox: &mut Outbox) {
        let mut failed: Vec<(JobKey, String)> = Vec::new();
        for build in self.builds.iter() {
            for job in build.jobs.iter().filter(|job| job.status.state == JobState::Queued) {
                let key = JobKey {
                    build: build.record.id,
                    index: job.node.index,
                };
                failed.extend(build.lost(job, &self.clusters).map(|message| (key, message)));
            }
        }
        for (key, message) in failed {
            if let Some(job) = self.builds.job_mut(key) {
                job.status.message = message;
            }
            self.end(outbox, key, TerminalState::Error);
        }
    }
}
