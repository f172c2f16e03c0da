//! Makes a backup, and writes it piece by piece to whoever asked for it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tombolo_identity::authority::Authority;
use tombolo_identity::private_file;
use tombolo_store::Sqlite;
use tombolo_transfer::store::StoreLocation;

use super::archive::Archive;
use super::{DATABASE, FORMAT, HEADER, Header, KEYS, Kept, SOURCES};
use crate::Database;
use crate::rest::Sink;
use crate::run::Base;

/// The pieces that are sent, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// What the names of folders begin with in which the database is copied.
const WORKSHOP: &str = ".backup-";

/// Room that is left on the disk beside the copy of the database, in bytes: commits need some.
const ROOM_BYTES: u64 = 64 * 1024 * 1024;

/// How often the authority's files are read again that do not fit each other, and after which pause.
const AUTHORITY_TRIES: u32 = 5;
const AUTHORITY_PAUSE: Duration = Duration::from_millis(100);

/// Why no backup is made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Another one is being made.
    #[error("another backup is being made")]
    Busy,
    /// There is no room for a copy of the database.
    #[error(
        "there is no room for a copy of the database in the master's data folder: {free} bytes are free, {needed} are needed"
    )]
    Full {
        /// What there is.
        free: u64,
        /// What there should be.
        needed: u64,
    },
    /// The disk does not say.
    #[error("cannot look at the data folder: {0}")]
    Disk(#[from] io::Error),
}

/// Makes backups, one at a time. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Maker {
    base: Arc<Base>,
    store: Arc<Database>,
    turns: Arc<Semaphore>,
    stopping: CancellationToken,
}

/// The right to make one.
pub(crate) struct Turn {
    maker: Maker,
    _permit: OwnedSemaphorePermit,
}

impl Maker {
    /// Of this master.
    pub(crate) fn new(base: Arc<Base>, store: Arc<Database>, stopping: CancellationToken) -> Self {
        Self {
            base,
            store,
            turns: Arc::new(Semaphore::new(1)),
            stopping,
        }
    }

    /// The right to make one now.
    pub(crate) fn turn(&self) -> Result<Turn, Refused> {
        let permit = self.turns.clone().try_acquire_owned().map_err(|_| Refused::Busy)?;
        let folder = self.base.folder.path();
        remove_workshops(folder)?;
        if let Database::Sqlite(_) = &*self.store {
            let database = self.base.folder.database();
            let log = database.with_extension("sqlite-wal");
            let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
            let needed = size(&database) + size(&log) + ROOM_BYTES;
            let disk = rustix::fs::statvfs(folder).map_err(io::Error::from)?;
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            if free < needed {
                return Err(Refused::Full { free, needed });
            }
        }
        Ok(Turn {
            maker: self.clone(),
            _permit: permit,
        })
    }

    fn header(&self) -> Header {
        Header {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            created_at: self.base.clock.now().wall,
            trust_domain: self.base.checked.domain.to_string(),
            authority: self.base.foundation.authority.pin(),
            public_url: self.base.checked.public_url.clone(),
            agents: self.base.configuration.agents.addresses.clone(),
            database: match &*self.store {
                Database::Sqlite(_) => Kept::Here(Sqlite::VERSION),
                Database::Postgres(_) => Kept::Elsewhere,
            },
            sources: match self.sources() {
                Some(_) => Kept::Here(()),
                None => Kept::Elsewhere,
            },
        }
    }

    /// The folder of the sources, if they are in one.
    fn sources(&self) -> Option<PathBuf> {
        match &self.base.configuration.sources {
            None => Some(self.base.folder.sources()),
            Some(StoreLocation::Local(local)) => Some(local.path.clone()),
            Some(_) => None,
        }
    }

    /// Where each key is: under the name that it has in a data folder, also where it is given by a file elsewhere.
    fn keys(&self) -> [(&'static str, PathBuf); 5] {
        let configuration = &self.base.configuration;
        let authority = &configuration.authority;
        let given = [
            authority.certificate_file.clone(),
            authority.key_file.clone(),
            authority.grant_key_file.clone(),
            configuration.secrets.key_file.clone(),
            None,
        ];
        let mut places = KEYS.into_iter().zip(given).map(|(name, given)| {
            let own = self.base.folder.path().join(name);
            (name, given.unwrap_or(own))
        });
        std::array::from_fn(|_| places.next().expect("there are as many as names"))
    }
}

impl Turn {
    /// Writes the backup. What goes wrong on the way is in its last entry, and in the log.
    pub(crate) async fn write(self, sink: Sink) -> io::Result<()> {
        let runtime = Handle::current();
        let writing = tokio::task::spawn_blocking(move || self.write_blocking(sink, runtime));
        writing.await.map_err(io::Error::other)?
    }

