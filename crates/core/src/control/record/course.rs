//! What a job has gone through, if that was more than one attempt which ended.

use serde::{Deserialize, Serialize};

use super::{End, JobStatus, Loss};
use crate::attempt::OutputReference;
use crate::build::{JobState, TerminalState};
use crate::id::Epoch;
use crate::name::ClusterName;
use crate::placement::Choice;
use crate::time::Timestamp;

/// What a job has gone through before its latest attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// The attempts that ended, and that the job's retry has another one follow; the first one first.
    pub tries: Vec<Try>,
    /// When the next one is due, for as long as that is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// That is waited for because its command may still run elsewhere, and must not run twice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held_back: bool,
    /// Since when it waits for a cluster, or did so last, if that may take only so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_since: Option<Timestamp>,
    /// Of an array: how those of its indexes ended together that had not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unbegun: Option<Unbegun>,
    /// The clusters that were given a copy of its output because the one that made it was to go; the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<ClusterName>,
    /// The cluster that ran it was removed, and with it what the job had left there beside its output. Another one may have its name by now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub place_lost: bool,
    /// The cluster that it ended on was removed while the build ran, and with it the output and the inputs that were there. Another one may have its name by now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cluster_removed: bool,
    /// Why its cluster was chosen, of the attempt that the job ended with, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// The attempts that the system lost and replaced, the first one first; of very many the latest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Replaced>,
}

impl Course {
    /// How many replaced attempts are known at the most.
    pub const MAX_REPLACED: usize = 16;
    /// How many copies of an output are known at the most.
    pub const MAX_COPIES: usize = 4;
}

/// How indexes of an array ended that never began. They have no records of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbegun {
    /// The state of each.
    pub state: TerminalState,
    /// For people: why.
    pub message: String,
    /// When they ended.
    pub ended_at: Timestamp,
}

/// An attempt that the system lost, and that another one took the place of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Which attempt.
    pub epoch: Epoch,
    /// The cluster that had it.
    pub cluster: ClusterName,
    /// For people: why it was given up.
    pub reason: String,
    /// When that was.
    pub at: Timestamp,
    /// How many lines its log has, if its cluster has said so: as many are still taken.
    pub log_lines: Option<u64>,
}

/// An attempt that ended, and did not end its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// Which attempt.
    pub epoch: Epoch,
    /// How it ended.
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
    /// How many lines its log has.
    pub log_lines: Option<u64>,
}

impl JobStatus {
    /// The attempts that ended and that others followed, by the job's retry.
    pub fn tries(&self) -> &[Try] {
        self.course
            .as_ref()
            .map(|course| course.tries.as_slice())
            .unwrap_or_default()
    }

    /// Such an attempt, by its number.
    pub fn try_of(&self, epoch: Epoch) -> Option<&Try> {
        self.tries().iter().find(|earlier| earlier.epoch == epoch)
    }

    /// The attempts that the system lost and replaced, the first one first.
    pub fn replaced(&self) -> &[Replaced] {
        self.course
            .as_ref()
            .map(|course| course.replaced.as_slice())
            .unwrap_or_default()
    }

    /// Such an attempt, by its number.
    pub fn replaced_of(&self, epoch: Epoch) -> Option<&Replaced> {
        self.replaced().iter().find(|replaced| replaced.epoch == epoch)
    }

    /// What became of the attempts that the system lost, in words; empty if it lost none.
    pub fn account_of_replaced(&self) -> String {
        let words = |replaced: &Replaced| {
            let Replaced {
                epoch, cluster, reason, ..
            } = replaced;
            format!("attempt {} on cluster `{cluster}` was lost: {reason}", epoch.0)
        };
        self.replaced().iter().map(words).collect::<Vec<_>>().join("; ")
    }

    /// Keeps what is known of an attempt that another one takes the place of.
    pub(in crate::control) fn note_replaced(&mut self, replaced: Replaced) {
        let known = &mut self.course.get_or_insert_default().replaced;
        if known.len() == Course::MAX_REPLACED {
            known.remove(0);
        }
        known.push(replaced);
    }

    /// When the next attempt is due, if that is waited for.
    pub fn retry_at(&self) -> Option<Timestamp> {
        self.course.as_ref()?.retry_at
    }

    /// Whether the job finished, and not at its first try.
    pub fn is_flaky(&self) -> bool {
        self.ended() == Some(TerminalState::Finished) && !self.tries().is_empty()
    }

    /// The clusters that were given a copy of its output.
    pub fn copies(&self) -> &[ClusterName] {
        self.course
            .as_ref()
            .map(|course| course.copies.as_slice())
            .unwrap_or_default()
    }

    /// Whether the cluster that ran it was removed, and this was noted because of what it had left there.
    pub(in crate::control) fn has_lost_its_place(&self) -> bool {
        self.course.as_ref().is_some_and(|course| course.place_lost)
    }

