//! Attempts: what an agent is asked to run, and what it says of it.

mod generated;

use serde::{Deserialize, Serialize};

pub use self::generated::{GeneratedFile, WorkflowFile};
use crate::build::{JobSpec, TerminalState};
use crate::digest::Digest;
use crate::id::{AttemptId, BuildId, JobId, ProjectId};
use crate::label::Labels;
use crate::name::{ClusterName, JobName, ProjectName};
use crate::route::Cost;
use crate::time::Timestamp;
use crate::volume::VolumeSet;

/// Everything that a cluster needs to run one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The build that it belongs to.
    pub build: BuildContext,
    /// What to do.
    pub job: JobSpec,
    /// The build's source; none for builds that were submitted without.
    pub source: Option<SourceReference>,
    /// The outputs of the parents, in the order of the dependencies. Parents without an output are absent.
    pub inputs: Vec<InputReference>,
    /// All direct parents, also those without an output, for `job.json`.
    pub parents: Vec<ParentJob>,
    /// The labels that the master gives to the cluster, for the command's environment.
    #[serde(default)]
    pub labels: Labels,
    /// The volumes of this job, and of all that share one with it.
    #[serde(default)]
    pub volumes_together: VolumeSet,
    /// What an hour less of waiting for the inputs is worth.
    #[serde(default)]
    pub waiting_per_hour: Cost,
    /// The cache, for a job that asks for one.
    #[serde(default)]
    pub cache: Option<CacheOrder>,
}

/// What becomes of a job's cache folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheOrder {
    /// The most that is kept of it, in bytes.
    pub limit_bytes: u64,
    /// What is in it at the start; an empty folder if none, or if it cannot be had.
    pub start: Option<CacheStart>,
}

/// A cache that a job starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStart {
    /// What it is and where; job and name are those of the job itself.
    pub content: InputReference,
    /// The branch that it was left for; empty for builds that name none.
    pub branch: String,
    /// The number of the build that has left it.
    pub build: u64,
}

/// The build as its jobs see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildContext {
    /// Its project.
    pub project: ProjectId,
    /// Its project's name.
    pub project_name: ProjectName,
    /// Its id.
    pub build: BuildId,
    /// Its number within the project, from 1.
    pub number: u64,
    /// How often it was restarted.
    pub restarts: u32,
    /// Where users see the master, without a trailing slash.
    pub public_url: String,
    /// What was built, as far as the submitter said.
    pub revision: Revision,
    /// How it stands, for jobs that run when the others are over.
    #[serde(default)]
    pub outcome: Option<BuildOutcome>,
}

/// How a build stands whose jobs are over, but for its hooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildOutcome {
    /// How it would end now.
    pub state: TerminalState,
    /// The jobs that did not end well, at most [`BuildOutcome::MAX_FAILED`] of them.
    pub failed: Vec<ParentJob>,
}

impl BuildOutcome {
    /// The most jobs that a hook is told of.
    pub const MAX_FAILED: usize = 1000;
}

/// What the submitter said about the version of the source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The branch.
    pub branch: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// The tag.
    pub tag: Option<String>,
}

/// The build's source: an artifact in the master's own store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReference {
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The right to read it, signed by the master; opaque here.
    pub grant: Vec<u8>,
}

/// One parent's output and where to get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputReference {
    /// The parent.
    pub job: JobId,
    /// The parent's name; its last segment is the folder. Of an index of an array it is the array's.
    pub name: JobName,
    /// Which index of the array it is of, if the job takes those of all: then its folder is in that of the array.
    #[serde(default)]
    pub index: Option<u32>,
    /// What it left behind.
    pub output: OutputReference,
    /// Where it is, best first.
    pub sources: Vec<InputSource>,
    /// The right to read it, signed by the master; opaque here.
    pub grant: Vec<u8>,
}

/// A cluster that has an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSource {
    /// Its name.
    pub cluster: ClusterName,
    /// The address (`host:port`) at which its agent takes peers, if it does.
    pub peer_address: Option<String>,
    /// What a GB from there costs when it comes straight.
    #[serde(default)]
    pub direct_per_gigabyte: Cost,
    /// What it costs through the master.
    #[serde(default)]
    pub relay_per_gigabyte: Cost,
}

/// An output that a cluster is likely to need soon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefetch {
    /// The project that it belongs to.
    pub project: ProjectId,
    /// The output, as it would be an input of a job there.
    pub input: InputReference,
    /// What an hour less of waiting for it is worth.
    pub waiting_per_hour: Cost,
    /// The agent is to say how far it is: the cluster that has it is to go.
    pub confirm: bool,
}

/// A parent as its child sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentJob {
    /// Its id.
    pub job: JobId,
    /// Its name.
    pub name: JobName,
    /// How it ended.
    pub state: TerminalState,
}

/// An output that was stored whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputReference {
    /// The digest of its manifest: the output's identity.
    pub manifest: Digest,
    /// The sum of the sizes of its files, in bytes.
    pub bytes: u64,
    /// How many files it has.
    pub files: u64,
}

