//! The port: what the master asks of its database.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tombolo_core::build::array::Counts;
use tombolo_core::build::{JobSpec, JobState};
use tombolo_core::control::record::{Build, JobNode, JobStatus};
use tombolo_core::control::{Change, LiveState};
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, BuildId, JobId, ProjectId};
use tombolo_core::log::LogLine;
use tombolo_core::name::{ClusterName, SecretName, TriggerName};
use tombolo_core::restoration::Restoration;
use tombolo_core::secret::SealedValue;
use tombolo_core::time::Timestamp;
use tombolo_core::trigger::TriggerFile;

use crate::log::{LogState, LogWrite};

/// Counts the leaderships: each [`Store::acquire`] makes the next one, and the ones before can write no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub u64);

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Counts the commits within a leadership, from 1; 0 before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The one after.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What a leader starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Everything that is not over.
    pub live: LiveState,
    /// The last commit that is in it.
    pub sequence: Sequence,
}

/// A job with where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Its build.
    pub build: Build,
    /// What never changes.
    pub node: JobNode,
    /// Where it stands.
    pub status: JobStatus,
}

impl JobRecord {
    /// The record of an index of this array: `status` is what was written of it, if it has begun. None if there is no such index.
    pub(crate) fn of_index(self, index: u32, status: Option<JobStatus>) -> Option<Self> {
        let node = self.node.of_index(index)?;
        let status = status.unwrap_or_else(|| self.status.of_unbegun(node.id));
        Some(Self {
            build: self.build,
            node,
            status,
        })
    }
}

/// A build whose outputs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBuild {
    /// The build.
    pub build: Build,
    /// The bytes of its jobs' outputs.
    pub bytes: u64,
}

/// How many leaderships there may have been since a backup. What they numbered is not numbered so again.
pub(crate) const LEADERSHIPS_SINCE_BACKUP: u32 = 1000;

/// How many builds of one project there may have been since a backup.
pub(crate) const BUILDS_SINCE_BACKUP: u32 = 1000;

/// Why nobody could be made the leader.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// Another process leads.
    #[error("another master uses `{database}`; stop it, or give this one a database of its own")]
    Held {
        /// The database.
        database: String,
    },
    /// Another process has led since, and may have changed anything.
    #[error("another master has led `{database}` since")]
    Followed {
        /// The database.
        database: String,
    },
    /// The database is somebody else's.
    #[error(
        "`{database}` belongs to another installation: its certificate authority has the pin {theirs}, and this master's has {own}; give \
         this master a database of its own, or the same authority as its peers (`authority.certificate_file`), or, if that authority is \
         lost for good, set `database.adopt`"
    )]
    Foreign {
        /// The database.
        database: String,
        /// The pin of the authority of the installation that has it.
        theirs: String,
        /// The pin of this master's.
        own: String,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Why a commit was not (or perhaps not) made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The database refuses what is in the change set, and will refuse it again. Nothing was written.
    #[error("the database refuses the change: {0}")]
    Rejected(String),
    /// It is not known whether the change set was written. [`Store::committed`] tells.
    #[error("the outcome of the commit is unknown: {0}")]
    Unknown(String),
    /// A later leadership has begun. Nothing was written, and nothing will be.
    #[error("another master leads now")]
    Deposed,
    /// The database cannot be written at the moment. Nothing was written; the same change set may be tried again.
    #[error("the database cannot be written: {0}")]
    Unavailable(String),
}

/// Why something could not be read (or a log not written).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The database cannot be used at the moment.
    #[error("the database cannot be used: {0}")]
    Unavailable(String),
    /// A later leadership has begun.
    #[error("another master leads now")]
    Deposed,
    /// What is stored cannot be understood: it was damaged, or written by a newer version.
    #[error("the database holds what this version cannot read: {0}")]
    Corrupt(String),
}