    /// Notes that the cluster that ran it was removed.
    pub(in crate::control) fn lose_place(&mut self) {
        self.course.get_or_insert_default().place_lost = true;
    }

    /// Whether the cluster that it ended on is known to have been removed since: one of that name is another one.
    pub fn has_lost_its_cluster(&self) -> bool {
        self.course.as_ref().is_some_and(|course| course.cluster_removed)
    }

    /// The cluster that it ended on, unless that is known to have been removed since.
    pub(in crate::control) fn present_cluster(&self) -> Option<&ClusterName> {
        self.cluster.as_ref().filter(|_| !self.has_lost_its_cluster())
    }

    /// Whether the cluster of the status is the one that its inputs came to, or one that had them as well: not if an attempt there to make the
    /// output again has failed, perhaps before it was given anything.
    pub(in crate::control) fn inputs_are_on_its_cluster(&self) -> bool {
        let failed = |loss: &Loss| loss.end.is_none() && loss.reason.is_some() && loss.epoch != self.epoch;
        !self.loss.as_deref().is_some_and(failed)
    }

    /// Notes that a cluster was removed which may have the job's output, or its inputs. Whether that is news.
    pub(in crate::control) fn lose_cluster(&mut self, cluster: &ClusterName) -> bool {
        let has_something = self.kept_output().is_some() || !self.inputs.is_empty();
        let is_news = has_something && self.present_cluster() == Some(cluster);
        if is_news {
            self.course.get_or_insert_default().cluster_removed = true;
        }
        let had_copy = self.copies().contains(cluster);
        if let Some(course) = self.course.as_mut().filter(|_| had_copy) {
            course.copies.retain(|name| name != cluster);
        }
        is_news || had_copy
    }

    /// A cluster has its next attempt.
    pub(in crate::control) fn settle_on(&mut self, cluster: ClusterName) {
        self.cluster = Some(cluster);
        if let Some(course) = &mut self.course {
            course.cluster_removed = false;
        }
        self.course.take_if(|course| **course == Course::default());
    }

    /// Why the cluster was chosen that it ended on, if that is known. Not said of one that has made its output again since, perhaps elsewhere.
    pub fn choice(&self) -> Option<Choice> {
        self.course.as_ref()?.choice.filter(|_| self.loss.is_none())
    }

    /// Keeps why the cluster was chosen of the attempt that ends the job.
    pub(in crate::control) fn keep_choice(&mut self, choice: Choice) {
        self.course.get_or_insert_default().choice = Some(choice);
    }

    /// Notes that a cluster has a copy of its output, if there is room for one more. Whether that is news.
    pub(in crate::control) fn note_copy(&mut self, cluster: &ClusterName) -> bool {
        let is_news = !self.copies().contains(cluster) && self.output.is_some();
        if is_news {
            let copies = &mut self.course.get_or_insert_default().copies;
            // The latest count: those before are of clusters that were to go themselves.
            if copies.len() == Course::MAX_COPIES {
                copies.remove(0);
            }
            copies.push(cluster.clone());
        }
        is_news
    }

    /// Takes what an attempt has left in the place of what was left before: of that there may be copies, which are of no use then.
    pub(in crate::control) fn leave(&mut self, output: Option<OutputReference>) {
        self.output = output;
        if let Some(course) = &mut self.course {
            course.copies.clear();
        }
        self.course.take_if(|course| **course == Course::default());
    }

    /// Puts aside how the latest attempt ended, as `state`: another one follows at `retry_at`.
    pub(in crate::control) fn put_aside_try(&mut self, state: TerminalState, retry_at: Timestamp) {
        let End {
            state,
            message,
            exit_code,
            cluster,
            started_at,
            ended_at,
            log_lines,
            inputs: _,
        } = self.take_end(state);
        let course = self.course.get_or_insert_default();
        course.tries.push(Try {
            epoch: self.epoch,
            state,
            message,
            exit_code,
            cluster,
            started_at,
            ended_at,
            log_lines,
        });
        course.retry_at = Some(retry_at);
        self.state = JobState::Waiting;
        self.leave(None);
        // It is ready anew when it is due.
        self.queued_at = None;
    }

    /// The next attempt follows at `due`, and not before.
    pub(in crate::control) fn put_off(&mut self, due: Timestamp) {
        let course = self.course.get_or_insert_default();
        course.retry_at = Some(due);
        course.held_back = true;
    }

    /// Whether the next attempt waits for the end of an earlier one's command.
    pub(in crate::control) fn is_held_back(&self) -> bool {
        self.course.as_ref().is_some_and(|course| course.held_back)
    }

    /// Nothing is waited for any more before the next attempt, if there is one.
    pub(in crate::control) fn forget_retry(&mut self) {
        if let Some(course) = &mut self.course {
            course.retry_at = None;
            course.held_back = false;
        }
        self.course.take_if(|course| **course == Course::default());
    }
}
