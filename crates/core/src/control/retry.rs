//! Runs jobs again whose attempt has ended, where the job says so.
//!
//! A job between two attempts is `Waiting`, as one that waits for its parents, with the time of the next in its record: so it
//! survives a restart, and whatever ends jobs that wait (cancelling above all) ends it.

use std::time::Duration;

use super::Control;
use super::builds::{JobKey, LiveJob};
use super::lease::Deadline;
use super::outbox::Outbox;
use super::record::JobStatus;
use super::report::one_line;
use crate::build::TerminalState;
use crate::build::retry::Retry;
use crate::placement::words::span;
use crate::time::{Now, Timestamp};

/// The longest account of an attempt that another one follows, in bytes: each of them is kept in the job's record.
const MAX_MESSAGE_BYTES: usize = 512;

impl Control {
    /// An attempt has ended as `state`, which its job's status says already. Whether another one follows, because the job says so.
    pub(super) fn try_again(&mut self, outbox: &mut Outbox, key: JobKey, state: TerminalState) -> bool {
        let Some((_, job)) = self.builds.job(key) else {
            return false;
        };
        let Some(pause) = pause(job, state) else { return false };
        // While its cluster is known.
        self.release(key);
        let Some(job) = self.builds.job_mut(key) else {
            return false;
        };
        job.status.message = one_line(&job.status.message, MAX_MESSAGE_BYTES);
        let words = account(job, state, pause);
        let milliseconds = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let due = Timestamp(outbox.now.wall.0.saturating_add(milliseconds));
        job.status.put_aside_try(state, due);
        job.status.message = words;
        outbox.touch(key, job);
        self.deadlines.insert((outbox.now.steady + pause, Deadline::Retry(key)));
        self.sharing_changed(outbox, key.build);
        true
    }

    /// The next attempt of a job is due, if the job still waits for that.
    pub(super) fn retry_due(&mut self, outbox: &mut Outbox, key: JobKey) {
        let Some((build, job)) = self.builds.job(key) else {
            return;
        };
        if job.status.retry_at().is_none() {
            return;
        }
        let lost = self.lost_volume(build, job);
        if let Some(job) = self.builds.job_mut(key) {
            job.status.forget_retry();
            outbox.touch(key, job);
        }
        let outcome = match lost {
            Some(message) => Err(message),
            None => self.queue_or_wait(outbox, key, &[]),
        };
        if let Err(message) = outcome {
            self.fail(outbox, key, message);
        }
    }

    /// Waits again for the next attempt of a job, as before a restart.
    pub(super) fn resume_retry(&mut self, key: JobKey, due: Timestamp, now: Now) {
        // As all leases begin anew, and calendars of two machines differ.
        let is_held_back = self.builds.job(key).is_some_and(|(_, job)| job.status.is_held_back());
        let left = match is_held_back {
            true => self.settings.longest_lease(),
            false => Duration::from_millis(due.0.saturating_sub(now.wall.0)),
        };
        self.deadlines.insert((now.steady + left, Deadline::Retry(key)));
    }
}

impl LiveJob {
    /// When it runs again.
    pub(super) fn retry(&self) -> Option<&Retry> {
        self.node.extensions.as_ref()?.retry.as_ref()
    }
}

/// How long to wait before another attempt; none if this one is the last.
fn pause(job: &LiveJob, state: TerminalState) -> Option<Duration> {
    let JobStatus { cancel_requested, .. } = job.status;
    let retry = job
        .retry()
        .filter(|_| !cancel_requested && !job.status.is_recovering())?;
    let followed = u32::try_from(job.status.tries().len()).unwrap_or(u32::MAX);
    (followed < retry.count && retry.states.contains(state)).then(|| retry.backoff.pause(followed))
}

/// Why the job waits, in words that stay true.
fn account(job: &LiveJob, state: TerminalState, pause: Duration) -> String {
    let number = job.status.tries().len() + 1;
    let all = job.retry().map_or(1, |retry| retry.count + 1);
    let why = match (job.status.message.as_str(), job.status.exit_code) {
        ("", Some(code)) => format!(" (exit code {code})"),
        ("", None) => String::new(),
        (message, _) => format!(": {message}"),
    };
    let pause = span(pause);
    format!("retried {pause} after attempt {number} of {all} ended as `{state}`{why}")
}
