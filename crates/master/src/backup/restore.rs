//! Makes a data folder of a backup, for a master that takes the place of the one that was lost.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use tombolo_core::restoration::Restoration;
use tombolo_core::time::Timestamp;
use tombolo_store::sqlite::Execution;
use tombolo_store::{Sqlite, Store};

use super::check::{Untaken, read};
use super::{DATABASE, Error, Report, check, failed};
use crate::Database;
use crate::bootstrap::{self, DataFolder};
use crate::clock::{Clock, SystemClock};
use crate::configuration::Configuration;

/// Where everything is until all of it is there.
const WORKSHOP: &str = ".restoring";

/// What is copied at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// What a new disk has.
const LOST_AND_FOUND: &str = "lost+found";

/// Makes `folder` the data folder of a master, from the backup in `file`. The folder is made if it is not there. Until the backup was found to be
/// whole, nothing is written; what cannot be finished is removed.
///
/// # Errors
/// See [`Error`]; above all if the folder has anything in it.
pub async fn restore(file: &Path, folder: &Path) -> Result<Report, Error> {
    let (backup, place) = (file.to_owned(), folder.to_owned());
    let prepared = tokio::task::spawn_blocking(move || prepare(&backup, &place));
    let report = prepared
        .await
        .map_err(|error| Error::Damaged(format!("it could not be read: {error}")))??;
    let workshop = folder.join(WORKSHOP);
    let finished = match note(&workshop.join(DATABASE)).await {
        Ok(()) => settle(&workshop, folder),
        Err(error) => Err(error),
    };
    if finished.is_err() {
        // The first error is the one to tell; the folder counts as empty with this in it.
        fs::remove_dir_all(&workshop).ok();
    }
    finished.map(|()| report)
}

/// Checks the backup and the folder, and unpacks the one into the other.
fn prepare(file: &Path, folder: &Path) -> Result<Report, Error> {
    let report = check(file)?;
    if SystemClock.now().wall <= report.header.created_at {
        return Err(Error::Clock);
    }
    let workshop = folder.join(WORKSHOP);
    make_folder(folder)?;
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let name = entry.map_err(failed("read", folder))?.file_name();
        if name == OsStr::new(WORKSHOP) {
            fs::remove_dir_all(&workshop).map_err(failed("remove", &workshop))?;
        } else if name != OsStr::new(LOST_AND_FOUND) {
            return Err(Error::Occupied(folder.display().to_string()));
        }
    }
    let unpacked = unpack(file, &workshop);
    if unpacked.is_err() {
        fs::remove_dir_all(&workshop).ok();
    }
    unpacked.map(|()| report)
}

fn unpack(file: &Path, workshop: &Path) -> Result<(), Error> {
    make_folder(workshop)?;
    read(file, |name, content| {
        let path = workshop.join(name);
        let made = make_file(&path).map_err(failed("write", &path));
        copy(content, &mut made.map_err(Untaken::Unwritten)?, &path)
    })?;
    let folder = File::open(workshop).map_err(failed("open", workshop))?;
    let synced = rustix::fs::syncfs(&folder).map_err(io::Error::from);
    synced.map_err(failed("write", workshop))
}

fn make_file(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Tells what cannot be read from what cannot be written.
pub(super) fn copy(from: &mut dyn Read, to: &mut File, path: &Path) -> Result<(), Untaken> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Untaken::Unread(error)),
        };
        let written = to.write_all(piece.get(..count).unwrap_or_default());
        written.map_err(|error| Untaken::Unwritten(failed("write", path)(error)))?;
    }
}

fn make_folder(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(failed("make", path))
}

/// Brings the database's tables up to date, and notes in it that it was restored. There may be none.
async fn note(database: &Path) -> Result<(), Error> {
    if !database.exists() {
        return Ok(());
    }
    let unusable = |error: &dyn std::fmt::Display| Error::Database(error.to_string());
    let place = database.to_owned();
    let opening = tokio::task::spawn_blocking(move || {
        let store = Sqlite::open(&place, Execution::Threads)?;
        store.examine()?;
        Ok::<_, tombolo_store::AcquireError>(store)
    });
    let store = opening.await.map_err(|error| unusable(&error))?;
    let store = store.map_err(|error| unusable(&error))?;
    let restoration = Restoration {
        at: SystemClock.now().wall,
    };
    store
        .note_restoration(restoration)
        .await
        .map_err(|error| unusable(&error))?;
    drop(store);
    let mut lock = database.as_os_str().to_owned();
    lock.push(".lock");
    fs::remove_file(&lock).map_err(failed("remove", Path::new(&lock)))
}

/// Moves all to its place, the database last: a master that is started too early finds none, and another one's keys.
fn settle(workshop: &Path, folder: &Path) -> Result<(), Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(workshop).map_err(failed("read", workshop))? {
        names.push(entry.map_err(failed("read", workshop))?.file_name());
    }
    names.sort_by_key(|name| name == DATABASE);
    for name in names {
        let path = workshop.join(&name);
        fs::rename(&path, folder.join(&name)).map_err(failed("move", &path))?;
    }
    fs::remove_dir(workshop).map_err(failed("remove", workshop))?;
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(failed("write", folder))
}

/// Notes in the database of this configuration that it went back in time: it was restored by other means. Its master must not run.
///
/// # Errors
/// If there is no database, it is in use, or it is another installation's.
pub async fn note_database_went_back(configuration: &Configuration) -> Result<(), Error> {
    let checked = configuration
        .validate()
        .map_err(|faults| Error::Nothing(faults.to_string()))?;
    let folder = DataFolder::at(&configuration.data_folder);
    if configuration.database.url.is_none() && !folder.database().exists() {
        return Err(Error::Nothing(format!(
            "there is no database in `{}`",
            configuration.data_folder.display()
        )));
    }
    let authority = bootstrap::existing_authority(configuration, &checked.domain, &folder);
    let authority = authority
        .map_err(|error| Error::Nothing(error.to_string()))?
        .ok_or_else(|| {
            Error::Nothing(format!(
                "there is no certificate authority in `{}`: restore the keys first",
                configuration.data_folder.display()
            ))
        })?;
    let unusable = |error: &dyn std::fmt::Display| Error::Database(error.to_string());
    let opened = Database::open(&configuration.database, &authority.pins(), &folder).await;
    let store = opened.map_err(|error| unusable(&error))?;
    let at: Timestamp = SystemClock.now().wall;
    let noted = store.note_restoration(Restoration { at }).await;
    noted.map_err(|error| unusable(&error))
}
