//! What becomes of an attempt that the system has lost.

use super::Control;
use super::builds::JobKey;
use super::outbox::Outbox;
use crate::build::{JobState, TerminalState};
use crate::session::Order;

/// Who took an attempt away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The system lost it: after some of these the job ends.
    Lost,
    /// An administrator wants it elsewhere.
    Moved,
}

impl Control {
    /// Gives up the job's present attempt, for `reason`. The job waits for a cluster again, with its whole selector, or first for
    /// an input that was lost meanwhile; it ends if it was cancelled, if it was lost too often, or if an input, or the volume that
    /// it shares, is lost for good.
    pub(super) fn replace(&mut self, outbox: &mut Outbox, key: JobKey, reason: &str) {
        self.place_again(outbox, key, reason, Cause::Lost);
    }

    /// Takes the job's present attempt away, for `reason`, that could have gone on: the job waits for a cluster again, and this does not
    /// count against it.
    pub(super) fn relocate(&mut self, outbox: &mut Outbox, key: JobKey, reason: &str) {
        self.place_again(outbox, key, reason, Cause::Moved);
    }

    fn place_again(&mut self, outbox: &mut Outbox, key: JobKey, reason: &str, cause: Cause) {
        if !self.withdraw(outbox, key, reason, cause) {
            return;
        }
        if let Err(message) = self.queue_or_wait(outbox, key, &[]) {
            self.fail(outbox, key, message);
        }
        // Where the shared volume is to be may be open again.
        self.sharing_changed(outbox, key.build);
    }

    /// Takes the job's present attempt away from its cluster; if the system lost it, that counts as a replacement. Whether the job goes on: then it has to
    /// be said what it waits for.
    pub(super) fn withdraw(&mut self, outbox: &mut Outbox, key: JobKey, reason: &str, cause: Cause) -> bool {
        let max_replacements = self.settings.max_replacements;
        self.release(key);
        let Some((build, job)) = self.builds.job(key) else {
            return false;
        };
        let lost = self.lost_volume(build, job);
        if let Some((attempt, cluster)) = job.attempt().zip(job.status.cluster.as_ref()) {
            outbox.order(cluster, Order::Forget(attempt));
        }
        let Some(job) = self.builds.job_mut(key) else {
            return false;
        };
        let status = &mut job.status;
        let end = if status.cancel_requested {
            Some((TerminalState::Killed, format!("cancelled; {reason}")))
        } else if cause == Cause::Lost && status.replacements >= max_replacements {
            let message = format!("given up after {} attempts; {reason}", status.replacements + 1);
            Some((TerminalState::Error, message))
        } else {
            lost.map(|message| (TerminalState::Error, message))
        };
        if let Some((state, message)) = end {
            status.message = message;
            self.end(outbox, key, state);
            return false;
        }
        status.state = JobState::Waiting;
        status.replacements += u32::from(cause == Cause::Lost);
        status.message = format!("placed again: {reason}");
        status.cluster = None;
        status.started_at = None;
        status.inputs.clear();
        outbox.touch(key, job);
        true
    }
}
