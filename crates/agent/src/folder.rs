//! The folder of one attempt: what lies where in it, and how its records are written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The layout of an attempt's folder. All paths are absolute if the folder's is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptFolder {
    path: PathBuf,
}

/// Whether a record must be on the disk when the call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Survives a power cut: the file and its name are synced.
    Synced,
    /// Survives the death of any process, not a power cut.
    Fast,
}

impl AttemptFolder {
    /// The layout below `path`. Nothing is read or made.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the master asked for; its presence means that the attempt was accepted.
    pub fn assignment(&self) -> PathBuf {
        self.path.join("assignment.json")
    }

    /// How far preparing came: source and inputs are in the sandbox.
    pub fn prepared(&self) -> PathBuf {
        self.path.join("prepared.json")
    }

    /// What the supervisor is to run; written before it is started.
    pub fn specification(&self) -> PathBuf {
        self.path.join("command.json")
    }

    /// Written by the supervisor when the command runs.
    pub fn started(&self) -> PathBuf {
        self.path.join("started.json")
    }

    /// Written by the supervisor when the command and all its descendants have ended.
    pub fn exit(&self) -> PathBuf {
        self.path.join("exit.json")
    }

    /// What belongs into the sandbox, for an executor that does not fill it at once.
    pub fn materials(&self) -> PathBuf {
        self.path.join("materials.json")
    }

    /// Where the lines of a pod begin in the log.
    pub fn pod(&self) -> PathBuf {
        self.path.join("pod.json")
    }

    /// What the command has left behind.
    pub fn collected(&self) -> PathBuf {
        self.path.join("collected.json")
    }

    /// How the attempt ended; its presence means that the end may be reported.
    pub fn ended(&self) -> PathBuf {
        self.path.join("ended.json")
    }

    /// The log's spool.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Locked by the supervisor for as long as it lives.
    pub fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// What the supervisor itself had to say.
    pub fn supervisor_messages(&self) -> PathBuf {
        self.path.join("supervisor.log")
    }

    /// The folder that the command sees as `/tombolo`.
    pub fn sandbox(&self) -> PathBuf {
        self.path.join("sandbox")
    }

    /// Calls `work` with a name for the supervisor's socket that is short enough for every system's limit (about 100
    /// bytes), however long the folder's path is.
    ///
    /// # Errors
    /// Those of opening the folder and of `work`.
    pub fn with_socket<T>(&self, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        self.with_short_name("socket", work)
    }

    /// The same for the socket at which the supervisor takes those who want another command beside the attempt's own.
    ///
    /// # Errors
    /// As [`Self::with_socket`].
    pub fn with_sessions_socket<T>(&self, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        self.with_short_name("sessions", work)
    }

    fn with_short_name<T>(&self, name: &str, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let folder = File::open(&self.path)?;
        work(&PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd())))
    }
}

/// Reads a record; none if there is no such file.
///
/// # Errors
/// Those of reading, and `InvalidData` for a text that is not such a record. Both name the file.
pub fn read_record<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| named(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(named(error)),
    }
}

/// Writes a record whole or not at all, over an earlier one.
///
/// # Errors
/// Those of writing; they name the file.
pub fn write_record<T: Serialize>(path: &Path, record: &T, durability: Durability) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let text = serde_json::to_vec(record).map_err(|error| named(error.into()))?;
    write_whole(path, &text, durability).map_err(named)
}

fn write_whole(path: &Path, text: &[u8], durability: Durability) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(text)?;
    if durability == Durability::Synced {
        file.sync_all()?;
    }
    fs::rename(&temporary, path)?;
    if durability == Durability::Synced {
        let parent = path.parent().expect("a record lies in a folder");
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_name_the_file_that_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number.json");
        assert_eq!(read_record::<u32>(&path).unwrap(), None);
        for (durability, number) in [(Durability::Fast, 1_u32), (Durability::Synced, 2)] {
            write_record(&path, &number, durability).unwrap();
            assert_eq!(read_record(&path).unwrap(), Some(number));
        }
        fs::write(&path, "{").unwrap();
        let error = read_record::<u32>(&path).unwrap_err();
        assert!(error.to_string().contains("number.json"), "{error}");
    }

    #[test]
    fn sockets_work_in_a_folder_with_a_long_path() {
        use std::os::unix::net::{UnixListener, UnixStream};
        let root = tempfile::tempdir().unwrap();
        let folder = AttemptFolder::new(root.path().join("a".repeat(200)));
        fs::create_dir(folder.path()).unwrap();
        let _listener = folder.with_socket(|path| UnixListener::bind(path)).unwrap();
        folder.with_socket(|path| UnixStream::connect(path)).unwrap();
    }
}
