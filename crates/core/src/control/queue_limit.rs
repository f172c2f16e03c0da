//! Jobs that may wait for a cluster only so long, because they say so.

use std::time::Duration;

use super::Control;
use super::builds::{JobKey, LiveJob};
use super::lease::Deadline;
use super::outbox::Outbox;
use crate::build::JobState;
use crate::placement::words::span;
use crate::time::{Now, Timestamp};

impl Control {
    /// Looks again at a queued job when its time for finding a cluster is over, if it has such a limit.
    pub(super) fn limit_wait(&mut self, key: JobKey, now: Now) {
        let left = self.builds.job(key).and_then(|(_, job)| job.queue_time_left(now.wall));
        if let Some(left) = left {
            self.deadlines.insert((now.steady + left, Deadline::Queued(key)));
        }
    }

    /// The time of a job for finding a cluster may be over: then it ends as `error`.
    pub(super) fn queued_due(&mut self, outbox: &mut Outbox, key: JobKey) {
        let Some((_, job)) = self.builds.job(key) else { return };
        match (job.queue_time_left(outbox.now.wall), job.queue_limit()) {
            (Some(Duration::ZERO), Some(limit)) => {
                let explanation = self.explain(job.id()).unwrap_or_default();
                // Time is no help where waiting is none.
                let help = explanation.advice.as_deref().unwrap_or("give it more time");
                let message = format!(
                    "it found no cluster within {} (`timeouts.queue`): {}; {help}",
                    span(limit),
                    explanation.summary
                );
                self.fail_waiting(outbox, key, message);
            }
            // It was queued again since.
            (Some(_), _) => self.limit_wait(key, outbox.now),
            (None, _) => {}
        }
    }
}

impl LiveJob {
    /// One that has ended, and only makes its output again, has waited already.
    fn queue_limit(&self) -> Option<Duration> {
        if self.status.is_recovering() {
            return None;
        }
        self.node.extensions.as_ref()?.limits.queue
    }

    /// Notes since when it waits for a cluster, if that may take only so long.
    pub(super) fn note_queued(&mut self, now: Timestamp) {
        if self.queue_limit().is_some() {
            self.status.course.get_or_insert_default().queued_since = Some(now);
        }
    }

    /// How much time it has left to find a cluster; none if that is not limited, or not what it waits for.
    fn queue_time_left(&self, now: Timestamp) -> Option<Duration> {
        let limit = self.queue_limit().filter(|_| self.status.state == JobState::Queued)?;
        let since = self.status.course.as_ref()?.queued_since?;
        Some(limit.saturating_sub(Duration::from_millis(now.0.saturating_sub(since.0))))
    }
}
