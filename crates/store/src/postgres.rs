//! The store in Postgres. All of its SQL is below this module.
//!
//! What is stored is what [`sqlite`](crate::sqlite) says of its own tables, with the types that Postgres has. Texts with
//! characters that it refuses are escaped (`text`).
//!
//! * **One session writes** (`writer`). It holds a lock of the database for as long as it lives, so that a second master is refused
//!   at its start. When the session is lost, the next one first ends what is left of it; then nothing is under way any more, and
//!   what was committed can be read back. What cannot be kept out by a lock (a session that the server gave up, while its master
//!   does not know it yet) the epoch keeps out: each commit writes it in its own transaction, in which nothing else may happen
//!   if it is not the present one.
//! * **Few statements** (`plan`, `table`, `write`). A change set is sorted by tables, and each table is one statement over arrays. The
//!   statements are sent one behind the other; only `COMMIT` waits until it is known that all of them went well.
//! * **Some sessions read** (`readers`), beside the commits and never waiting for them, and one writes logs.
//! * **Every wait ends**: connecting, each statement (also by the server's own clock), a peer that is gone.

mod candidate;
mod connection;
mod error;
mod indexes;
mod kept;
mod lease;
mod logs;
mod migrate;
mod plan;
mod read;
mod readers;
mod record;
mod restoration;
mod row;
mod secrets;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod text;
mod tls;
mod triggers;
mod write;
mod writer;

use std::sync::Arc;
use std::time::Duration;

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
use connection::Connection;
use readers::Readers;
use target::Target;
use writer::{Writer, WriterError};

pub use candidate::{Candidate, Standing, Taken};
pub use lease::{Addresses, Leader};
pub use target::{InvalidLocation, Location};

/// How long the statements of one commit or of one call that writes logs may take.
const WRITE_MAX: Duration = Duration::from_secs(75);

/// How long `COMMIT` may take: it waits for the server's disk, and for its standbys if it has such.
const COMMIT_MAX: Duration = Duration::from_secs(30);

/// How long the tables may take to be brought up to date.
const MIGRATION_MAX: Duration = Duration::from_secs(60 * 60);

/// The store in Postgres.
#[derive(Debug, Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    target: Target,
    writer: Writer,
    /// Writes logs, so that commits do not wait for them.
    log_writer: tokio::sync::Mutex<Option<Connection>>,
    readers: Readers,
}

impl Postgres {
    /// Opens the database as its only master, and brings its tables up to date. A server that does not answer, and another master, are
    /// waited for for as long as `patience`: a master that died a moment ago may still be thought alive.
    ///
    /// # Errors
    /// [`AcquireError::Held`] if another master uses the database.
    pub async fn open(location: &Location, patience: Duration) -> Result<Self, AcquireError> {
        let alone = Standing::default();
        Candidate::new(location, alone)?.lead_within(patience).await
    }

