//! Jobs.

mod attempts;
mod state;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tombolo_core::attempt::OutputReference;
use tombolo_core::build::{self, extensions};
use tombolo_core::digest::Digest;
use tombolo_core::id::JobId;
use tombolo_core::name::{ClusterName, JobName};
use utoipa::ToSchema;

pub use self::attempts::{Recovery, Replaced, Try};
pub use self::state::JobState;
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
