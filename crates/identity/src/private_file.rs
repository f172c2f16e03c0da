//! Files that only their owner may read, replaced as a whole.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// A file of the identity that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`: {source}", path.display())]
pub struct Error {
    /// `read`, `write`, `create`.
    pub action: &'static str,
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The largest file that is read: keys and certificates have a few KiB.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Makes the folder (mode 0700) and its parents.
pub fn create_folder(folder: &Path) -> Result<(), Error> {
    let failed = |source| Error {
        action: "create",
        path: folder.to_owned(),
        source,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)
}

/// Writes a file with mode 0600: after a crash either the old content is there or the new.
pub fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    Staged::write(path, content, None)?.place()
}

/// A file that is written, and not in its place yet. What is not placed is removed.
pub(crate) struct Staged<'a> {
    path: &'a Path,
    temporary: PathBuf,
    is_placed: bool,
}

impl<'a> Staged<'a> {
    /// Writes a file that has owner, group and mode of the one at `path`, which must be there; of the mode no more than `widest`.
    pub(crate) fn like_present(path: &'a Path, content: &[u8], widest: u32) -> Result<Self, Error> {
        let present = fs::metadata(path).map_err(|source| Error {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        Self::write(path, content, Some((&present, widest)))
    }

    fn write(path: &'a Path, content: &[u8], like: Option<(&Metadata, u32)>) -> Result<Self, Error> {
        let failed = |action| {
            move |source| Error {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{:08x}.new", rand::random::<u32>()));
        let temporary = path.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&temporary).map_err(failed("write"))?;
        let staged = Self {
            path,
            temporary,
            is_placed: false,
        };
        if let Some((present, widest)) = like {
            keep(&file, present, widest).map_err(failed("keep owner, group and mode of"))?;
        }
        let written = file.write_all(content).and_then(|()| file.sync_all());
        written.map_err(failed("write"))?;
        Ok(staged)
    }

    /// Puts it into its place.
    pub(crate) fn place(mut self) -> Result<(), Error> {
        let placed = fs::rename(&self.temporary, self.path).and_then(|()| {
            self.is_placed = true;
            match self.path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
                _ => Ok(()),
            }
        });
        placed.map_err(|source| Error {
            action: "write",
            path: self.path.to_owned(),
            source,
        })
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if !self.is_placed {
            // The first error is the one to report; what is left behind has a name that nothing reads.
            fs::remove_file(&self.temporary).ok();
        }
    }
}

/// Makes a new file that of the present one's owner and group, and readable for those who could read that one.
fn keep(file: &File, present: &Metadata, widest: u32) -> io::Result<()> {
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (present.uid(), present.gid()) {
        fchown(file, Some(present.uid()), Some(present.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(present.mode() & widest))
}

/// Reads a file of text; `None` if there is none.
pub fn read(path: &Path) -> Result<Option<String>, Error> {
    use io::Read;
    let failed = |source| Error {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Reads a file of text that must be there.
pub fn read_existing(path: &Path) -> Result<String, Error> {
    read(path)?.ok_or_else(|| Error {
        action: "read",
        path: path.to_owned(),
        source: io::ErrorKind::NotFound.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        create_folder(&inner).unwrap();
        let path = inner.join("key.pem");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read_existing(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1, "nothing else is left behind");
        assert!(write(&inner.join("none/x"), b"").is_err());
        assert!(
            read_existing(&inner.join("none"))
                .unwrap_err()
                .to_string()
                .contains("none")
        );
    }
}