/// What the master asks of its database. Every implementation passes `conformance::run`.
///
/// Reads never wait for commits. A future that is dropped may still have its effect.
pub trait Store: Send + Sync + 'static {
    /// Begins a new leadership and ends all before it, also those of this very store.
    fn acquire(&self) -> impl Future<Output = Result<LeaderEpoch, AcquireError>> + Send;

    /// Notes that what is stored was taken from a backup: what counts up and is seen outside (leaderships, numbers of builds) goes on far
    /// beyond what was given since the backup, and open invites, which may have been used since, are gone. Nobody may lead meanwhile.
    fn note_restoration(&self, restoration: Restoration) -> impl Future<Output = Result<(), Error>> + Send;

    /// Reads everything that is not over, and the last commit of the present leadership.
    fn load(&self) -> impl Future<Output = Result<Snapshot, Error>> + Send;

    /// Writes a change set in one transaction, durably, or writes nothing.
    ///
    /// `sequence` must be above that of every commit that this leadership made before; it is written with the change set.
    fn commit(
        &self,
        epoch: LeaderEpoch,
        sequence: Sequence,
        changes: Arc<Vec<Change>>,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// The last commit of the leadership `epoch`; [`Error::Deposed`] if that is over.
    fn committed(&self, epoch: LeaderEpoch) -> impl Future<Output = Result<Sequence, Error>> + Send;

    /// The specifications of those of `jobs` that exist, in the order of `jobs`.
    fn specs(&self, jobs: Vec<JobId>) -> impl Future<Output = Result<Vec<(JobId, JobSpec)>, Error>> + Send;

    /// The builds of a project, newest first, at most `limit`, only those with a number below `before` if that is given.
    fn builds(
        &self,
        project: ProjectId,
        before: Option<u64>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Build>, Error>> + Send;

    /// The builds of a project whose outputs were not given up, newest first, at most `limit`, only those with a number below
    /// `before` if that is given. Outputs that their jobs have not kept until `now` do not count.
    fn kept_builds(
        &self,
        project: ProjectId,
        before: Option<u64>,
        limit: u32,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<KeptBuild>, Error>> + Send;

    /// For each of the manifests, whether it is the source of a build of the project whose outputs were not given up, or of a trigger.
    fn are_sources(
        &self,
        project: ProjectId,
        manifests: Vec<Digest>,
    ) -> impl Future<Output = Result<Vec<bool>, Error>> + Send;

    /// For each of the manifests, whether it is the output of a job that has kept it until `now`, or the source, of a build of the
    /// project whose outputs were not given up, and which has a job that is or was last on the cluster.
    fn are_wanted(
        &self,
        cluster: ClusterName,
        project: ProjectId,
        manifests: Vec<Digest>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<bool>, Error>> + Send;

    /// One build by its number within a project.
    fn build_by_number(
        &self,
        project: ProjectId,
        number: u64,
    ) -> impl Future<Output = Result<Option<Build>, Error>> + Send;

    /// One build.
    fn build(&self, build: BuildId) -> impl Future<Output = Result<Option<Build>, Error>> + Send;

    /// The jobs of a build by index, from `first` on, at most `limit`; without the indexes of arrays.
    fn jobs(
        &self,
        build: BuildId,
        first: u32,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<(JobNode, JobStatus)>, Error>> + Send;

    /// The indexes of an array that have begun, from `first` on, at most `limit`, only those in `state` if that is given.
    fn indexes(
        &self,
        array: JobId,
        first: u32,
        limit: u32,
        state: Option<JobState>,
    ) -> impl Future<Output = Result<Vec<JobStatus>, Error>> + Send;

    /// How many of the indexes of an array that have begun are in which state.
    fn index_counts(&self, array: JobId) -> impl Future<Output = Result<Counts, Error>> + Send;

    /// One job, or one index of an array, begun or not.
    fn job(&self, job: JobId) -> impl Future<Output = Result<Option<JobRecord>, Error>> + Send;

    /// For each of the manifests, whether it is that of a cache of the project which the cluster has: then it has to keep it.
    fn are_caches(
        &self,
        cluster: ClusterName,
        project: ProjectId,
        manifests: Vec<Digest>,
    ) -> impl Future<Output = Result<Vec<bool>, Error>> + Send;

    /// The values of those of a project's secrets that exist, in the order of `names`, as they were sealed.
    fn secrets(
        &self,
        project: ProjectId,
        names: Vec<SecretName>,
    ) -> impl Future<Output = Result<Vec<(SecretName, SealedValue)>, Error>> + Send;

    /// The keys that any secret was sealed with.
    fn secret_keys(&self) -> impl Future<Output = Result<Vec<String>, Error>> + Send;

    /// What a trigger submits.
    fn trigger_file(
        &self,
        project: ProjectId,
        name: TriggerName,
    ) -> impl Future<Output = Result<Option<TriggerFile>, Error>> + Send;

    /// Writes pieces of logs in one transaction, durably. Those of jobs that do not exist (any more) are left out.
    fn append_log(&self, epoch: LeaderEpoch, writes: Vec<LogWrite>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Lines of a log from the line `first` on: at most `limit`, and fewer where they are long (see
    /// [`log::READ_BYTES`](crate::log::READ_BYTES)). None means that there are no more for now.
    fn read_log(
        &self,
        attempt: AttemptId,
        first: u64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<LogLine>, Error>> + Send;

    /// How much of a log is there.
    fn log_state(&self, attempt: AttemptId) -> impl Future<Output = Result<LogState, Error>> + Send;
}
