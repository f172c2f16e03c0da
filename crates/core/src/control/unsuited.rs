//! Jobs that no cluster suits, or that pass a limit by themselves, do not wait for ever: after a time they end, and say why.

use std::time::Duration;

use super::Control;
use super::builds::{JobKey, LiveBuild, LiveJob};
use super::lease::Deadline;
use super::outbox::Outbox;
use super::queue::ClassId;
use super::volumes::demand;
use crate::placement::{Miss, misses};
use crate::time::Moment;

/// The least time between two looks at jobs that ask the same.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

impl Control {
    /// Has a class of jobs looked at when the first of them may have waited long enough.
    pub(super) fn watch(&mut self, class: ClassId, now: Moment) {
        if let Some(after) = self.settings.unschedulable_after
            && self.queue.watch(class)
        {
            self.deadlines.insert((now + after, Deadline::Unsuited(class)));
        }
    }

    /// Has those classes looked at too that have got jobs again which waited elsewhere meanwhile.
    pub(super) fn watch_again(&mut self, now: Moment) {
        for class in self.queue.take_unwatched() {
            self.watch(class, now);
        }
    }

    /// Looks at a class of jobs: those end that have waited long enough, if no cluster suits them or they pass a limit by themselves.
    pub(super) fn unsuited_due(&mut self, outbox: &mut Outbox, class: ClassId) {
        let Some(after) = self.settings.unschedulable_after else {
            return;
        };
        let jobs: Vec<JobKey> = self.queue.jobs(class).collect();
        let next = match jobs.first().and_then(|key| self.builds.job(*key)) {
            None => {
                self.queue.let_be(class);
                return;
            }
            Some((build, job)) if self.would_suit(build, job) => {
                let over_limits: Vec<JobKey> = self.queue.jobs_over_limits(class).collect();
                self.end_unsuited(outbox, &over_limits, after)
            }
            Some(_) => self.end_unsuited(outbox, &jobs, after),
        };
        let at = outbox.now.steady + next.max(BETWEEN_LOOKS);
        self.deadlines.insert((at, Deadline::Unsuited(class)));
    }

    /// Ends those of the jobs that have waited so long, up to the limit for one command. How long until the next has.
    fn end_unsuited(&mut self, outbox: &mut Outbox, jobs: &[JobKey], after: Duration) -> Duration {
        let (mut left, mut next) = (self.settings.max_placements_per_command, after);
        for key in jobs {
            let Some((_, job)) = self.builds.job(*key) else {
                continue;
            };
            let queued_at = job.status.queued_at.unwrap_or(outbox.now.wall);
            let waited = Duration::from_millis(outbox.now.wall.0.saturating_sub(queued_at.0));
            if waited < after {
                next = next.min(after.saturating_sub(waited));
            } else if left == 0 {
                return Duration::ZERO;
            } else {
                let explanation = self.explain(job.id()).unwrap_or_default();
                let way_out = explanation
                    .advice
                    .map(|advice| format!("; {advice}"))
                    .unwrap_or_default();
                let why = format!("{}{way_out}", explanation.summary);
                left -= 1;
                self.fail_waiting(outbox, *key, format!("it has waited for {after:?} in vain: {why}"));
            }
        }
        next
    }

    /// Whether a cluster would suit the job if it was there, was empty and took jobs.
    fn would_suit(&self, build: &LiveBuild, job: &LiveJob) -> bool {
        let volumes = self.volume_needs(build, job);
        let demand = demand(build, job, &volumes);
        let mut members = self.clusters.iter();
        members.any(|(_, member)| {
            let misses = misses(&demand, &member.candidate());
            // One that is away may have become larger.
            let is_away = misses.contains(&Miss::Disconnected);
            misses.iter().all(|miss| miss.passes() || is_away && miss.is_reported())
        })
    }
}
