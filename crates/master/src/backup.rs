//! Backups: everything that another machine needs to be this master.
//!
//! A backup is one file, a tar archive compressed by zstd. First comes `backup.json`, which says what it is a backup of; then the database,
//! the keys, and the sources of builds where they are in a folder; last `manifest.jsonl` with name, size and BLAKE3 of each file before it. It
//! is made while the master works, from one moment of the database, and sent while it is made.

mod archive;
mod check;
mod make;
mod restore;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use tombolo_core::time::Timestamp;

pub use check::{Report, check};
pub(crate) use make::{Maker, Refused};
pub use restore::{note_database_went_back, restore};

/// The version of the format that this program writes. It reads this one and those before.
const FORMAT: u32 = 1;

/// The first entry.
const HEADER: &str = "backup.json";
/// The last entry of a backup that is whole.
const MANIFEST: &str = "manifest.jsonl";
/// The last entry of one that could not be finished: why.
const FAILURE: &str = "failure.txt";

/// The database, if it is a file.
const DATABASE: &str = "tombolo.sqlite";
/// What the names of sources begin with.
const SOURCES: &str = "sources/";
/// The other files, as they lie in a data folder.
const KEYS: [&str; 5] = [
    "authority/ca.pem",
    "authority/ca.key.pem",
    "authority/grant.key.pem",
    "secrets.key",
    "admin.token",
];

/// The longest line of the manifest, and the longest header or reason of a failure, in bytes.
const TEXT_BYTES_MAX: u64 = 64 * 1024;

/// What a backup is a backup of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub format: u32,
    /// The version of the program that made it.
    pub program: String,
    /// When.
    pub created_at: Timestamp,
    /// Whose it is.
    pub trust_domain: String,
    /// The pin of the certificate authority.
    pub authority: String,
    /// Where users saw the master.
    pub public_url: String,
    /// Where the configuration says that agents reach it; empty if it says nothing.
    pub agents: Vec<String>,
    /// Where the database is.
    pub database: Kept<usize>,
    /// Where the sources of builds are.
    pub sources: Kept<()>,
}

/// Whether a backup has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept<T> {
    /// It is in the backup.
    Here(T),
    /// It is on a server of its own, and has to be backed up there.
    Elsewhere,
}

/// A line of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    name: String,
    size: u64,
    blake3: String,
}

/// Why there is no backup, or nothing was restored from it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is another kind of file.
    #[error("this is not a backup of Tombolo: {0}")]
    Foreign(String),
    /// It is not all there.
    #[error("the backup is cut off after {0}; take another one")]
    CutOff(String),
    /// It is not what was written.
    #[error("the backup is damaged: {0}; take another one")]
    Damaged(String),
    /// Whoever made it could not finish.
    #[error("the master could not finish this backup: {0}")]
    Unfinished(String),
    /// It was made by a newer program.
    #[error("the backup was made by version {program} of Tombolo, which this version ({}) cannot read: {what}", env!("CARGO_PKG_VERSION"))]
    Newer {
        /// The program's version.
        program: String,
        /// What is newer.
        what: &'static str,
    },
    /// The folder is in use.
    #[error("`{0}` is not empty: a backup is restored into a new folder only")]
    Occupied(String),
    /// The calendar cannot be right.
    #[error(
        "the clock of this machine is behind that of the master that was backed up: numbers of attempts go on from the time of the \
         restoration; set the clock first"
    )]
    Clock,
    /// The database in the backup, or the one that went back.
    #[error("the database cannot be used: {0}")]
    Database(String),
    /// There is nothing that could have gone back.
    #[error("{0}")]
    Nothing(String),
    /// No room for a file. The backup may be a good one.
    #[error("there is no room: {what}: {error}")]
    Full {
        /// What was done to which.
        what: String,
        /// In the system's words.
        error: std::io::Error,
    },
    /// A file.
    #[error("{what}: {error}")]
    File {
        /// What was done to which.
        what: String,
        /// Why it failed.
        error: std::io::Error,
    },
}

fn failed<'a>(action: &'a str, path: &'a std::path::Path) -> impl FnOnce(std::io::Error) -> Error + 'a {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    move |error| {
        let what = format!("cannot {action} `{}`", path.display());
        match error.kind() {
            StorageFull | QuotaExceeded => Error::Full { what, error },
            _ => Error::File { what, error },
        }
    }
}
