//! The database of a master: a file of its own, or a Postgres server's.

use std::sync::Arc;
use std::time::Duration;

use tombolo_core::build::JobSpec;
use tombolo_core::control::Change;
use tombolo_core::control::record::{Build, JobNode, JobStatus};
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, BuildId, JobId, ProjectId};
use tombolo_core::log::LogLine;
use tombolo_core::name::{ClusterName, SecretName, TriggerName};
use tombolo_core::secret::SealedValue;
use tombolo_core::trigger::TriggerFile;
use tombolo_store::sqlite::Execution;
use tombolo_store::{
    AcquireError, CommitError, JobRecord, KeptBuild, LeaderEpoch, LogState, LogWrite, Postgres, Sequence, Snapshot,
    Sqlite, Store,
};

use crate::bootstrap::DataFolder;
use crate::configuration;

/// How long a start waits for a server that does not answer, and for a master that the server believes to be alive: longer than it
/// takes the server to find out that one is not.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its password.
    #[error("the database cannot be used: {0}")]
    Password(String),
    /// The database itself.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
}

/// The database of a master.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file.
    Sqlite(Sqlite),
    /// A server's.
    Postgres(Postgres),
}

impl Database {
    /// Opens the one that is configured; the file in the data folder if none is. May take long: its tables are brought up to date.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(settings: &configuration::Database, folder: &DataFolder) -> Result<Self, Error> {
        if let Some(location) = settings.location().map_err(Error::Password)? {
            return Ok(Self::Postgres(Postgres::open(&location, PATIENCE).await?));
        }
        let path = folder.database();
        let opening = tokio::task::spawn_blocking(move || Sqlite::open(&path, Execution::Threads));
        let broken_off = |error: tokio::task::JoinError| tombolo_store::Error::Unavailable(error.to_string());
        let opened = opening.await.map_err(broken_off).map_err(AcquireError::from)?;
        Ok(Self::Sqlite(opened?))
    }
}

/// Hands a call on to whichever it is.
macro_rules! either {
    ($database:expr, $call:ident($($argument:expr),*)) => {
        match $database {
            Database::Sqlite(store) => store.$call($($argument),*).await,
            Database::Postgres(store) => store.$call($($argument),*).await,
        }
    };
}

type Read<T> = Result<T, tombolo_store::Error>;

impl Store for Database {
    async fn acquire(&self) -> Result<LeaderEpoch, AcquireError> {
        either!(self, acquire())
    }

    async fn load(&self) -> Read<Snapshot> {
        either!(self, load())
    }

    async fn commit(
        &self,
        epoch: LeaderEpoch,
        sequence: Sequence,
        changes: Arc<Vec<Change>>,
    ) -> Result<(), CommitError> {
        either!(self, commit(epoch, sequence, changes))
    }

    async fn committed(&self, epoch: LeaderEpoch) -> Read<Sequence> {
        either!(self, committed(epoch))
    }

    async fn specs(&self, jobs: Vec<JobId>) -> Read<Vec<(JobId, JobSpec)>> {
        either!(self, specs(jobs))
    }

    async fn builds(&self, project: ProjectId, before: Option<u64>, limit: u32) -> Read<Vec<Build>> {
        either!(self, builds(project, before, limit))
    }

    async fn kept_builds(&self, project: ProjectId, before: Option<u64>, limit: u32) -> Read<Vec<KeptBuild>> {
        either!(self, kept_builds(project, before, limit))
    }

    async fn are_sources(&self, project: ProjectId, manifests: Vec<Digest>) -> Read<Vec<bool>> {
        either!(self, are_sources(project, manifests))
    }

    async fn are_wanted(&self, cluster: ClusterName, project: ProjectId, manifests: Vec<Digest>) -> Read<Vec<bool>> {
        either!(self, are_wanted(cluster, project, manifests))
    }

    async fn build_by_number(&self, project: ProjectId, number: u64) -> Read<Option<Build>> {
        either!(self, build_by_number(project, number))
    }

    async fn build(&self, build: BuildId) -> Read<Option<Build>> {
        either!(self, build(build))
    }

    async fn jobs(&self, build: BuildId, first: u32, limit: u32) -> Read<Vec<(JobNode, JobStatus)>> {
        either!(self, jobs(build, first, limit))
    }

    async fn job(&self, job: JobId) -> Read<Option<JobRecord>> {
        either!(self, job(job))
    }

    async fn are_caches(&self, cluster: ClusterName, project: ProjectId, manifests: Vec<Digest>) -> Read<Vec<bool>> {
        either!(self, are_caches(cluster, project, manifests))
    }

    async fn secrets(&self, project: ProjectId, names: Vec<SecretName>) -> Read<Vec<(SecretName, SealedValue)>> {
        either!(self, secrets(project, names))
    }

    async fn secret_keys(&self) -> Read<Vec<String>> {
        either!(self, secret_keys())
    }

    async fn trigger_file(&self, project: ProjectId, name: TriggerName) -> Read<Option<TriggerFile>> {
        either!(self, trigger_file(project, name))
    }

    async fn append_log(&self, epoch: LeaderEpoch, writes: Vec<LogWrite>) -> Read<()> {
        either!(self, append_log(epoch, writes))
    }

    async fn read_log(&self, attempt: AttemptId, first: u64, limit: u32) -> Read<Vec<LogLine>> {
        either!(self, read_log(attempt, first, limit))
    }

    async fn log_state(&self, attempt: AttemptId) -> Read<LogState> {
        either!(self, log_state(attempt))
    }
}
