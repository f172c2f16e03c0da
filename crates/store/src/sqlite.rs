//! The store in one SQLite file: the default, for a single master. All of its SQL is below this module.
//!
//! What is stored, and why (`migrations/` says it in SQL):
//!
//! * `leadership`: one row with the epoch of the present leadership and its last commit. Every write checks it.
//! * `projects`, `clusters`, `invites`, `tokens`: small tables, all of which the control plane holds in memory.
//! * `builds`, `jobs`, `job_status`: history and live state alike. What changes of a job is apart from what does not, so that a
//!   step of a job writes a small row; what is not over is found by a partial index, so that a start does not read history.
//! * An index of an array has rows of its own from when it begins on. In `jobs` it is no more than what others refer to (specification and
//!   the rest are the array's), at a position that no job has: that of the array, plus one, times 2³², plus the index.
//! * `caches`: a small table like the first ones.
//! * `triggers`, `trigger_files`: what is held in memory of triggers, and what they submit.
//! * `secrets`: encrypted values. Only their names are held in memory.
//! * `log_segments`: pieces of logs.
//!
//! Everything that belongs to a project hangs on it by foreign keys that delete along. Keys, states and times are columns;
//! lists and maps are JSON. Numbers without a sign are stored with the same bits and a sign, so that all of them come back.
//!
//! The file is in WAL mode with `synchronous=FULL`: a commit is on the disk when it returns, and reads (over connections of
//! their own) never wait for it. A lock on a file beside it keeps a second master out; the system frees it with the process.

mod caches;
mod copy;
mod error;
mod indexes;
mod kept;
mod logs;
mod open;
mod read;
mod restoration;
mod row;
mod secrets;
#[cfg(test)]
mod tests;
mod triggers;
mod write;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;
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

use crate::log::{LogState, LogWrite};
use crate::port::{AcquireError, CommitError, Error, JobRecord, KeptBuild, LeaderEpoch, Sequence, Snapshot, Store};

/// How many reads run at once at the most. Each has a connection with a page cache of its own.
const READERS_MAX: usize = 4;

/// Where the calls to SQLite, which block, are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// On the runtime's threads for blocking calls.
    Threads,
    /// In place: for simulations, whose runtime has one thread and must stay deterministic.
    Inline,
}

/// The store in SQLite.
#[derive(Debug, Clone)]
pub struct Sqlite {
    inner: Arc<Inner>,
    execution: Execution,
}

#[derive(Debug)]
struct Inner {
    /// The one connection that writes.
    writer: Mutex<Connection>,
    readers: Readers,
    /// Holds the lock for as long as the store lives.
    _lock: Option<File>,
}

#[derive(Debug)]
enum Readers {
    /// A database in memory has one connection.
    Writer,
    /// Idle connections; a new one is opened when there is none.
    Pool {
        path: std::path::PathBuf,
        idle: Mutex<Vec<Connection>>,
        permits: Semaphore,
    },
}

