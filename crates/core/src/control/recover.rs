//! Makes outputs again that were lost after their jobs had ended.
//!
//! A job that needs an input which no cluster has any more waits for its parent again: that gets another attempt, by the same way as
//! all attempts, while how it ended is put aside ([`Loss`](super::record::Loss)) and stays what everybody sees. Outputs that this
//! attempt needs in turn are made again before.

use std::collections::BTreeSet;

use super::builds::{JobKey, LiveBuild, LiveJob};
use super::holders::Trust;
use super::outbox::Outbox;
use super::report::one_line;
use super::volumes::demand;
use super::{Contact, Control};
use crate::build::{JobState, TerminalState};
use crate::placement::{Miss, misses};
use crate::session::{Order, StopReason};

/// The longest account of what became of an output, in bytes: a line for people.
const MAX_REASON_BYTES: usize = 1024;

/// Outputs that are lost: the jobs that left them, by index, and why each is.
pub(super) type Lost = Vec<(u32, String)>;

impl Control {
    /// Everything that the job waits for is there, as far as is known: it is queued. If an input is gone, or is among those that are
    /// `lost`, its parent makes it again, and the job waits for that. An error says which input cannot be had for good.
    pub(super) fn queue_or_wait(
        &mut self,
        outbox: &mut Outbox,
        key: JobKey,
        lost: &[(u32, String)],
    ) -> Result<(), String> {
        if let Err(message) = self.recover_inputs(outbox, key, Trust::Members, lost) {
            self.note_losses(outbox, key, lost);
            return Err(message);
        }
        match self.builds.job(key).map(|(build, job)| build.pending(job.index)) {
            Some(0) => self.enqueue(outbox, key),
            Some(_) => self.wait_again(outbox, key),
            None => {}
        }
        Ok(())
    }

    /// Whether a queued job can be placed. If an input is nowhere, the job waits until it was made again, or ends.
    pub(super) fn inputs_can_be_had(&mut self, outbox: &mut Outbox, key: JobKey) -> bool {
        match self.recover_inputs(outbox, key, Trust::InContact, &[]) {
            Ok(recovers) => !recovers,
            Err(message) => {
                self.fail(outbox, key, message);
                false
            }
        }
    }

    /// Begins to make those inputs of a job again that are lost. Whether there are any; an error says which cannot be made again.
    pub(super) fn recover_inputs(
        &mut self,
        outbox: &mut Outbox,
        key: JobKey,
        trust: Trust,
        lost: &[(u32, String)],
    ) -> Result<bool, String> {
        let plan = self.plan_recovery(key, trust, lost)?;
        let jobs = || plan.iter().map(|(index, _)| JobKey { index: *index, ..key });
        for (job, (_, reason)) in jobs().zip(&plan) {
            self.begin_recovery(outbox, job, reason);
        }
        for job in jobs() {
            if self
                .builds
                .job(job)
                .is_some_and(|(build, job)| build.pending(job.index) == 0)
            {
                self.enqueue(outbox, job);
            }
        }
        Ok(!plan.is_empty())
    }

    /// Which jobs have to run again so that the job has all its inputs, and why. Nothing is begun unless all of it can be.
    fn plan_recovery(&self, key: JobKey, trust: Trust, lost: &[(u32, String)]) -> Result<Lost, String> {
        let mut plan = Lost::new();
        let Some(build) = self.builds.get(key.build) else {
            return Ok(plan);
        };
        let mut planned = BTreeSet::new();
        let mut children = vec![key.index];
        while let Some(child) = children.pop() {
            let Some(job) = build.job(child) else { continue };
            for parent in build.givers(job) {
                let index = parent.index;
                // What an array that runs still leaves is looked at when it has ended.
                if planned.contains(&index) || build.only_array_cares(index) {
                    continue;
                }
                let told = lost
                    .iter()
                    .find(|(of, _)| *of == index)
                    .map(|(_, reason)| reason.clone());
                let Some(reason) = told.or_else(|| self.loss(build, parent, trust)) else {
                    continue;
                };
                if let Some(obstacle) = self.obstacle(build, parent) {
                    let whose = match child == key.index {
                        true => format!("its parent `{}`", parent.name()),
                        false => format!(
                            "`{}`, which is needed to make that of `{}` again,",
                            parent.name(),
                            job.name()
                        ),
                    };
                    return Err(format!("the output of {whose} is lost: {reason}{obstacle}"));
                }
                planned.insert(index);
                plan.push((index, reason));
                children.push(index);
            }
        }
        Ok(plan)
    }

    /// What keeps a job from running again, if anything does; empty if that is part of the reason for the loss.
    fn obstacle(&self, build: &LiveBuild, job: &LiveJob) -> Option<String> {
        let status = &job.status;
        if status.output_lost().is_some() {
            return Some(String::new());
        }
        if status.cancel_requested {
            return Some("; it was cancelled, and is not run again".to_owned());
        }
        if status.replacements >= self.settings.max_replacements {
            let attempts = status.replacements + 1;
            return Some(format!("; it is not run again after {attempts} attempts"));
        }
        // Of a job that was taken over, while its parent runs again and ends in another way.
        let refused = build.refused_by_parent(job);
        if let Some(message) = refused.or_else(|| self.lost_volume(build, job)) {
            return Some(format!("; it cannot be made again: {message}"));
        }
        (!self.has_place(build, job)).then(|| "; no other cluster is there that may run the job again".to_owned())
    }

