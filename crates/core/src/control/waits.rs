//! Why attempts do not go on, as their agents say, in memory only.
//!
//! It owns the latest words of each attempt that a cluster has in hands. It writes nothing, places nothing and tells no watcher:
//! who wants to know asks ([`Control::waits`]). What placement makes of it is that clusters come later whose attempts do not start; where they may go
//! does not depend on it. After a restart the agents say it again when they connect.

use super::builds::LiveJob;
use super::lease::waits_for_its_cluster;
use super::report::{has_started, one_line};
use super::view::Contact;
use super::{Control, Refusal, Reply};
use crate::build::JobState;
use crate::id::{AttemptId, Epoch, JobId, SessionId};
use crate::name::ClusterName;

/// The longest reason, in bytes.
const REASON_LIMIT: usize = 1024;

/// Why an attempt waits.
#[derive(Debug)]
pub(super) struct Waits {
    /// Of which attempt that was said.
    epoch: Epoch,
    reason: Box<str>,
}

impl Control {
    pub(super) fn waits(
        &mut self,
        cluster: &ClusterName,
        session: SessionId,
        attempt: AttemptId,
        reason: &str,
    ) -> Result<Reply, Refusal> {
        self.check_session(cluster, session)?;
        let key = self.builds.key(attempt.job);
        let job = key.and_then(|key| Some((key, self.builds.job_mut(key)?)));
        let own = job.filter(|(_, job)| job.attempt() == Some(attempt) && job.status.cluster.as_ref() == Some(cluster));
        let (key, job) = own.ok_or(Refusal::StaleAttempt(attempt))?;
        let reason = one_line(reason, REASON_LIMIT);
        let is_held_up = !reason.is_empty() && !has_started(job.status.state);
        job.waits = (!reason.is_empty()).then(|| {
            Box::new(Waits {
                epoch: attempt.epoch,
                reason: reason.into(),
            })
        });
        if let Some(index) = self.clusters.index(cluster) {
            self.clusters.note_held_up(index, key, is_held_up);
        }
        Ok(Reply::Done)
    }

    /// Why the job waits, if it does: for a cluster, or on one. None if nothing is known to hold it up, or its build is over.
    pub fn waiting_reason(&self, job: JobId) -> Option<String> {
        let (build, live) = self.builds.job_by_id(job)?;
        if live.is_array() {
            return self.array_waits(build, live);
        }
        if live.status.state == JobState::Queued {
            return self.explain(job).map(|explanation| explanation.summary);
        }
        self.held_up(live)
    }

    /// Why the job's present attempt does not go on: its cluster is not heard of, or as its agent says.
    pub(super) fn held_up(&self, job: &LiveJob) -> Option<String> {
        let cluster = job.attempt().and(job.status.cluster.as_ref())?;
        let what_then = match self.contact(cluster) {
            Some(Contact::Connected) | None => return job.waits().map(str::to_owned),
            Some(_) if self.awaits_successor(cluster) => {
                return Some(format!(
                    "cluster `{cluster}` waits for another process of its agent; what runs goes on"
                ));
            }
            Some(_) if waits_for_its_cluster(job) => "the job waits for it (`on_disconnect: wait`)",
            Some(_) => "if it stays away the job is placed again",
        };
        Some(format!("cluster `{cluster}` is not heard of; {what_then}"))
    }
}

impl LiveJob {
    /// Why its present attempt does not go on.
    pub(super) fn waits(&self) -> Option<&str> {
        let attempt = self.attempt()?;
        let waits = self.waits.as_ref().filter(|waits| waits.epoch == attempt.epoch)?;
        Some(&waits.reason)
    }
}
