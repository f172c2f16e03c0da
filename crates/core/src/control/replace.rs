//! What becomes of an attempt that the system has lost.

use std::time::Duration;

use super::Control;
use super::builds::JobKey;
use super::lease::Deadline;
use super::outbox::Outbox;
use super::record::Replaced;
use super::report::one_line;
use crate::build::{JobState, TerminalState};
use crate::planted::{Bug, planted};
use crate::session::Order;
use crate::time::{Moment, Timestamp};

/// The longest account of an attempt that was replaced, in bytes: each of them is kept in the job's record.
const MAX_REASON_BYTES: usize = 512;

/// Who took an attempt away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The system lost it: after some of these the job ends.
    Lost,
    /// As [`Self::Lost`], and its command is known to be stopped.
    Stopped,
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

    /// As [`Self::replace`], where the attempt's command is known to be stopped.
    pub(super) fn replace_stopped(&mut self, outbox: &mut Outbox, key: JobKey, reason: &str) {
        self.place_again(outbox, key, reason, Cause::Stopped);
    }

    fn place_again(&mut self, outbox: &mut Outbox, key: JobKey, reason: &str, cause: Cause) {
        // While its cluster is known.
        let stopped_in = match cause {
            Cause::Stopped => None,
            Cause::Lost | Cause::Moved => self.stopped_in(key, outbox.now.steady),
        };
        if !self.withdraw(outbox, key, reason, cause) {
            return;
        }
        if let Some(pause) = stopped_in {
            self.hold_back(outbox, key, pause);
        } else if let Err(message) = self.queue_or_wait(outbox, key, &[]) {
            self.fail(outbox, key, message);
        }
        // Where the shared volume is to be may be open again.
        self.sharing_changed(outbox, key.build);
    }

    /// How long the command of an exclusive job may still run where it is, if it may: until its cluster's lease ends.
    fn stopped_in(&self, key: JobKey, now: Moment) -> Option<Duration> {
        let (_, job) = self.builds.job(key)?;
        if !job.node.extensions.as_ref()?.exclusive || planted(Bug::ExclusiveNotHeldBack) {
            return None;
        }
        let cluster = job.attempt().and(job.status.cluster.as_ref())?;
        let left = match self.clusters.by_name(cluster) {
            Some((_, member)) => member.acts_until?.since(now),
            None => self
                .removed_until
                .map_or(self.settings.longest_lease(), |until| until.since(now)),
        };
        (!left.is_zero()).then_some(left)
    }

    /// Has a job wait that was taken away from its cluster, until its command is stopped there.
    fn hold_back(&mut self, outbox: &mut Outbox, key: JobKey, pause: Duration) {
        let Some(job) = self.builds.job_mut(key) else { return };
        let due = Timestamp(
            outbox
                .now
                .wall
                .0
                .saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
        );
        job.status.put_off(due);
        job.status
            .message
            .push_str("; it is `exclusive`, and starts when its command is sure to be stopped there");
        outbox.touch(key, job);
        self.deadlines.insert((outbox.now.steady + pause, Deadline::Retry(key)));
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
        } else if cause != Cause::Moved && status.replacements >= max_replacements {
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
        let log_lines = status.log_lines.take();
        // What an attempt went through that only makes an output again is nothing that the job went through.
        if let Some(cluster) = status.cluster.take()
            && cause != Cause::Moved
            && !status.is_recovering()
        {
            status.note_replaced(Replaced {
                epoch: status.epoch,
                cluster,
                reason: one_line(reason, MAX_REASON_BYTES),
                at: outbox.now.wall,
                log_lines,
            });
        }
        status.state = JobState::Waiting;
        status.replacements += u32::from(cause != Cause::Moved);
        status.message = format!("placed again: {reason}");
        status.started_at = None;
        status.inputs.clear();
        outbox.touch(key, job);
        true
    }
}
