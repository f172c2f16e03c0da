//! What the master keeps: one record type per kind of thing, as the control plane and the store share them.

mod array;
mod course;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use course::{Course, Replaced, Try, Unbegun};

use crate::access::Right;
use crate::attempt::{OutputReference, Revision, TransferReceipt};
use crate::build::extensions::Extensions;
use crate::build::{BuildState, JobKind, JobSpec, JobState, StateSet, TerminalState};
use crate::capability::{Capability, CapabilitySet};
use crate::digest::Digest;
use crate::id::{BuildId, Epoch, InviteId, JobId, ProjectId, TokenId};
use crate::label::{Labels, Selector};
use crate::name::{ClusterName, JobName, ProjectName};
use crate::placement::Availability;
use crate::resources::Resources;
use crate::retention::{Policy, expiry};
use crate::share::Share;
use crate::time::Timestamp;
use crate::volume::VolumeSet;

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name, unique.
    pub name: ProjectName,
    /// When it was made.
    pub created_at: Timestamp,
    /// The number that its latest build has; 0 before the first.
    pub last_build: u64,
    /// The cluster that has its workspace, once a job has used it.
    pub workspace: Option<ClusterName>,
    /// What of its outputs is kept; the installation's default if nothing is said.
    pub retention: Option<Policy>,
    /// What it may have of the clusters.
    pub share: Share,
}

/// A cluster that has joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name, unique.
    pub name: ClusterName,
    /// The labels that the master gave it (without the implied ones).
    pub labels: Labels,
    /// The digest of the public key that its agent proved at joining: certificates for other keys are refused.
    pub key: Digest,
    /// When it joined.
    pub joined_at: Timestamp,
    /// Which jobs it takes, as an administrator has said.
    pub availability: Availability,
    /// Its agent was granted a handover lease that may not be over.
    pub is_handing_over: bool,
}

/// The one-time right to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// Its id.
    pub id: InviteId,
    /// The digest of its secret.
    pub secret: Digest,
    /// The name that the cluster will have.
    pub cluster: ClusterName,
    /// The labels that the cluster will have.
    pub labels: Labels,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The key that used it: the same key may use it again (an answer that was lost), no other.
    pub used_by: Option<Digest>,
}

/// A user's access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Its name, for people.
    pub name: String,
    /// The digest of its secret.
    pub secret: Digest,
    /// What it allows.
    pub right: Right,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; never if none.
    pub expires_at: Option<Timestamp>,
}

/// A build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its id.
    pub id: BuildId,
    /// Its project.
    pub project: ProjectId,
    /// Its number within the project, from 1.
    pub number: u64,
    /// Where it stands.
    pub state: BuildState,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When its last job ended.
    pub ended_at: Option<Timestamp>,
    /// Who submitted it: the token's name.
    pub submitted_by: String,
    /// The manifest of its source.
    pub source: Option<Digest>,
    /// The version of the source.
    pub revision: Revision,
    /// How often it was restarted.
    pub restarts: u32,
    /// When its outputs were given up; they may be gone since then.
    pub released_at: Option<Timestamp>,
}

/// The part of a job that does not change as it goes on, as far as the live state needs it. The rest is in its specification. Only
/// parents come to it when one of them makes new jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobNode {
    /// Its id.
    pub id: JobId,
    /// Its build.
    pub build: BuildId,
    /// Its place in the build's list of jobs, from 0.
    pub index: u32,
    /// Its name.
    pub name: JobName,
    /// Whether a cluster runs it at all.
    pub kind: JobKind,
    /// The job that made it while the build ran, by index; none for what was submitted.
    pub generated_by: Option<u32>,
    /// Its parents, by index, and the states in which it follows them.
    pub parents: Vec<(u32, StateSet)>,
    /// Which clusters may run it.
    pub selector: Selector,
    /// The cluster to take when it fits.
    pub prefer: Option<ClusterName>,
    /// Among the jobs of its project, those of higher priority come first.
    pub priority: i8,
    /// What it needs.
    pub resources: Resources,
    /// How long its command may run.
    pub timeout: Duration,
    /// The volumes that it works with.
    pub volumes: VolumeSet,
    /// It asks for a cache.
    pub cache: bool,
    /// What its executor must be able to do.
    pub needs: CapabilitySet,
    /// What it says beyond InfraBox's fields, if it does.
    pub extensions: Option<Box<Extensions>>,
}

impl JobNode {
    /// Whether it clones a repository, which is the source of the jobs that it makes.
    pub fn is_clone(&self) -> bool {
        self.needs.contains(Capability::Git)
    }

    /// When the output of the job goes because its file says so; none while its build runs, and if it does not say so.
    pub fn output_expiry(&self, build: &Build) -> Option<Timestamp> {
        expiry(self.output_keep_days()?, build.ended_at)
    }

    /// For how many days after the end of its build its output is kept, if its file says so.
    pub fn output_keep_days(&self) -> Option<u32> {
        self.extensions.as_ref()?.output_keep_days
    }

    /// The part of `spec` that the live state needs, for the job at `index` of `build`.
    pub(super) fn new(id: JobId, build: BuildId, index: u32, spec: &JobSpec, parents: Vec<(u32, StateSet)>) -> Self {
        Self {
            id: spec.array().map_or(id, |_| id.for_array()),
            build,
            index,
            name: spec.name.clone(),
            kind: spec.kind,
            generated_by: None,
            parents,
            selector: spec.selector.clone(),
            prefer: spec.prefer.clone(),
            priority: spec.priority,
            resources: spec.resources,
            timeout: spec.timeout,
            volumes: spec.volumes,
            cache: spec.cache,
            needs: spec.needs,
            extensions: spec.extensions.clone(),
        }
    }
}

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
    pub fn as_ended(&self) -> std::borrow::Cow<'_, Self> {
        use std::borrow::Cow;
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
    pub(super) fn put_aside(&mut self, state: TerminalState, reason: String) {
        let epoch = self.log_epoch();
        let end = self.take_end(state);
        self.loss = Some(Box::new(Loss {
            reason: Some(reason),
            epoch,
            end: Some(end),
        }));
    }

    /// Takes out how an attempt ended, as `state`.
    fn take_end(&mut self, state: TerminalState) -> End {
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
    pub(super) fn put_back(&mut self, end: End) {
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