    /// The store of a master whose session that writes has the lock, and whose term has begun.
    fn led_by(target: Target, writer: Writer) -> Self {
        let inner = Inner {
            writer,
            log_writer: tokio::sync::Mutex::default(),
            readers: Readers::new(target.clone()),
            target,
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Inner {
    /// Has `changes` written.
    async fn commit(&self, epoch: LeaderEpoch, sequence: Sequence, changes: &[Change]) -> Result<(), CommitError> {
        let turn = self.writer.turn().await?;
        let written = write::statements(turn.connection(), epoch, sequence, changes);
        let written = tokio::time::timeout(WRITE_MAX, written).await;
        let written = written.unwrap_or_else(|_| Err(CommitError::Unavailable("writing took too long".to_owned())));
        if let Err(error) = written {
            let keep = matches!(error, CommitError::Rejected(_) | CommitError::Deposed);
            if keep && turn.connection().client().batch_execute("ROLLBACK").await.is_ok() {
                turn.give_back();
            }
            return Err(error);
        }
        match tokio::time::timeout(COMMIT_MAX, write::commit(turn.connection())).await {
            Ok(committed) => committed?,
            Err(_) => return Err(CommitError::Unknown("the server does not answer".to_owned())),
        }
        self.writer.acknowledge(epoch, sequence);
        turn.give_back();
        Ok(())
    }

    /// The present leadership and its last commit, over the session that writes: where that had to be made anew, what was under
    /// way of the one before is over.
    async fn leadership(&self) -> Result<(LeaderEpoch, Sequence), Error> {
        let turn = self.writer.turn().await?;
        let read = tokio::time::timeout(WRITE_MAX, read::leadership(turn.connection())).await;
        let leadership = read.map_err(too_long)??;
        turn.give_back();
        Ok(leadership)
    }

    async fn append_log(&self, epoch: LeaderEpoch, writes: &[LogWrite]) -> Result<(), Error> {
        let mut slot = self.log_writer.lock().await;
        let connection = match slot.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => {
                let opened = Connection::open(&self.target, &writer::logging(self.writer.holder())).await;
                opened.map_err(|error| Error::Unavailable(error.reason))?
            }
        };
        logs::append(&connection, epoch, writes).await?;
        *slot = Some(connection);
        Ok(())
    }
}

fn acquire_error(error: WriterError, target: &Target) -> AcquireError {
    match error {
        WriterError::Held(database) => AcquireError::Held { database },
        WriterError::Followed => AcquireError::Followed {
            database: target.place.clone(),
        },
        error => AcquireError::Store(error.into()),
    }
}

fn too_long<T>(_: T) -> Error {
    Error::Unavailable("the call took too long".to_owned())
}

impl Store for Postgres {
    async fn acquire(&self) -> Result<LeaderEpoch, AcquireError> {
        let writer = &self.inner.writer;
        let turn = match writer.turn().await {
            Err(WriterError::Lost) => {
                writer.forget();
                writer.turn().await
            }
            turn => turn,
        };
        let followed = || acquire_error(WriterError::Followed, &self.inner.target);
        let turn = turn.map_err(|error| acquire_error(error, &self.inner.target))?;
        let term = writer.term().ok_or_else(followed)?;
        let acquired = tokio::time::timeout(WRITE_MAX, write::acquire(turn.connection(), term)).await;
        let epoch = acquired.map_err(too_long)?.map_err(error::read)?.ok_or_else(followed)?;
        writer.acknowledge(epoch, Sequence(0));
        turn.give_back();
        Ok(epoch)
    }

    async fn note_restoration(&self, restoration: Restoration) -> Result<(), Error> {
        let turn = self.inner.writer.turn().await?;
        let noted = tokio::time::timeout(WRITE_MAX, restoration::note(turn.connection(), restoration)).await;
        noted.map_err(too_long)??;
        turn.give_back();
        Ok(())
    }

    async fn load(&self) -> Result<Snapshot, Error> {
        let read = |connection: Arc<Connection>| async move { read::snapshot(&connection).await };
        self.inner.readers.read(read).await
    }

    async fn commit(
        &self,
        epoch: LeaderEpoch,
        sequence: Sequence,
        changes: Arc<Vec<Change>>,
    ) -> Result<(), CommitError> {
        self.inner.commit(epoch, sequence, &changes).await
    }

    async fn committed(&self, epoch: LeaderEpoch) -> Result<Sequence, Error> {
        // The session may have been lost without anybody having noticed yet; the next one knows as well.
        let (current, sequence) = match self.inner.leadership().await {
            Err(Error::Unavailable(_)) => self.inner.leadership().await?,
            leadership => leadership?,
        };
        if current == epoch {
            Ok(sequence)
        } else {
            Err(Error::Deposed)
        }
    }

    async fn specs(&self, jobs: Vec<JobId>) -> Result<Vec<(JobId, JobSpec)>, Error> {
        let jobs = &jobs;
        let read = |connection: Arc<Connection>| async move { read::specs(&connection, jobs).await };
        self.inner.readers.read(read).await
    }

    async fn builds(&self, project: ProjectId, before: Option<u64>, limit: u32) -> Result<Vec<Build>, Error> {
        let read = |connection: Arc<Connection>| async move { read::builds(&connection, project, before, limit).await };
        self.inner.readers.read(read).await
    }

    async fn kept_builds(
        &self,
        project: ProjectId,
        before: Option<u64>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<KeptBuild>, Error> {
        let read =
            |connection: Arc<Connection>| async move { kept::builds(&connection, project, before, limit, now).await };
        self.inner.readers.read(read).await
    }

    async fn are_sources(&self, project: ProjectId, manifests: Vec<Digest>) -> Result<Vec<bool>, Error> {
        let manifests = &manifests;
        let read =
            |connection: Arc<Connection>| async move { kept::are_sources(&connection, project, manifests).await };
        self.inner.readers.read(read).await
    }

    async fn are_wanted(
        &self,
        cluster: ClusterName,
        project: ProjectId,
        manifests: Vec<Digest>,
        now: Timestamp,
    ) -> Result<Vec<bool>, Error> {
        let (cluster, manifests) = (&cluster, &manifests);
        let read = |connection: Arc<Connection>| async move {
            kept::are_wanted(&connection, cluster, project, manifests, now).await
        };
        self.inner.readers.read(read).await
    }

    async fn build_by_number(&self, project: ProjectId, number: u64) -> Result<Option<Build>, Error> {
        let read =
            |connection: Arc<Connection>| async move { read::build_by_number(&connection, project, number).await };
        self.inner.readers.read(read).await
    }

    async fn build(&self, build: BuildId) -> Result<Option<Build>, Error> {
        let read = |connection: Arc<Connection>| async move { read::build(&connection, build).await };
        self.inner.readers.read(read).await
    }

    async fn jobs(&self, build: BuildId, first: u32, limit: u32) -> Result<Vec<(JobNode, JobStatus)>, Error> {
        let read = |connection: Arc<Connection>| async move { read::jobs(&connection, build, first, limit).await };
        self.inner.readers.read(read).await
    }

    async fn indexes(
        &self,
        array: JobId,
        first: u32,
        limit: u32,
        state: Option<JobState>,
    ) -> Result<Vec<JobStatus>, Error> {
        let read =
            |connection: Arc<Connection>| async move { indexes::list(&connection, array, first, limit, state).await };
        self.inner.readers.read(read).await
    }

    async fn index_counts(&self, array: JobId) -> Result<Counts, Error> {
        let read = |connection: Arc<Connection>| async move { indexes::counts(&connection, array).await };
        self.inner.readers.read(read).await
    }

    async fn job(&self, job: JobId) -> Result<Option<JobRecord>, Error> {
        let read = |connection: Arc<Connection>| async move { read::job(&connection, job).await };
        self.inner.readers.read(read).await
    }

    async fn are_caches(
        &self,
        cluster: ClusterName,
        project: ProjectId,
        manifests: Vec<Digest>,
    ) -> Result<Vec<bool>, Error> {
        let (cluster, manifests) = (&cluster, &manifests);
        let read = |connection: Arc<Connection>| async move {
            kept::are_caches(&connection, cluster, project, manifests).await
        };
        self.inner.readers.read(read).await
    }

    async fn secrets(
        &self,
        project: ProjectId,
        names: Vec<SecretName>,
    ) -> Result<Vec<(SecretName, SealedValue)>, Error> {
        let names = &names;
        let read = |connection: Arc<Connection>| async move { secrets::sealed(&connection, project, names).await };
        self.inner.readers.read(read).await
    }

    async fn secret_keys(&self) -> Result<Vec<String>, Error> {
        let read = |connection: Arc<Connection>| async move { secrets::keys(&connection).await };
        self.inner.readers.read(read).await
    }

    async fn trigger_file(&self, project: ProjectId, name: TriggerName) -> Result<Option<TriggerFile>, Error> {
        let name = &name;
        let read = |connection: Arc<Connection>| async move { triggers::file(&connection, project, name).await };
        self.inner.readers.read(read).await
    }

    async fn append_log(&self, epoch: LeaderEpoch, writes: Vec<LogWrite>) -> Result<(), Error> {
        let written = tokio::time::timeout(WRITE_MAX, self.inner.append_log(epoch, &writes)).await;
        written.map_err(too_long)?
    }

    async fn read_log(&self, attempt: AttemptId, first: u64, limit: u32) -> Result<Vec<LogLine>, Error> {
        let read = |connection: Arc<Connection>| async move { logs::read(&connection, attempt, first, limit).await };
        self.inner.readers.read(read).await
    }

    async fn log_state(&self, attempt: AttemptId) -> Result<LogState, Error> {
        let read = |connection: Arc<Connection>| async move { logs::state(&connection, attempt).await };
        self.inner.readers.read(read).await
    }
}
