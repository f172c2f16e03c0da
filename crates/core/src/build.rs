//! Builds: what a job file says, the graph of its jobs, and the states that jobs go through.

pub mod array;
pub mod extensions;
pub mod graph;
pub mod hook;
mod inherit;
pub mod repository;
pub mod retry;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::array::Array;
use self::extensions::Extensions;
use self::repository::Repository;
use crate::capability::CapabilitySet;
use crate::label::Selector;
use crate::name::{ClusterName, JobName, SecretName};
use crate::resources::Resources;
use crate::volume::VolumeSet;

/// The largest job file, in bytes: 300 jobs of a few kilobytes each. Reading holds it in memory, and the API takes it inside
/// JSON, which may double it.
pub const JOB_FILE_BYTES_MAX: usize = 1024 * 1024;

/// A whole job file after validation: the jobs in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildDefinition {
    /// The jobs.
    pub jobs: Vec<JobSpec>,
}

/// What becomes of a job whose parents allow it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// A cluster runs its command.
    #[default]
    Run,
    /// It ends at once, as `finished`. It has no attempt and leaves no output.
    Wait,
    /// It ends at once, as the jobs did that were expanded for it: all those before it whose names begin with its own.
    Workflow,
}

impl JobKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Run, Self::Wait, Self::Workflow];

    /// The name in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Wait => "wait",
            Self::Workflow => "workflow",
        }
    }
}

/// What one job is to do. Written once at submission and read again only when an attempt is sent out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Unique within the build.
    pub name: JobName,
    /// Whether a cluster runs it at all.
    #[serde(default)]
    pub kind: JobKind,
    /// The container image; executors without images ignore or refuse it.
    pub image: String,
    /// The program and its arguments; the image's own when there is none.
    pub command: Option<Vec<String>>,
    /// Variables for the command.
    pub environment: BTreeMap<String, String>,
    /// Variables whose values are secrets of the project. None of them is in `environment` as well.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretName>,
    /// How long the command may run.
    pub timeout: Duration,
    /// What it needs.
    pub resources: Resources,
    /// The jobs that come before it.
    pub dependencies: Vec<Dependency>,
    /// Which clusters may run it.
    pub selector: Selector,
    /// What of that its project requires, and it did not say itself.
    #[serde(default, skip_serializing_if = "Selector::is_empty")]
    pub confined_to: Selector,
    /// The cluster to take when it fits.
    pub prefer: Option<ClusterName>,
    /// Among the jobs of its project, those of higher priority come first: -100 to 100.
    #[serde(default)]
    pub priority: i8,
    /// The volumes that it works with.
    #[serde(default)]
    pub volumes: VolumeSet,
    /// What it leaves in its cache folder is kept for the next run.
    #[serde(default)]
    pub cache: bool,
    /// What it asks of pods, if it says something of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Box<PodNeeds>>,
    /// It is given the build's source.
    #[serde(default = "given")]
    pub source: bool,
    /// What its executor must be able to do.
    #[serde(default)]
    pub needs: CapabilitySet,
    /// Those of its variables that the jobs which it makes have as well.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub passes_on: BTreeSet<String>,
    /// What it clones. Such a job runs no command of its own, and needs [`Capability::Git`](crate::capability::Capability::Git).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Box<Repository>>,
    /// What it says beyond InfraBox's fields, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Box<Extensions>>,
}

impl JobSpec {
    /// How many of it there are, if it is an array.
    pub fn array(&self) -> Option<Array> {
        self.extensions.as_ref()?.array
    }
}

/// What was written before a job could do without the source.
const fn given() -> bool {
    true
}

/// What a job asks of the pod that it runs in. Clusters that run no pods have no use for it. A job cannot raise its own rights by it:
/// what a pod may do is said by the cluster's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodNeeds {
    /// How much it writes on its node's disk, in bytes.
    pub storage_bytes: Option<u64>,
    /// Labels that its node must have.
    pub node_selector: BTreeMap<String, String>,
    /// The user that it runs as.
    pub run_as_user: Option<u32>,
    /// The processors that its image is for, as Kubernetes names them: `amd64`, `arm64`.
    pub architecture: Option<String>,
}

/// An edge of the graph, seen from the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The parent.
    pub job: JobName,
    /// The states of the parent in which the child runs; in all others it is skipped.
    pub on: StateSet,
}

/// How a job ended. The names are the ones that job files use in `depends_on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TerminalState {
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

impl TerminalState {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Finished,
        Self::Failure,
        Self::Error,
        Self::Unstable,
        Self::Killed,
        Self::Skipped,
    ];

    /// The name in job files, the API and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Unstable => "unstable",
            Self::Killed => "killed",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for TerminalState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A set of terminal states.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StateSet(u8);

impl StateSet {
    /// The condition `*`: every terminal state.
    pub const ALL: Self = Self(0b11_1111);

    /// The set of the given states.
    pub fn of(states: &[TerminalState]) -> Self {
        Self(states.iter().fold(0, |set, state| set | 1 << *state as u8))
    }

    /// Whether `state` is in the set.
    pub const fn contains(self, state: TerminalState) -> bool {
        self.0 & (1 << state as u8) != 0
    }

    /// The states in the set.
    pub fn iter(self) -> impl Iterator<Item = TerminalState> {
        TerminalState::ALL
            .into_iter()
            .filter(move |state| self.contains(*state))
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its parents.
    Waiting,
    /// Waits for a cluster.
    Queued,
    /// Given to a cluster that has not yet said that it has it.
    Assigned,
    /// The cluster fetches source and inputs.
    Preparing,
    /// The command runs.
    Running,
    /// The command has ended; its output is being stored.
    Publishing,
    /// Over, for good.
    #[serde(untagged)]
    Terminal(TerminalState),
}

impl JobState {
    /// The terminal state, if the job has ended.
    pub const fn terminal(self) -> Option<TerminalState> {
        match self {
            Self::Terminal(state) => Some(state),
            _ => None,
        }
    }

    /// The name in the API and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Assigned => "assigned",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Publishing => "publishing",
            Self::Terminal(state) => state.as_str(),
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Where a build stands: running until all its jobs are terminal, then the worst of their states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildState {
    /// Some job is not terminal yet.
    Running,
    /// All jobs are terminal: `killed` if one was, else `error`, `failure`, `unstable`, else `finished`.
    #[serde(untagged)]
    Terminal(TerminalState),
}

impl BuildState {
    /// The name in the API and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Terminal(state) => state.as_str(),
        }
    }
}

impl fmt::Display for BuildState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}
