//! The folders that a command finds, wherever it runs.

use std::fs;
use std::io;
use std::path::Path;

/// The folder that is kept between runs, for jobs that ask for it.
pub(crate) const CACHE: &str = "cache";

/// Made for every command. What is in `context` and `inputs` comes later.
const FOLDERS: [&str; 12] = [
    "context",
    "inputs",
    "output",
    CACHE,
    "shared",
    "home",
    "upload",
    "upload/testresult",
    "upload/coverage",
    "upload/markup",
    "upload/badge",
    "upload/archive",
];

/// Makes those of the folders that are not there yet.
pub(crate) fn make_folders(sandbox: &Path) -> io::Result<()> {
    for name in FOLDERS {
        let folder = sandbox.join(name);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            made => made?,
        }
    }
    Ok(())
}

/// Whether a command has left nothing in `folder`.
pub(crate) fn is_empty(folder: &Path) -> bool {
    match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        // Removed by the job: nothing is left behind. Of another fault the packer tells.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