impl Sqlite {
    /// Opens the database at `path`, makes it if it is not there, and brings its tables up to date. Fails at once if another
    /// process has it open.
    ///
    /// Blocks for as long as the migration takes.
    pub fn open(path: &Path, execution: Execution) -> Result<Self, AcquireError> {
        let lock = open::lock(path)?;
        let writer = open::writer(path)?;
        let permits = Semaphore::new(READERS_MAX);
        let readers = Readers::Pool {
            path: path.to_owned(),
            idle: Mutex::default(),
            permits,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                writer: Mutex::new(writer),
                readers,
                _lock: Some(lock),
            }),
            execution,
        })
    }

    /// The version of the tables that this program knows: the number of steps that lead to them.
    pub const VERSION: usize = open::VERSION;

    /// Copies the database as of one moment to a new file at `to`, which can be opened like this one. Commits go on meanwhile; what they write
    /// takes room beside the file until the copy is made. Blocks; asks `goes_on` every few milliseconds.
    ///
    /// # Errors
    /// If it cannot be read or written, or `goes_on` says no. What is there of the copy then is of no use.
    pub fn copy_to(&self, to: &Path, goes_on: impl FnMut() -> bool) -> Result<(), Error> {
        match &self.inner.readers {
            Readers::Writer => Err(Error::Unavailable("it is in memory".to_owned())),
            Readers::Pool { path, .. } => copy::copy(path, to, goes_on),
        }
    }

    /// Reads all of the database, and says whether it is sound.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with what is wrong first.
    pub fn examine(&self) -> Result<(), Error> {
        let writer = self.inner.writer();
        let verdict = writer.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        let verdict = verdict.map_err(error::read)?;
        if verdict == "ok" {
            Ok(())
        } else {
            Err(Error::Corrupt(verdict))
        }
    }

    /// A database in memory, for tests and simulations: gone with the last clone.
    pub fn in_memory(execution: Execution) -> Result<Self, AcquireError> {
        let writer = open::in_memory()?;
        let inner = Inner {
            writer: Mutex::new(writer),
            readers: Readers::Writer,
            _lock: None,
        };
        Ok(Self {
            inner: Arc::new(inner),
            execution,
        })
    }

    /// Runs `work` where blocking calls are made; none if it panicked there.
    async fn run<R: Send + 'static>(&self, work: impl FnOnce(&Inner) -> R + Send + 'static) -> Option<R> {
        let inner = Arc::clone(&self.inner);
        match self.execution {
            Execution::Inline => Some(work(&inner)),
            Execution::Threads => tokio::task::spawn_blocking(move || work(&inner)).await.ok(),
        }
    }

    async fn write<R: Send + 'static>(&self, work: impl FnOnce(&mut Connection) -> R + Send + 'static) -> Option<R> {
        self.run(move |inner| work(&mut inner.writer())).await
    }

    async fn read<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, Error> {
        let _permit = match &self.inner.readers {
            Readers::Writer => None,
            Readers::Pool { permits, .. } => Some(permits.acquire().await.expect("the semaphore is never closed")),
        };
        let result = self.run(move |inner| inner.read(work)).await;
        result.unwrap_or_else(|| Err(Error::Unavailable("the read was broken off".to_owned())))
    }
}

impl Inner {
    fn writer(&self) -> MutexGuard<'_, Connection> {
        let connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "a transaction that was broken off cannot be rolled back");
        }
        connection
    }

    fn read<R>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<R>) -> Result<R, Error> {
        let (path, idle) = match &self.readers {
            Readers::Writer => return work(&self.writer()).map_err(error::read),
            Readers::Pool { path, idle, .. } => (path, idle),
        };
        let pooled = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => open::reader(path).map_err(error::read)?,
        };
        // A connection that failed is not used again.
        let result = work(&connection).map_err(error::read)?;
        idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(result)
    }
}

impl Store for Sqlite {
    async fn acquire(&self) -> Result<LeaderEpoch, AcquireError> {
        let result = self.write(write::acquire).await;
        let result = result.unwrap_or_else(|| Err(Error::Unavailable("the call was broken off".to_owned())));
        Ok(result?)
    }

    async fn note_restoration(&self, restoration: Restoration) -> Result<(), Error> {
        let result = self
            .write(move |connection| restoration::note(connection, restoration).map_err(error::read))
            .await;
        result.unwrap_or_else(|| Err(Error::Unavailable("the call was broken off".to_owned())))
    }

    async fn load(&self) -> Result<Snapshot, Error> {
        self.read(read::snapshot).await
    }

    async fn commit(
        &self,
        epoch: LeaderEpoch,
        sequence: Sequence,
        changes: Arc<Vec<Change>>,
    ) -> Result<(), CommitError> {
        let result = self
            .write(move |connection| write::commit(connection, epoch, sequence, &changes))
            .await;
        result.unwrap_or_else(|| Err(CommitError::Unknown("the call was broken off".to_owned())))
    }

    async fn committed(&self, epoch: LeaderEpoch) -> Result<Sequence, Error> {
        let (current, sequence) = self.read(read::leadership).await?;
        if current == epoch {
            Ok(sequence)
        } else {
            Err(Error::Deposed)
        }
    }

