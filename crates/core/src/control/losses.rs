//! Takes in that an attempt could not get its inputs, and decides what becomes of its job.
//!
//! An agent is believed only what it can know: that clusters which it was told to ask did not give what it asked for. Whether an output is
//! lost by that is worked out here, from the clusters that have it now.

use super::builds::{JobKey, LiveBuild, LiveJob};
use super::outbox::Outbox;
use super::recover::Lost;
use super::replace::Cause;
use super::report::one_line;
use super::{Contact, Control};
use crate::attempt::{LostInput, Outcome};
use crate::build::{JobState, TerminalState};
use crate::name::ClusterName;
use crate::planted::{Bug, planted};

/// The longest account of a job's lost attempt, in bytes.
const MAX_REASON_BYTES: usize = 1024;

/// How many inputs of one attempt are looked at: an agent names the first that it could not get.
const MAX_LOST: usize = 256;

/// What it means for a job that an input was not to be had.
enum Verdict {
    /// It says nothing that could be helped: the attempt ended as its agent says.
    Stands,
    /// Something has changed since it was placed, or there are others who have the input: it is worth another attempt.
    Again,
    /// It waits until one of the clusters that have the input connects, or is lost.
    Await(String),
    /// The input is lost.
    Lost(u32, String),
}

impl Control {
    /// An attempt ended. If that was for want of inputs, before its command had started, its job may be helped. Whether that was
    /// taken care of.
    pub(super) fn take_in_losses(&mut self, outbox: &mut Outbox, key: JobKey, outcome: &Outcome) -> bool {
        let Some((build, job)) = self.builds.job(key) else {
            return false;
        };
        let status = &job.status;
        let begun = outcome.started_at.is_some() || !matches!(status.state, JobState::Assigned | JobState::Preparing);
        if begun || outcome.state != TerminalState::Error || status.cancel_requested || outcome.lost_inputs.is_empty() {
            return false;
        }
        let (mut lost, mut awaited) = (Lost::new(), None);
        for input in outcome.lost_inputs.iter().take(MAX_LOST) {
            match self.judge(build, job, input) {
                Verdict::Stands => return false,
                Verdict::Again => {}
                Verdict::Await(message) => awaited = Some(message),
                Verdict::Lost(parent, reason) => lost.push((parent, reason)),
            }
        }
        self.note_log(key, outcome);
        if !self.withdraw(outbox, key, &one_line(&outcome.message, MAX_REASON_BYTES), Cause::Lost) {
            return true;
        }
        match awaited.filter(|_| lost.is_empty()) {
            Some(message) => self.park(outbox, key, message),
            None => {
                if let Err(message) = self.queue_or_wait(outbox, key, &lost) {
                    self.fail(outbox, key, message);
                }
            }
        }
        self.sharing_changed(outbox, key.build);
        true
    }

    fn judge(&self, build: &LiveBuild, job: &LiveJob, input: &LostInput) -> Verdict {
        let parent = build.giver(job, input.parent);
        let Some((parent, output)) = parent.and_then(|parent| Some((parent, parent.status.output?))) else {
            return Verdict::Stands;
        };
        if parent.status.is_recovering() || output.manifest != input.manifest {
            return Verdict::Again;
        }
        let holders = self.holders(build, parent);
        let asked = |name: &ClusterName| input.missing.contains(name) || input.unreachable.contains(name);
        if holders.iter().any(|name| !asked(name)) {
            return Verdict::Again;
        }
        let silent: Vec<&ClusterName> = holders
            .into_iter()
            .filter(|name| input.unreachable.contains(name))
            .collect();
        let Some(first) = silent.first().filter(|_| !planted(Bug::SilenceTakenForLoss)) else {
            return Verdict::Lost(parent.index, self.account(build, parent, input));
        };
        if silent.iter().any(|name| self.contact(name) == Some(Contact::Connected)) {
            return Verdict::Stands;
        }
        let parent = parent.name();
        Verdict::Await(format!(
            "it waits for cluster `{first}` to connect, which has the output of its parent `{parent}`"
        ))
    }

    /// Why an output is lost, as those say who wanted it.
    fn account(&self, build: &LiveBuild, parent: &LiveJob, input: &LostInput) -> String {
        let silent = self.loss(build, parent, super::holders::Trust::InContact);
        silent.unwrap_or_else(|| {
            let names: Vec<String> = input.missing.iter().map(|name| format!("`{name}`")).collect();
            match names.len() {
                1 => format!("cluster {}, which had it, does not have it any more", names[0]),
                _ => format!("none of the clusters {} has it any more", names.join(", ")),
            }
        })
    }

    /// Has a job wait for a cluster that has one of its inputs.
    fn park(&mut self, outbox: &mut Outbox, key: JobKey, message: String) {
        let Some(job) = self.builds.job_mut(key) else { return };
        job.status.state = JobState::Waiting;
        job.status.message = message;
        outbox.touch(key, job);
        self.parked.insert(key);
    }

    /// A cluster has connected, is lost or was removed: queues the jobs that waited for it because of their inputs.
    pub(super) fn wake_parked(&mut self, outbox: &mut Outbox) {
        for key in self.parked.clone() {
            let Some((build, job)) = self.builds.job(key) else {
                self.parked.remove(&key);
                continue;
            };
            let waits = job.status.state == JobState::Waiting && build.pending(job.index) == 0;
            if waits && build.givers(job).any(|parent| self.is_away(build, parent)) {
                continue;
            }
            self.parked.remove(&key);
            // What waits for its parents again is queued when these have ended.
            if waits && let Err(message) = self.queue_or_wait(outbox, key, &[]) {
                self.fail(outbox, key, message);
            }
        }
    }

    /// Whether clusters have the output of a job, but none of them is connected.
    fn is_away(&self, build: &LiveBuild, job: &LiveJob) -> bool {
        let holders = self.holders(build, job);
        let connected = |name: &&ClusterName| self.contact(name) == Some(Contact::Connected);
        !holders.is_empty() && !holders.iter().any(connected)
    }
}
