//! Jobs.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tombolo_core::attempt::OutputReference;
use tombolo_core::build::{self, TerminalState, extensions};
use tombolo_core::control::record;
use tombolo_core::digest::Digest;
use tombolo_core::id::JobId;
use tombolo_core::name::{ClusterName, JobName};
use utoipa::ToSchema;

use crate::array::Array;
use crate::cluster::Resources;
use crate::time::DateTime;
use crate::transfer::Input;

/// A job of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: JobId,
    /// Its name, unique within the build.
    #[schema(value_type = String)]
    pub name: JobName,
    /// Whether a cluster runs it at all.
    #[serde(default)]
    pub kind: JobKind,
    /// Its indexes, if it is an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<Array>,
    /// The job that made it while the build ran; none for what was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub generated_by: Option<JobName>,
    /// When it runs, if that is when the others are over: `on_error`, `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Where it stands.
    pub state: JobState,
    /// Why it waits, if it does and that is known: for a cluster, or on one (for a node, for an image).
    pub waiting: Option<String>,
    /// The cluster of its latest attempt.
    #[schema(value_type = Option<String>)]
    pub cluster: Option<ClusterName>,
    /// The number of its latest attempt; 0 before the first.
    pub epoch: u32,
    /// Why it is in this state, in one line, if that needs a word.
    pub message: String,
    /// The command's exit code.
    pub exit_code: Option<i32>,
    /// When it was first ready to run.
    pub queued_at: Option<DateTime>,
    /// When its command started.
    pub started_at: Option<DateTime>,
    /// When it ended.
    pub ended_at: Option<DateTime>,
    /// Somebody asked for its end.
    pub cancel_requested: bool,
    /// What it left behind.
    pub output: Option<Output>,
    /// How its inputs came.
    pub inputs: Vec<Input>,
    /// The jobs that come before it.
    pub parents: Vec<Parent>,
    /// Which clusters may run it: requirements that all must hold.
    pub selector: Vec<String>,
    /// The cluster to take when it fits.
    #[schema(value_type = Option<String>)]
    pub prefer: Option<ClusterName>,
    /// The clusters to take before others, among those that may run it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preferences: Vec<Preference>,
    /// The key of the label over whose values it is spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<String>,
    /// The job on whose cluster it has to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub same_as: Option<JobName>,
    /// What becomes of it when its cluster is not heard of, if it says so; else it is placed again after a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_disconnect: Option<OnDisconnect>,
    /// Its command never runs twice at the same time.
    #[serde(default)]
    pub exclusive: bool,
    /// What it needs.
    pub resources: Resources,
    /// How long its command may run.
    pub timeout_seconds: u64,
    /// How long its other phases may take.
    #[serde(default)]
    pub limits: PhaseLimits,
    /// How many lines its log has, once it has ended.
    pub log_lines: Option<u64>,
    /// How many of its attempts were lost by the system and replaced, or made its output again.
    pub replacements: u32,
    /// How many attempts may follow the first, as its file says.
    #[serde(default)]
    pub retries: u32,
    /// The attempts that ended, and that the job's retry has another one follow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<Try>,
    /// The attempts that the system lost and replaced, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Replaced>,
    /// When the next attempt is due, if that is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<DateTime>,
    /// It finished, and not at its first try.
    #[serde(default)]
    pub flaky: bool,
    /// It did not run in this build: it ended so in the one that this build runs again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken_over: bool,
    /// When its output goes, as its file says (`outputs.keep`); nothing while its build runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_expires_at: Option<DateTime>,
    /// Since when its output is not kept any more: it was given up with those of its build, or `output_expires_at` has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_removed_at: Option<DateTime>,
    /// Why its output cannot be had (now), if it was lost after the job had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_lost: Option<String>,
    /// The attempt that makes its output again, if there is one. The job stays ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
}

/// What becomes of a job when its cluster is not heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// It is placed again at once.
    Replace,
    /// It waits until the cluster is back, or removed.
    Wait,
}

impl OnDisconnect {
    /// What a job says of it, if it does.
    pub const fn of(says: extensions::OnDisconnect) -> Option<Self> {
        match says {
            extensions::OnDisconnect::Later => None,
            extensions::OnDisconnect::Replace => Some(Self::Replace),
            extensions::OnDisconnect::Wait => Some(Self::Wait),
        }
    }
}

/// Clusters that a job would rather have than others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preference {
    /// Which clusters: requirements that all must hold.
    pub selector: Vec<String>,
    /// How much rather; weights add up.
    pub weight: u32,
}

impl From<&extensions::Preference> for Preference {
    fn from(preference: &extensions::Preference) -> Self {
        let requirements = preference.selector.requirements.iter();
        Self {
            selector: requirements.map(ToString::to_string).collect(),
            weight: preference.weight,
        }
    }
}

/// How long phases of a job may take; as long as it lasts where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PhaseLimits {
    /// The wait for a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_milliseconds: Option<u64>,
    /// From when everything is there until the command runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_milliseconds: Option<u64>,
    /// The way of source, inputs and cache to the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_milliseconds: Option<u64>,
}

impl From<extensions::PhaseLimits> for PhaseLimits {
    fn from(limits: extensions::PhaseLimits) -> Self {
        let milliseconds =
            |limit: Option<Duration>| limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        Self {
            queue_milliseconds: milliseconds(limits.queue),
            start_milliseconds: milliseconds(limits.start),
            transfer_milliseconds: milliseconds(limits.transfer),
        }
    }
}