    async fn specs(&self, jobs: Vec<JobId>) -> Result<Vec<(JobId, JobSpec)>, Error> {
        self.read(move |connection| read::specs(connection, &jobs)).await
    }

    async fn builds(&self, project: ProjectId, before: Option<u64>, limit: u32) -> Result<Vec<Build>, Error> {
        self.read(move |connection| read::builds(connection, project, before, limit))
            .await
    }

    async fn kept_builds(
        &self,
        project: ProjectId,
        before: Option<u64>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<KeptBuild>, Error> {
        self.read(move |connection| kept::builds(connection, project, before, limit, now))
            .await
    }

    async fn are_sources(&self, project: ProjectId, manifests: Vec<Digest>) -> Result<Vec<bool>, Error> {
        self.read(move |connection| kept::are_sources(connection, project, &manifests))
            .await
    }

    async fn are_wanted(
        &self,
        cluster: ClusterName,
        project: ProjectId,
        manifests: Vec<Digest>,
        now: Timestamp,
    ) -> Result<Vec<bool>, Error> {
        self.read(move |connection| kept::are_wanted(connection, &cluster, project, &manifests, now))
            .await
    }

    async fn build_by_number(&self, project: ProjectId, number: u64) -> Result<Option<Build>, Error> {
        self.read(move |connection| read::build_by_number(connection, project, number))
            .await
    }

    async fn build(&self, build: BuildId) -> Result<Option<Build>, Error> {
        self.read(move |connection| read::build(connection, build)).await
    }

    async fn jobs(&self, build: BuildId, first: u32, limit: u32) -> Result<Vec<(JobNode, JobStatus)>, Error> {
        self.read(move |connection| read::jobs(connection, build, first, limit))
            .await
    }

    async fn indexes(
        &self,
        array: JobId,
        first: u32,
        limit: u32,
        state: Option<JobState>,
    ) -> Result<Vec<JobStatus>, Error> {
        self.read(move |connection| indexes::list(connection, array, first, limit, state))
            .await
    }

    async fn index_counts(&self, array: JobId) -> Result<Counts, Error> {
        self.read(move |connection| indexes::counts(connection, array)).await
    }

    async fn job(&self, job: JobId) -> Result<Option<JobRecord>, Error> {
        self.read(move |connection| read::job(connection, job)).await
    }

    async fn are_caches(
        &self,
        cluster: ClusterName,
        project: ProjectId,
        manifests: Vec<Digest>,
    ) -> Result<Vec<bool>, Error> {
        self.read(move |connection| caches::are_caches(connection, &cluster, project, &manifests))
            .await
    }

    async fn secrets(
        &self,
        project: ProjectId,
        names: Vec<SecretName>,
    ) -> Result<Vec<(SecretName, SealedValue)>, Error> {
        self.read(move |connection| secrets::sealed(connection, project, &names))
            .await
    }

    async fn secret_keys(&self) -> Result<Vec<String>, Error> {
        self.read(secrets::keys).await
    }

    async fn trigger_file(&self, project: ProjectId, name: TriggerName) -> Result<Option<TriggerFile>, Error> {
        self.read(move |connection| triggers::file(connection, project, &name))
            .await
    }

    async fn append_log(&self, epoch: LeaderEpoch, writes: Vec<LogWrite>) -> Result<(), Error> {
        let result = self
            .write(move |connection| logs::append(connection, epoch, &writes))
            .await;
        result.unwrap_or_else(|| Err(Error::Unavailable("the call was broken off".to_owned())))
    }

    async fn read_log(&self, attempt: AttemptId, first: u64, limit: u32) -> Result<Vec<LogLine>, Error> {
        self.read(move |connection| logs::read(connection, attempt, first, limit))
            .await
    }

    async fn log_state(&self, attempt: AttemptId) -> Result<LogState, Error> {
        self.read(move |connection| logs::state(connection, attempt)).await
    }
}
