//! What becomes of an attempt that the system has lost.

use super::Control;
use super::builds::JobKey;
use super::outbox::Outbox;
use crate::build::TerminalState;
use crate::session::Order;

impl Control {
    /// Gives up the job's present attempt, for `reason`. The job waits for a cluster again, with its whole selector; it
    /// ends if it was cancelled, if it was lost too often, or if one of its inputs, or the volume that it shares, is lost too.
    pub(super) fn replace(&mut self, outbox: &mut Outbox, key: JobKey, reason: &str) {
        let max_replacements = self.settings.max_replacements;
        self.release(key);
        let Some((build, job)) = self.builds.job(key) else {
            return;
        };
        let lost = build.lost(job, &self.clusters);
        if let Some((attempt, cluster)) = job.attempt().zip(job.status.cluster.as_ref()) {
            outbox.order(cluster, Order::Forget(attempt));
        }
        let Some(job) = self.builds.job_mut(key) else { return };
        let status = &mut job.status;
        if status.cancel_requested {
            status.message = format!("cancelled; {reason}");
            return self.end(outbox, key, TerminalState::Killed);
        }
        if status.replacements >= max_replacements {
            status.message = format!("given up after {} attempts; {reason}", status.replacements + 1);
            return self.end(outbox, key, TerminalState::Error);
        }
        if let Some(message) = lost {
            status.message = message;
            return self.end(outbox, key, TerminalState::Error);
        }
        status.replacements += 1;
        status.message = format!("placed again: {reason}");
        status.cluster = None;
        status.started_at = None;
        status.inputs.clear();
        self.enqueue(outbox, key);
        // Where the shared volume is to be may be open again.
        self.sharing_changed(outbox, key.build);
    }
}
