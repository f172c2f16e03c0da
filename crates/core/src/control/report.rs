//! Takes in how far an attempt is.

use super::builds::{JobKey, LiveJob};
use super::outbox::Outbox;
use super::record::{JobStatus, Loss};
use super::{Control, Generated, Refusal, Reply};
use crate::attempt::{Outcome, Phase, TransferReceipt};
use crate::build::{JobState, TerminalState};
use crate::id::{AttemptId, SessionId};
use crate::name::ClusterName;
use crate::planted::{Bug, planted};
use crate::session::Order;
use crate::time::Timestamp;

/// How many receipts are kept besides, for parents that are arrays: the others came like these.
const MAX_RECEIPTS_OF_INDEXES: usize = 64;

/// The longest message of an agent that is kept, in bytes: one line for people.
const MAX_MESSAGE_BYTES: usize = 4096;

impl Control {
    pub(super) fn report(
        &mut self,
        outbox: &mut Outbox,
        (cluster, session): (&ClusterName, SessionId),
        attempt: AttemptId,
        phase: Phase,
        generated: Option<Box<Generated>>,
    ) -> Result<Reply, Refusal> {
        self.check_session(cluster, session)?;
        self.take_in(outbox, cluster, attempt, phase, generated)
    }

    /// Takes in what the cluster says of an attempt. What does not count (any more) is to be forgotten there.
    pub(super) fn take_in(
        &mut self,
        outbox: &mut Outbox,
        cluster: &ClusterName,
        attempt: AttemptId,
        phase: Phase,
        generated: Option<Box<Generated>>,
    ) -> Result<Reply, Refusal> {
        let key = self.builds.key(attempt.job);
        let job = key.and_then(|key| Some((key, self.builds.job_mut(key)?)));
        let own = job.filter(|(_, job)| {
            let is_latest = job.status.epoch == attempt.epoch || is_epoch_overlooked(&phase);
            is_latest && job.status.cluster.as_ref() == Some(cluster)
        });
        let Some((key, job)) = own else {
            outbox.order(cluster, Order::Forget(attempt));
            return Err(Refusal::StaleAttempt(attempt));
        };
        if job.attempt().is_none() {
            // Its end was taken in, and the agent does not know that yet; or it was given up, and is not to go on.
            outbox.order(cluster, Order::Forget(attempt));
            return match phase {
                Phase::Ended(_) => Ok(Reply::Done),
                _ => Err(Refusal::StaleAttempt(attempt)),
            };
        }
        match phase {
            // Without a word on the jobs that it brings it would be an end without them: it is reported again.
            Phase::Ended(outcome) if outcome.generated.is_some() && generated.is_none() => {}
            Phase::Ended(outcome) => self.attempt_ended(outbox, key, (cluster, attempt), outcome, generated),
            phase if phase.rank() > rank(job.status.state) => {
                advance(job, phase, outbox.now.wall);
                outbox.touch(key, job);
                let starts = has_started(job.status.state);
                if let Some(index) = self.clusters.index(cluster).filter(|_| starts) {
                    self.clusters.note_held_up(index, key, false);
                }
            }
            _ => {}
        }
        Ok(Reply::Done)
    }

    fn attempt_ended(
        &mut self,
        outbox: &mut Outbox,
        key: JobKey,
        (cluster, attempt): (&ClusterName, AttemptId),
        outcome: Outcome,
        generated: Option<Box<Generated>>,
    ) {
        if self.take_in_losses(outbox, key, &outcome) {
            return;
        }
        if outcome.lost || outcome.lease_ended {
            self.note_log(key, &outcome);
        }
        if outcome.lost {
            return self.replace_stopped(
                outbox,
                key,
                &format!("its command ended with its machine, or by force, on cluster `{cluster}`"),
            );
        }
        if outcome.lease_ended {
            return self.replace_stopped(
                outbox,
                key,
                &format!("its command was stopped because the lease of cluster `{cluster}` ended"),
            );
        }
        let Some(job) = self.builds.job_mut(key) else { return };
        // An attempt that only makes an output again leaves nothing else.
        let counts = !job.status.is_recovering();
        let cache = outcome.cache.as_deref().copied().filter(|_| counts);
        let mut state = conclude(job, outcome, outbox.now.wall);
        let generated = generated.filter(|_| counts && state == TerminalState::Finished);
        if let Some(Err(message)) = generated.map(|generated| self.generate(outbox, key, *generated)) {
            state = TerminalState::Error;
            if let Some(job) = self.builds.job_mut(key) {
                job.status.message = one_line(&message, MAX_MESSAGE_BYTES);
            }
        }
        let Some(job) = self.builds.job_mut(key) else { return };
        let left_output = job.status.kept_output().is_some();
        outbox.order(cluster, Order::Forget(attempt));
        if counts && self.try_again(outbox, key, state) {
            return;
        }
        if left_output {
            outbox.outputs.push(key);
        }
        if let Some(cache) = cache.filter(|_| state == TerminalState::Finished) {
            self.keep_cache(outbox, key, cluster, cache);
        }
        self.end(outbox, key, state);
    }

