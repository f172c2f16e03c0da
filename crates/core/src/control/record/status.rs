//! What of a job changes: how far it is, how it ended, and what became of its output since.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Course;
use crate::attempt::{OutputReference, TransferReceipt};
use crate::build::{JobState, TerminalState};
use crate::id::{Epoch, JobId};
use crate::name::ClusterName;
use crate::time::Timestamp;

/// The part of a job that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// The job.
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// The epoch of its latest attempt; 0 before the first.
    pub epoch: Epoch,
    /// The cluster of its latest attempt.
    pub cluster: Option<ClusterName>,
    /// For people: why it is in this state, if that needs a word.
    pub message: String,
    /// The command's exit code.
    pub exit_code: Option<i32>,
    /// When it was first ready to run.
    pub queued_at: Option<Timestamp>,
    /// When its command started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Somebody asked for its end.
    pub cancel_requested: bool,
    /// What it left behind.
    pub output: Option<OutputReference>,
    /// How its inputs came.
    pub inputs: Vec<TransferReceipt>,
    /// How many lines its log has, once it has ended.
    pub log_lines: Option<u64>,
    /// How many of its attempts were lost by the system and replaced, or made its output again.
    pub replacements: u32,
    /// What became of its output, if that was lost after the job had ended.
    pub loss: Option<Box<Loss>>,
    /// What it went through before its latest attempt, if that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub course: Option<Box<Course>>,
}

/// An output was lost after its job had ended. The job stays ended, whatever becomes of the attempt that makes the output again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// For people: why what `output` names cannot be had; none once it was made again.
    pub reason: Option<String>,
    /// The attempt that the job's end is of. Later ones are there for the output only.
    pub epoch: Epoch,
    /// How the job ended, for as long as an attempt makes its output again: state and words of the status are that attempt's then.
    pub end: Option<End>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The state.
    pub state: TerminalState,
    /// For people: why, if that needs a word.
    pub message: String,
    /// The command's exit code.
    pub exit_code: Option<i32>,
    /// The cluster that ran it.
    pub cluster: Option<ClusterName>,
    /// When its command started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How its inputs came.
    pub inputs: Vec<TransferReceipt>,
    /// How many lines its log has.
    pub log_lines: Option<u64>,
}

/// What is known of the length of an attempt's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptLog {
    /// The attempt goes on, or is still to come.
    Grows,
    /// The attempt is over; how many lines it has written is not known.
    Over,
    /// The attempt is over, and has written so many lines.
    Lines(u64),
}

impl JobStatus {
    /// How the job ended, if it has: also while an attempt makes its output again.
    pub fn ended(&self) -> Option<TerminalState> {
        self.end().map_or(self.state.terminal(), |end| Some(end.state))
    }

    /// How the job ended, while an attempt makes its output again.
    pub fn end(&self) -> Option<&End> {
        self.loss.as_ref()?.end.as_ref()
    }

    /// Whether an attempt makes the output of a job again that has ended.
    pub fn is_recovering(&self) -> bool {
        self.end().is_some()
    }

    /// Why what [`output`](Self::output) names cannot be had (now), if that is so.
    pub fn output_lost(&self) -> Option<&str> {
        self.loss.as_ref()?.reason.as_deref()
    }

    /// The output, if it is kept somewhere as far as is known.
    pub fn kept_output(&self) -> Option<OutputReference> {
        self.output.filter(|_| self.output_lost().is_none())
    }

    /// The attempt that counts for whoever reads the job's log: the latest, but of those that made its output again.
    pub fn log_epoch(&self) -> Epoch {
        self.loss.as_ref().map_or(self.epoch, |loss| loss.epoch)
    }

    /// What is known of the length of an attempt's log.
    pub fn log_of(&self, epoch: Epoch) -> AttemptLog {
        // Between two attempts, also while the next one has no cluster yet, the log waits for it.
        let between = epoch == self.epoch && matches!(self.state, JobState::Waiting | JobState::Queued);
        if let Some(earlier) = self.try_of(epoch).filter(|_| !between) {
            return earlier.log_lines.map_or(AttemptLog::Over, AttemptLog::Lines);
        }
        if let Some(replaced) = self.replaced_of(epoch).filter(|_| !between) {
            return replaced.log_lines.map_or(AttemptLog::Over, AttemptLog::Lines);
        }
        let counts = epoch == self.log_epoch();
        let (over, lines) = match self.end() {
            Some(end) if counts => (true, end.log_lines),
            Some(_) => (epoch < self.epoch, None),
            None => {
                let over = epoch < self.epoch || self.state.terminal().is_some();
                (over, self.log_lines.filter(|_| counts))
            }
        };
        match (over, lines) {
            (false, _) => AttemptLog::Grows,
            (true, None) => AttemptLog::Over,
            (true, Some(lines)) => AttemptLog::Lines(lines),
        }
    }

    /// The job as it ended: an attempt that makes its output again is left out of it.
    pub fn as_ended(&self) -> Cow<'_, Self> {
        let Some(end) = self.end() else {
            return Cow::Borrowed(self);
        };
        let mut status = self.clone();
        status.cluster = None;
        status.put_back(end.clone());
        // What is waited for is the attempt that makes its output again.
        status.forget_retry();
        Cow::Owned(status)
    }

    /// Notes that the output is lost, and that nobody makes it again.
    pub(crate) fn note_loss(&mut self, reason: String) {
        let epoch = self.log_epoch();
        self.loss = Some(Box::new(Loss {
            reason: Some(reason),
            epoch,
            end: None,
        }));
    }

    /// Puts aside how the job ended: what is said from now on is of an attempt that makes its output again.
    pub(in crate::control) fn put_aside(&mut self, state: TerminalState, reason: String) {
        let epoch = self.log_epoch();
        let end = self.take_end(state);
        self.loss = Some(Box::new(Loss {
            reason: Some(reason),
            epoch,
            end: Some(end),
        }));
    }

    /// Takes out how an attempt ended, as `state`.
    pub(super) fn take_end(&mut self, state: TerminalState) -> End {
        End {
            state,
            message: std::mem::take(&mut self.message),
            exit_code: self.exit_code.take(),
            cluster: self.cluster.take(),
            started_at: self.started_at.take(),
            ended_at: self.ended_at.take(),
            inputs: std::mem::take(&mut self.inputs),
            log_lines: self.log_lines.take(),
        }
    }

    /// The job is again as it ended. The cluster is that of the attempt that made its output again, if there was one.
    pub(in crate::control) fn put_back(&mut self, end: End) {
        self.state = JobState::Terminal(end.state);
        self.message = end.message;
        self.exit_code = end.exit_code;
        self.cluster = self.cluster.take().or(end.cluster);
        self.started_at = end.started_at;
        self.ended_at = end.ended_at;
        self.inputs = end.inputs;
        self.log_lines = end.log_lines;
        self.cancel_requested = false;
        if let Some(loss) = &mut self.loss {
            loss.end = None;
        }
    }
}
