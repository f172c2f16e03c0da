//! The database of a master: a file of its own, or a Postgres server's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use tokio::time::Instant;
use tombolo_core::build::array::Counts;
use tombolo_core::build::{JobSpec, JobState};
use tombolo_core::control::Change;
use tombolo_core::control::record::{Build, JobNode, JobStatus};
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, BuildId, JobId, ProjectId};
use tombolo_core::log::LogLine;
use tombolo_core::name::{ClusterName, SecretName, TriggerName};
use tombolo_core::restoration::Restoration;
use tombolo_core::secret::SealedValue;
use tombolo_core::time::Timestamp;
use tombolo_core::trigger::TriggerFile;
use tombolo_store::postgres::{Candidate, Standing};
use tombolo_store::sqlite::Execution;
use tombolo_store::{
    AcquireError, CommitError, JobRecord, KeptBuild, LeaderEpoch, LogState, LogWrite, Postgres, Sequence, Snapshot,
    Sqlite, Store,
};

use crate::bootstrap::DataFolder;
use crate::configuration::{self, Configuration};

/// How long a start waits for a server that does not answer, and for another master: longer than it takes a server to find out that
/// one is not alive, and a system to end one that was told to go.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks whether another master has let go of a file.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its place, or its password.
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
    /// Opens the one that is configured as its only master; the file in the data folder if none is. May take long: its tables are brought
    /// up to date. `pins` are those of the master's authority, of the root that signs first.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(settings: &configuration::Database, pins: &[String], folder: &DataFolder) -> Result<Self, Error> {
        if let Some(location) = settings.location().map_err(Error::Password)? {
            let (installation, before) = installation(pins);
            let alone = Standing {
                installation,
                before,
                adopts: settings.adopt,
                ..Standing::default()
            };
            let candidate = Candidate::new(&location, alone).map_err(AcquireError::Store)?;
            return Ok(Self::Postgres(candidate.lead_within(PATIENCE).await?));
        }
        Ok(Self::Sqlite(open_file(&folder.database()).await?))
    }
}

/// The pin by which a database knows whose it is, and those by which it may know it still.
fn installation(pins: &[String]) -> (String, Vec<String>) {
    let (own, before) = pins
        .split_first()
        .map_or((String::new(), &[][..]), |(own, before)| (own.clone(), before));
    (own, before.to_vec())
}

/// A master that is one of several on the database that is configured. `pins` are those of its authority, of the root that signs first.
///
/// # Errors
/// See [`Error`].
pub(crate) fn candidate(configuration: &Configuration, pins: &[String]) -> Result<Candidate, Error> {
    let (settings, leadership) = (&configuration.database, &configuration.leadership);
    let location = settings.location().map_err(Error::Password)?;
    let location = location.ok_or_else(|| Error::Password("`database.url` is not given".to_owned()))?;
    let (installation, before) = installation(pins);
    let standing = Standing {
        installation,
        before,
        adopts: settings.adopt,
        lease: Some(leadership.lease),
        addresses: leadership.addresses(),
    };
    Ok(Candidate::new(&location, standing).map_err(AcquireError::Store)?)
}

/// Opens the file. The pod of a master that was removed by force may live for a while beside its successor.
async fn open_file(path: &Path) -> Result<Sqlite, AcquireError> {
    let until = Instant::now() + PATIENCE;
    let pauses = ConstantBuilder::new().with_delay(LOOK_AGAIN).without_max_times();
    let open = || async {
        let path = path.to_owned();
        let opening = tokio::task::spawn_blocking(move || Sqlite::open(&path, Execution::Threads));
        let opened = opening.await;
        opened.map_err(|error| tombolo_store::Error::Unavailable(error.to_string()))?
    };
    let is_held = |error: &AcquireError| matches!(error, AcquireError::Held { .. }) && Instant::now() < until;
    let mut is_told = false;
    open.retry(pauses)
        .when(is_held)
        .notify(|error, _| {
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(%error, patience = ?PATIENCE, "the database has to be waited for");
            }
        })
        .await
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

    async fn note_restoration(&self, restoration: Restoration) -> Read<()> {
        either!(self, note_restoration(restoration))
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

    async fn kept_builds(
        &self,
        project: ProjectId,
        before: Option<u64>,
        limit: u32,
        now: Timestamp,
    ) -> Read<Vec<KeptBuild>> {
        either!(self, kept_builds(project, before, limit, now))
    }

    async fn are_sources(&self, project: ProjectId, manifests: Vec<Digest>) -> Read<Vec<bool>> {
        either!(self, are_sources(project, manifests))
    }

    async fn are_wanted(
        &self,
        cluster: ClusterName,
        project: ProjectId,
        manifests: Vec<Digest>,
        now: Timestamp,
    ) -> Read<Vec<bool>> {
        either!(self, are_wanted(cluster, project, manifests, now))
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

    async fn indexes(&self, array: JobId, first: u32, limit: u32, state: Option<JobState>) -> Read<Vec<JobStatus>> {
        either!(self, indexes(array, first, limit, state))
    }

    async fn index_counts(&self, array: JobId) -> Read<Counts> {
        either!(self, index_counts(array))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_file_is_waited_for_until_another_master_lets_go_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.db");
        let first = Sqlite::open(&path, Execution::Threads).unwrap();
        let second = tokio::spawn({
            let path = path.clone();
            async move { open_file(&path).await }
        });
        tokio::time::sleep(3 * LOOK_AGAIN).await;
        assert!(!second.is_finished());
        drop(first);
        let opened = tokio::time::timeout(PATIENCE, second).await.unwrap().unwrap();
        assert!(opened.is_ok(), "{opened:?}");
    }
}