    fn write_blocking(self, sink: Sink, runtime: Handle) -> io::Result<()> {
        let reader = sink.clone();
        let mut archive = Archive::new(Outlet::new(sink, runtime))?;
        let stopping = self.maker.stopping.clone();
        let goes_on = move || reader.is_read() && !stopping.is_cancelled();
        match self.fill(&mut archive, &goes_on) {
            Ok(()) => {
                archive.finish()?;
                tracing::info!("made a backup");
                Ok(())
            }
            Err(error) if goes_on() => {
                tracing::error!(%error, "a backup could not be made");
                archive.give_up(&error).map(drop)
            }
            Err(error) => {
                tracing::warn!(%error, "a backup was broken off");
                Err(error)
            }
        }
    }

    fn fill(&self, archive: &mut Archive<Outlet>, goes_on: &dyn Fn() -> bool) -> io::Result<()> {
        let header = serde_json::to_vec_pretty(&self.maker.header())?;
        archive.add(HEADER, &mut &*header, header.len() as u64)?;
        archive.flush()?;
        if let Database::Sqlite(store) = &*self.maker.store {
            let prefix = tempfile::Builder::new()
                .prefix(WORKSHOP)
                .tempdir_in(self.maker.base.folder.path());
            let workshop = prefix?;
            let copy = workshop.path().join(DATABASE);
            store.copy_to(&copy, goes_on).map_err(io::Error::other)?;
            archive.add_file(DATABASE, &copy)?;
        }
        let [certificates, key, others @ ..] = self.maker.keys();
        let pair = authority(&certificates.1, &key.1)?;
        for ((name, _), content) in [certificates, key].iter().zip(&pair) {
            archive.add(name, &mut content.as_bytes(), content.len() as u64)?;
        }
        for (name, path) in others {
            // A file that is not there is one that this master does without.
            archive.add_file(name, &path)?;
        }
        match self.maker.sources() {
            Some(folder) => add_folder(archive, SOURCES.trim_end_matches('/'), &folder, goes_on),
            None => Ok(()),
        }
    }
}

/// Certificates and key of the authority, which fit each other. They may be replaced between the reading of one and of the other: then they
/// are read again.
fn authority(certificates: &Path, key: &Path) -> io::Result<[Zeroizing<String>; 2]> {
    let mut tries = 0;
    loop {
        let read = |path: &Path| private_file::read_existing(path).map_err(io::Error::other);
        let pair = [Zeroizing::new(read(certificates)?), Zeroizing::new(read(key)?)];
        match Authority::load(&pair[0], &SecretString::from(pair[1].as_str())) {
            Ok(_) => return Ok(pair),
            Err(_) if tries < AUTHORITY_TRIES => {
                tries += 1;
                std::thread::sleep(AUTHORITY_PAUSE);
            }
            Err(error) => {
                let words = format!("the files of the certificate authority cannot be used: {error}");
                return Err(io::Error::other(words));
            }
        }
    }
}

/// Removes what a backup that was broken off by the end of the process has left.
fn remove_workshops(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(WORKSHOP) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Adds all files of a folder, in the order of their names. Those that come and go meanwhile belong to no build of the database that was copied
/// before.
fn add_folder<W: Write>(
    archive: &mut Archive<W>,
    name: &str,
    folder: &Path,
    goes_on: &dyn Fn() -> bool,
) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut found: Vec<(String, bool)> = Vec::new();
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        // `#`: what the store has not finished writing.
        match entry.file_name().into_string() {
            Ok(name) if (kind.is_dir() || kind.is_file()) && !name.contains('#') => found.push((name, kind.is_dir())),
            _ => {}
        }
    }
    found.sort_unstable();
    for (child, is_folder) in found {
        if !goes_on() {
            return Err(io::Error::other("it was broken off"));
        }
        let (name, path) = (format!("{name}/{child}"), folder.join(child));
        if is_folder {
            add_folder(archive, &name, &path, goes_on)?;
        } else {
            archive.add_file(&name, &path)?;
        }
    }
    Ok(())
}

/// Sends what is written, in pieces, and waits for the reader.
struct Outlet {
    sink: Sink,
    runtime: Handle,
    piece: BytesMut,
}

impl Outlet {
    fn new(sink: Sink, runtime: Handle) -> Self {
        Self {
            sink,
            runtime,
            piece: BytesMut::with_capacity(PIECE_BYTES),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let piece: Bytes = self.piece.split().freeze();
        self.piece.reserve(PIECE_BYTES);
        let sent = self.runtime.block_on(self.sink.send(piece));
        sent.map_err(io::Error::other)
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() >= PIECE_BYTES {
            self.send()?;
        }
        let count = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.put_slice(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { self.send() }
    }
}

#[cfg(test)]
mod tests {
    use tombolo_core::time::Timestamp;
    use tombolo_identity::member::TrustDomain;

    use super::*;

    #[test]
    fn an_authority_whose_key_is_anothers_is_not_backed_up() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for folder in &folders {
            let made = Authority::create(TrustDomain::default(), Timestamp(1_700_000_000_000)).unwrap();
            made.save(folder.path()).unwrap();
        }
        let (certificates, key) = Authority::files(folders[0].path());
        authority(&certificates, &key).unwrap();
        let (_, foreign) = Authority::files(folders[1].path());
        let refused = authority(&certificates, &foreign).unwrap_err();
        assert!(refused.to_string().contains("does not belong"), "{refused}");
    }
}