/// How far an attempt is, as its agent says. Later phases outrank earlier ones; a report of a lower rank is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The agent has it, durably.
    Accepted,
    /// Source and inputs are being fetched.
    Preparing,
    /// The command runs.
    Running {
        /// When it started, by the agent's calendar.
        started_at: Timestamp,
        /// How the inputs came.
        inputs: Vec<TransferReceipt>,
    },
    /// The command has ended; the output is being stored.
    Publishing,
    /// Over.
    Ended(Outcome),
}

impl Phase {
    /// The rank from which on the command has begun.
    pub const BEGUN: u8 = 2;

    /// The order of the phases.
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Preparing => 1,
            Self::Running { .. } => 2,
            Self::Publishing => 3,
            Self::Ended(_) => 4,
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// `Finished`, `Failure`, `Error`, `Unstable` or `Killed`; an agent never skips.
    pub state: TerminalState,
    /// The command's exit code, if it ended by itself.
    pub exit_code: Option<i32>,
    /// For people: what happened and why, in one line. Empty for a job that finished.
    pub message: String,
    /// When the command started, by the agent's calendar; none if it never did.
    pub started_at: Option<Timestamp>,
    /// When the attempt ended, by the agent's calendar.
    pub ended_at: Timestamp,
    /// What it left behind; none if it left nothing or could not be stored.
    pub output: Option<OutputReference>,
    /// What it left in its cache folder, if that is to be kept.
    #[serde(default)]
    pub cache: Option<Box<OutputReference>>,
    /// How the inputs came, if they did.
    pub inputs: Vec<TransferReceipt>,
    /// The inputs that no cluster gave; the command has not started then.
    #[serde(default)]
    pub lost_inputs: Vec<LostInput>,
    /// Its command was stopped because the cluster's lease ended: the job is placed again.
    #[serde(default)]
    pub lease_ended: bool,
    /// Its command had begun, and went with the machine, or was ended with its supervisor by force: nothing of it goes on, and the job is placed again.
    #[serde(default)]
    pub lost: bool,
    /// How many log lines it wrote: the log is whole when the master has as many.
    pub log_lines: u64,
    /// The job file that it left in its output folder, of jobs to be added to the build. Such an end is told in a report, never in a hello.
    #[serde(default)]
    pub generated: Option<Box<GeneratedFile>>,
}

/// An input that could not be had, because no cluster that was asked has it or can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostInput {
    /// The parent whose output it is.
    pub parent: JobId,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The clusters that said that they do not have it, or have it damaged only; also the one that wanted it, if it was to have it.
    pub missing: Vec<ClusterName>,
    /// The clusters that did not answer.
    pub unreachable: Vec<ClusterName>,
}

/// How one input came to a cluster: an edge of the graph as users see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferReceipt {
    /// The parent whose output it is; none for the build's source and for the job's cache.
    pub parent: Option<JobName>,
    /// It is the job's cache.
    #[serde(default)]
    pub cache: bool,
    /// The cluster that it came from.
    pub from: Option<ClusterName>,
    /// The way.
    pub route: RouteKind,
    /// The digest of its manifest, checked at arrival.
    pub manifest: Digest,
    /// The size of its files.
    pub bytes: u64,
    /// What crossed the link, compressed and without what was there already.
    pub moved_bytes: u64,
    /// How long it took.
    pub milliseconds: u64,
    /// The ways that were considered, in the order in which they were to be asked; none if it was there already.
    #[serde(default)]
    pub routes: Vec<RouteReport>,
    /// It came before the job was placed, while that waited for others.
    #[serde(default)]
    pub prefetched: bool,
    /// Why it did not come; then the sizes are what is known of it, and what came of it.
    #[serde(default)]
    pub failure: Option<String>,
}

/// A way that was considered for an input, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteReport {
    /// The cluster at its other end; none for the master.
    pub from: Option<ClusterName>,
    /// The way.
    pub route: RouteKind,
    /// What came by it, in bytes as they crossed the link.
    pub moved_bytes: u64,
    /// What became of it.
    pub outcome: RouteOutcome,
}

/// What became of a way. The reasons are for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteOutcome {
    /// All that was asked of it came.
    Used,
    /// It did not give what it was asked for, at least once.
    Failed(String),
    /// A better one gave everything.
    NotNeeded,
    /// There is no such way between the two.
    Unavailable(String),
}

/// The ways that chunks can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteKind {
    /// Already in the destination's store.
    Local,
    /// Straight from the bucket of the cluster that has them, by requests that its agent has signed.
    Signed,
    /// From agent to agent, dialled by the one that wants them.
    Peer,
    /// From agent to agent, dialled by the one that has them.
    ReversePeer,
    /// Through the master, which sees ciphertext.
    Relay,
    /// From the master's own store (the source of a build).
    Master,
}

impl RouteKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Local,
        Self::Signed,
        Self::Peer,
        Self::ReversePeer,
        Self::Relay,
        Self::Master,
    ];

    /// The name in the API and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Signed => "signed",
            Self::Peer => "peer",
            Self::ReversePeer => "reverse_peer",
            Self::Relay => "relay",
            Self::Master => "master",
        }
    }
}