    /// Notes how long the log of an attempt is that is to be given up: so much of it is still taken.
    pub(super) fn note_log(&mut self, key: JobKey, outcome: &Outcome) {
        if let Some(job) = self.builds.job_mut(key) {
            job.status.log_lines = Some(outcome.log_lines);
        }
    }

    /// Refuses what does not come from the cluster's present session.
    pub(super) fn check_session(&self, cluster: &ClusterName, session: SessionId) -> Result<(), Refusal> {
        let (_, member) = self
            .clusters
            .by_name(cluster)
            .ok_or_else(|| Refusal::not_found("cluster", cluster))?;
        if member.session == Some(session) {
            Ok(())
        } else {
            Err(Refusal::StaleSession)
        }
    }
}

fn is_epoch_overlooked(phase: &Phase) -> bool {
    planted(match phase {
        Phase::Ended(_) => Bug::OutputOfAnyEpoch,
        _ => Bug::StatusOfAnyEpoch,
    })
}

/// The rank of the phase that a state stands for, as [`Phase::rank`].
fn rank(state: JobState) -> u8 {
    match state {
        // An attempt that was accepted is still `Assigned`: it need not be known, since assigning it again does no harm.
        JobState::Waiting | JobState::Queued | JobState::Assigned => 0,
        JobState::Preparing => 1,
        JobState::Running => 2,
        JobState::Publishing => 3,
        JobState::Terminal(_) => 4,
    }
}

/// Whether a command is under way, or was.
pub(super) fn has_started(state: JobState) -> bool {
    rank(state) >= Phase::BEGUN
}

/// Moves the job on to a phase that lies ahead of it, and is not the end.
fn advance(job: &mut LiveJob, phase: Phase, now: Timestamp) {
    let limit = max_inputs(job);
    let status = &mut job.status;
    match phase {
        Phase::Accepted | Phase::Ended(_) => {}
        Phase::Preparing => status.state = JobState::Preparing,
        Phase::Running { started_at, inputs } => {
            status.state = JobState::Running;
            status.started_at = Some(started_at.min(now));
            status.inputs = bounded(inputs, limit);
        }
        Phase::Publishing => status.state = JobState::Publishing,
    }
    // What was said of an earlier attempt is of no interest once this one is under way.
    status.message.clear();
}

/// Notes how the attempt ended, and says how the job therefore ends.
fn conclude(job: &mut LiveJob, outcome: Outcome, now: Timestamp) -> TerminalState {
    let limit = max_inputs(job);
    job.waits = None;
    let status = &mut job.status;
    status.exit_code = outcome.exit_code;
    status.log_lines = Some(outcome.log_lines);
    take_output(status, &outcome);
    status.ended_at = Some(outcome.ended_at.min(now));
    if let Some(started_at) = outcome.started_at {
        status.started_at = Some(started_at.min(now));
    }
    if !outcome.inputs.is_empty() {
        status.inputs = bounded(outcome.inputs, limit);
    }
    status.message = one_line(&outcome.message, MAX_MESSAGE_BYTES);
    match outcome.state {
        _ if status.cancel_requested => {
            status.message = "cancelled".to_owned();
            TerminalState::Killed
        }
        TerminalState::Skipped => {
            status.message = "its agent reported the state `skipped`, which no attempt can have".to_owned();
            TerminalState::Error
        }
        state => state,
    }
}

/// Takes what the attempt has left. One that makes an output again has done so only if it ended as the job had.
fn take_output(status: &mut JobStatus, outcome: &Outcome) {
    if let Some(Loss {
        end: Some(end), reason, ..
    }) = status.loss.as_deref_mut()
    {
        if outcome.state != end.state || outcome.output.is_none() {
            return;
        }
        *reason = None;
    }
    status.leave(outcome.output);
}

/// One receipt for each parent, one for the source, and one for the cache.
fn max_inputs(job: &LiveJob) -> usize {
    let arrays = job.node.parents.len().min(1) * MAX_RECEIPTS_OF_INDEXES;
    job.node.parents.len() + arrays + 1 + usize::from(job.node.cache)
}

fn bounded(mut inputs: Vec<TransferReceipt>, limit: usize) -> Vec<TransferReceipt> {
    inputs.truncate(limit);
    inputs.shrink_to_fit();
    inputs
}

/// The text as one line of at most `limit` bytes, without control characters (a database may refuse NUL).
pub(super) fn one_line(text: &str, limit: usize) -> String {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end]
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_one_short_line() {
        for (text, line) in [
            ("", String::new()),
            ("exit 1", "exit 1".to_owned()),
            ("a\nb\0c\u{1b}[1m", "a b c [1m".to_owned()),
            (&"é".repeat(4096), "é".repeat(2048)),
            (&format!("x{}", "é".repeat(4096)), format!("x{}", "é".repeat(2047))),
        ] {
            assert_eq!(one_line(text, MAX_MESSAGE_BYTES), line);
        }
    }
}
