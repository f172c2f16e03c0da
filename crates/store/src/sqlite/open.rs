//! Opening: the lock, the settings of a connection, the migrations.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};

use super::error;
use crate::port::{AcquireError, Error};

/// Forward only: a migration that was released is never changed, the next one corrects it.
const STEPS: &[M<'static>] = &[
    M::up(include_str!("../../migrations/0001_foundation.sql")),
    M::up(include_str!("../../migrations/0002_volumes.sql")),
    M::up(include_str!("../../migrations/0003_retention.sql")),
    M::up(include_str!("../../migrations/0004_caches.sql")),
    M::up(include_str!("../../migrations/0005_recovery.sql")),
    M::up(include_str!("../../migrations/0006_availability.sql")),
    M::up(include_str!("../../migrations/0007_fair_shares.sql")),
    M::up(include_str!("../../migrations/0008_graph.sql")),
    M::up(include_str!("../../migrations/0009_extensions.sql")),
    M::up(include_str!("../../migrations/0010_secrets.sql")),
    M::up(include_str!("../../migrations/0011_triggers.sql")),
    M::up(include_str!("../../migrations/0012_kept_outputs.sql")),
    M::up(include_str!("../../migrations/0013_restoration_and_handover.sql")),
    M::up(include_str!("../../migrations/0014_invite_pins.sql")),
];
/// Of the tables.
pub(super) const VERSION: usize = STEPS.len();
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// How many prepared statements a connection keeps: more than there are different ones.
const STATEMENTS: usize = 64;

/// How long a statement waits for another connection. Only checkpoints ever make one wait.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes the lock of the database at `path`: on a file beside it, since SQLite's own locks would keep our readers out too.
pub(super) fn lock(path: &Path) -> Result<File, AcquireError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let unavailable = |failure: std::io::Error| {
        let place = Path::new(&lock_path).display();
        AcquireError::Store(Error::Unavailable(format!("cannot lock `{place}`: {failure}")))
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AcquireError::Held {
            database: path.display().to_string(),
        }),
        Err(TryLockError::Error(failure)) => Err(unavailable(failure)),
    }
}

/// The connection that writes, with the tables up to date.
pub(super) fn writer(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path)
        .map_err(|failure| Error::Unavailable(format!("cannot open `{}`: {failure}", path.display())))?;
    prepare(connection)
}

/// A database in memory, with its tables.
pub(super) fn in_memory() -> Result<Connection, Error> {
    prepare(Connection::open_in_memory().map_err(error::read)?)
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn prepare(mut connection: Connection) -> Result<Connection, Error> {
    settings(&connection).map_err(error::read)?;
    MIGRATIONS.to_latest(&mut connection).map_err(|failure| match failure {
        rusqlite_migration::Error::MigrationDefinition(_) => {
            Error::Corrupt("its tables were made by a newer version; use that version or a backup".to_owned())
        }
        failure => Error::Unavailable(format!("its tables cannot be brought up to date: {failure}")),
    })?;
    Ok(connection)
}

fn settings(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // A database in memory answers `memory`; that is fine.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // KiB, by the minus: room for the inner pages of the indexes of some million jobs.
    connection.pragma_update(None, "cache_size", -32_768)?;
    // After a burst the write-ahead log is cut down to this size, in bytes.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tombolo_core::time::Timestamp;

    use super::*;

    #[test]
    fn migrations_are_sound() {
        MIGRATIONS.validate().unwrap();
    }

    /// What an earlier version has written is there, and nothing of it was given up.
    #[test]
    fn earlier_databases_are_brought_up_to_date() {
        for version in 1..STEPS.len() {
            let mut connection = Connection::open_in_memory().unwrap();
            MIGRATIONS.to_version(&mut connection, version).unwrap();
            connection
                .execute_batch(
                    "INSERT INTO projects (id, name, created_at, last_build) VALUES (zeroblob(16), 'demo', 1, 1); \
                     INSERT INTO builds (id, project, number, state, created_at, submitted_by, restarts) \
                     VALUES (zeroblob(16), zeroblob(16), 1, 'finished', 1, 'somebody', 0)",
                )
                .unwrap();
            let connection = prepare(connection).unwrap();
            let project = tombolo_core::id::ProjectId::from_u128(0);
            let kept = super::super::kept::builds(&connection, project, None, 10, Timestamp(0)).unwrap();
            assert_eq!(kept.len(), 1, "from version {version}");
            assert_eq!((kept[0].build.released_at, kept[0].bytes), (None, 0));
            let snapshot = super::super::read::snapshot(&connection).unwrap();
            assert_eq!(snapshot.live.projects[0].retention, None);
        }
    }

    #[test]
    fn second_master_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.db");
        let first = lock(&path).unwrap();
        let error = lock(&path).unwrap_err();
        assert!(
            matches!(&error, AcquireError::Held { .. }) && error.to_string().contains("master.db"),
            "{error}"
        );
        drop(first);
        lock(&path).unwrap();
    }

    #[test]
    fn newer_database_and_other_files_are_refused_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("newer.db");
        writer(&path)
            .unwrap()
            .pragma_update(None, "user_version", 1000)
            .unwrap();
        let error = writer(&path).unwrap_err();
        assert!(error.to_string().contains("newer version"), "{error}");

        let path = folder.path().join("text.db");
        std::fs::write(
            &path,
            "this is a text, and long enough to be taken for a header ".repeat(100),
        )
        .unwrap();
        assert!(matches!(writer(&path), Err(Error::Corrupt(_))));

        let error = writer(&folder.path().join("missing/folder.db")).unwrap_err();
        assert!(error.to_string().contains("missing/folder.db"), "{error}");
    }

    #[test]
    fn jobs_of_earlier_versions_ask_for_no_cache() {
        let mut connection = Connection::open_in_memory().unwrap();
        MIGRATIONS.to_version(&mut connection, 2).unwrap();
        let selector = serde_json::to_string(&tombolo_core::label::Selector::default()).unwrap();
        connection
            .execute_batch(&format!(
                "INSERT INTO projects (id, name, created_at, last_build) VALUES (zeroblob(16), 'demo', 1, 1); \
                 INSERT INTO builds (id, project, number, state, created_at, submitted_by, restarts) \
                 VALUES (zeroblob(16), zeroblob(16), 1, 'running', 1, 'somebody', 0); \
                 INSERT INTO jobs (id, build, position, name, parents, selector, cpu_milli, memory_bytes, \
                 timeout_milliseconds, spec) VALUES (zeroblob(16), zeroblob(16), 0, 'a', '[]', '{selector}', 1, 1, 1, ''); \
                 INSERT INTO job_status (job, state, epoch, message, cancel_requested, inputs, replacements) \
                 VALUES (zeroblob(16), 'queued', 0, '', 0, '[]', 0)",
            ))
            .unwrap();
        let connection = prepare(connection).unwrap();
        let live = super::super::read::snapshot(&connection).unwrap().live;
        assert_eq!(
            live.jobs.iter().map(|(node, _)| node.cache).collect::<Vec<_>>(),
            [false]
        );
        assert!(live.caches.is_empty());
    }
}