/// An attempt that ended, and did not end its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Try {
    /// Its number: its log is kept under it.
    pub epoch: u32,
    /// How it ended.
    pub state: JobState,
    /// Why, in one line, if that needs a word.
    pub message: String,
    /// The command's exit code.
    pub exit_code: Option<i32>,
    /// The cluster that ran it.
    #[schema(value_type = Option<String>)]
    pub cluster: Option<ClusterName>,
    /// When its command started.
    pub started_at: Option<DateTime>,
    /// When it ended.
    pub ended_at: Option<DateTime>,
    /// How many lines its log has.
    pub log_lines: Option<u64>,
}

impl From<&record::Try> for Try {
    fn from(earlier: &record::Try) -> Self {
        Self {
            epoch: earlier.epoch.0,
            state: earlier.state.into(),
            message: earlier.message.clone(),
            exit_code: earlier.exit_code,
            cluster: earlier.cluster.clone(),
            started_at: earlier.started_at.map(Into::into),
            ended_at: earlier.ended_at.map(Into::into),
            log_lines: earlier.log_lines,
        }
    }
}

/// An attempt that the system lost, and that another one took the place of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replaced {
    /// Its number: its log is kept under it.
    pub epoch: u32,
    /// The cluster that had it.
    #[schema(value_type = String)]
    pub cluster: ClusterName,
    /// Why it was given up, in one line.
    pub reason: String,
    /// When that was.
    pub at: DateTime,
    /// How many lines its log has, if its cluster has said so.
    pub log_lines: Option<u64>,
}

impl From<&record::Replaced> for Replaced {
    fn from(replaced: &record::Replaced) -> Self {
        Self {
            epoch: replaced.epoch.0,
            cluster: replaced.cluster.clone(),
            reason: replaced.reason.clone(),
            at: replaced.at.into(),
            log_lines: replaced.log_lines,
        }
    }
}

/// An attempt that makes the output of a job again which has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recovery {
    /// Where the attempt stands; never that it is over.
    pub state: JobState,
    /// The cluster that has it.
    #[schema(value_type = Option<String>)]
    pub cluster: Option<ClusterName>,
    /// Its number; that of the one before for as long as no cluster has it.
    pub epoch: u32,
}

impl Job {
    /// Where its present attempt stands, also if that only makes its output again.
    pub fn attempt_state(&self) -> JobState {
        self.recovery.as_ref().map_or(self.state, |recovery| recovery.state)
    }
}

/// What becomes of a job whose parents allow it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// A cluster runs its command.
    #[default]
    Run,
    /// It ends at once.
    Wait,
    /// It ends at once, as the jobs of its workflow did.
    Workflow,
}

impl From<build::JobKind> for JobKind {
    fn from(kind: build::JobKind) -> Self {
        match kind {
            build::JobKind::Run => Self::Run,
            build::JobKind::Wait => Self::Wait,
            build::JobKind::Workflow => Self::Workflow,
        }
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its parents.
    Waiting,
    /// Waits for a cluster.
    Queued,
    /// Given to a cluster.
    Assigned,
    /// The cluster fetches source and inputs.
    Preparing,
    /// The command runs.
    Running,
    /// The command has ended; its output is being stored.
    Publishing,
    /// The command ended with 0.
    Finished,
    /// The user's command failed.
    Failure,
    /// The system failed the job.
    Error,
    /// The command ended with 0, but tests that it reports failed.
    Unstable,
    /// Somebody cancelled it.
    Killed,
    /// A condition on a parent did not hold.
    Skipped,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Waiting,
        Self::Queued,
        Self::Assigned,
        Self::Preparing,
        Self::Running,
        Self::Publishing,
        Self::Finished,
        Self::Failure,
        Self::Error,
        Self::Unstable,
        Self::Killed,
        Self::Skipped,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Assigned => "assigned",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Publishing => "publishing",
            Self::Finished => "finished",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Unstable => "unstable",
            Self::Killed => "killed",
            Self::Skipped => "skipped",
        }
    }

    /// Whether something may hold it up that changes without a change of its state.
    pub const fn may_wait(self) -> bool {
        matches!(
            self,
            Self::Queued | Self::Assigned | Self::Preparing | Self::Running | Self::Publishing
        )
    }

    /// Whether the job is over.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Finished | Self::Failure | Self::Error | Self::Unstable | Self::Killed | Self::Skipped
        )
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl From<build::JobState> for JobState {
    fn from(state: build::JobState) -> Self {
        match state {
            build::JobState::Waiting => Self::Waiting,
            build::JobState::Queued => Self::Queued,
            build::JobState::Assigned => Self::Assigned,
            build::JobState::Preparing => Self::Preparing,
            build::JobState::Running => Self::Running,
            build::JobState::Publishing => Self::Publishing,
            build::JobState::Terminal(state) => state.into(),
        }
    }
}

impl From<TerminalState> for JobState {
    fn from(state: TerminalState) -> Self {
        match state {
            TerminalState::Finished => Self::Finished,
            TerminalState::Failure => Self::Failure,
            TerminalState::Error => Self::Error,
            TerminalState::Unstable => Self::Unstable,
            TerminalState::Killed => Self::Killed,
            TerminalState::Skipped => Self::Skipped,
        }
    }
}

/// An output that was stored whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Output {
    /// The digest of its manifest: its identity.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// The sum of the sizes of its files.
    pub bytes: u64,
    /// How many files it has.
    pub files: u64,
}

impl From<OutputReference> for Output {
    fn from(output: OutputReference) -> Self {
        Self {
            digest: output.manifest,
            bytes: output.bytes,
            files: output.files,
        }
    }
}

/// A job that comes before another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Parent {
    /// Its name.
    #[schema(value_type = String)]
    pub name: JobName,
    /// The states in which the other follows it; in all others that is skipped.
    pub on: Vec<JobState>,
}