    /// Whether a cluster that is not lost could run the job, now or later.
    fn has_place(&self, build: &LiveBuild, job: &LiveJob) -> bool {
        let volumes = self.volume_needs(build, job);
        let demand = demand(build, job, &volumes);
        let mut members = self.clusters.iter().map(|(_, member)| member);
        members.any(|member| {
            let misses = misses(&demand, &member.candidate());
            let for_now = |miss: &Miss| {
                matches!(
                    miss,
                    Miss::Disconnected | Miss::Full { .. } | Miss::Kept | Miss::Closed { .. }
                )
            };
            member.contact() != Contact::Lost && misses.iter().all(for_now)
        })
    }

    /// Puts aside how the job ended: it is to make its output again, and its children wait for it, also those that were queued.
    fn begin_recovery(&mut self, outbox: &mut Outbox, key: JobKey, reason: &str) {
        let Some(build) = self.builds.get_mut(key.build) else {
            return;
        };
        let Some(job) = build.job_mut(key.index) else { return };
        let Some(state) = job.status.state.terminal() else {
            return;
        };
        job.status.put_aside(state, one_line(reason, MAX_REASON_BYTES));
        job.status.state = JobState::Waiting;
        job.status.replacements += 1;
        job.status.message = "makes its output again, which was lost".to_owned();
        outbox.touch(key, job);
        let stage = job.node.stage();
        build.stages.reopen(stage);
        let parent = build.in_graph(key.index);
        for place in 0..build.edges.children(parent).len() {
            let index = build.edges.children(parent)[place];
            if let Some(child) = build.job_mut(index) {
                child.pending += 1;
            }
        }
        let queued = build.queued_children(key.index);
        self.recoveries.insert(key);
        for index in queued {
            self.wait_again(outbox, JobKey { index, ..key });
        }
    }

    /// Has a job wait for its parents that was queued, or has lost its attempt.
    fn wait_again(&mut self, outbox: &mut Outbox, key: JobKey) {
        self.dequeue(key);
        if let Some(job) = self.builds.job_mut(key) {
            job.status.state = JobState::Waiting;
            outbox.touch(key, job);
        }
    }

    /// Notes that outputs are lost which are not made again.
    fn note_losses(&mut self, outbox: &mut Outbox, key: JobKey, lost: &[(u32, String)]) {
        for (index, reason) in lost {
            let key = JobKey { index: *index, ..key };
            let Some(job) = self.builds.job_mut(key) else { continue };
            if job.status.output_lost().is_none() && job.status.state.terminal().is_some() {
                job.status.note_loss(one_line(reason, MAX_REASON_BYTES));
                outbox.touch(key, job);
            }
        }
    }

    /// Ends a job as `error`, and does what follows.
    pub(super) fn fail(&mut self, outbox: &mut Outbox, key: JobKey, message: String) {
        self.fail_only(outbox, key, message);
        self.follow(outbox, key.build, vec![key.index]);
    }

    /// A job has ended: stops the attempts that make outputs again which nobody is left to need. Says which jobs are over by that.
    pub(super) fn stop_useless(&mut self, outbox: &mut Outbox, ended: JobKey) -> Vec<u32> {
        if self.recoveries.is_empty() {
            return Vec::new();
        }
        let Some((build, job)) = self.builds.job(ended) else {
            return Vec::new();
        };
        if build.only_array_cares(ended.index) {
            return Vec::new();
        }
        let is_over = |child: &u32| {
            let mut jobs = build.with_indexes(*child);
            jobs.all(|job| job.status.state.terminal().is_some())
        };
        let parents: BTreeSet<u32> = job.node.parents.iter().map(|(parent, _)| *parent).collect();
        let needless = parents
            .into_iter()
            .filter(|parent| build.edges.children(*parent).iter().all(is_over));
        let recovering = needless.flat_map(|parent| build.with_indexes(parent));
        let recovering = recovering.filter(|parent| parent.status.is_recovering());
        let useless: Vec<u32> = recovering.map(|parent| parent.index).collect();
        let stop = |index: &u32| self.stop_recovery(outbox, JobKey { index: *index, ..ended });
        useless.into_iter().filter(stop).collect()
    }

    /// Stops an attempt that makes an output again. Whether it is over by that.
    fn stop_recovery(&mut self, outbox: &mut Outbox, key: JobKey) -> bool {
        let Some(job) = self.builds.job_mut(key) else {
            return false;
        };
        let Some(attempt) = job.attempt() else {
            job.status.message = "nobody is left who needs it".to_owned();
            self.end_only(outbox, key, TerminalState::Killed);
            return true;
        };
        if let Some(cluster) = job.status.cluster.as_ref().filter(|_| !job.status.cancel_requested) {
            let reason = StopReason::Cancelled;
            outbox.order(cluster, Order::Stop { attempt, reason });
            job.status.cancel_requested = true;
            outbox.touch(key, job);
        }
        false
    }

    /// A cluster is lost or was removed: outputs that could have been made again only there are lost for good.
    pub(super) fn fail_without_place(&mut self, outbox: &mut Outbox) {
        for key in self.recoveries.clone() {
            let Some((build, job)) = self.builds.job(key) else {
                continue;
            };
            if job.status.state == JobState::Queued && !self.has_place(build, job) {
                self.fail(outbox, key, "no cluster is left that may run it".to_owned());
            }
        }
    }
}

impl LiveJob {
    /// The attempt that made the output again is over, as `state`: the job is again as it had ended.
    pub(super) fn end_recovery(&mut self, state: TerminalState) {
        let status = &mut self.status;
        let message = std::mem::take(&mut status.message);
        let Some(loss) = &mut status.loss else { return };
        if let Some(reason) = &mut loss.reason {
            let why = if message.is_empty() {
                String::new()
            } else {
                format!(": {message}")
            };
            let account = format!("{reason}; an attempt to make it again ended as `{state}`{why}");
            *reason = one_line(&account, MAX_REASON_BYTES);
        }
        if let Some(end) = loss.end.take() {
            status.put_back(end);
        }
    }
}
