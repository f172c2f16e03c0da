//! The folder beside the destination that takes its place when it is whole. Every name is created in an open folder that this
//! module made itself, so no link, whoever puts it there, is ever followed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fchmod, fstat, mkdirat, openat, symlinkat};
use rustix::io::Errno;

use super::Error;
use crate::remove::remove_tree;

const NEW_FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const OPEN_FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// What a destination gets that did not exist.
const DEFAULT_MODE: u16 = 0o755;

pub(super) struct Stage {
    into: PathBuf,
    staging: PathBuf,
    /// The open folders from the top to where the last entry was, each with the mode that it gets when it is left.
    folders: Vec<(OwnedFd, u16)>,
}

impl Stage {
    /// Opens an empty folder beside `into`.
    pub(super) fn create(into: &Path) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Folder {
            folder: into.to_owned(),
            source,
        };
        let mode = match std::fs::symlink_metadata(into) {
            Ok(found) if found.is_dir() => {
                if std::fs::read_dir(into).map_err(failed)?.next().is_some() {
                    return Err(Error::Occupied(into.to_owned()));
                }
                mode_of(into).map_err(failed)?
            }
            Ok(_) => return Err(Error::Occupied(into.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => DEFAULT_MODE,
            Err(error) => return Err(failed(error)),
        };
        let mut name = std::ffi::OsString::from(".");
        name.push(
            into.file_name()
                .ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?,
        );
        name.push(".unpacking");
        let staging = into.with_file_name(name);
        remove_tree(&staging).map_err(failed)?;
        mkdirat(CWD, &staging, Mode::RWXU).map_err(|error| failed(error.into()))?;
        let mut stage = Self {
            into: into.to_owned(),
            staging,
            folders: Vec::new(),
        };
        let top = openat(CWD, &stage.staging, OPEN_FOLDER, Mode::empty()).map_err(|error| failed(error.into()))?;
        stage.folders.push((top, mode));
        Ok(stage)
    }

    pub(super) fn directory(&mut self, depth: usize, name: &[u8], mode: u16) -> io::Result<()> {
        let parent = self.parent(depth)?;
        mkdirat(parent, name, Mode::RWXU)?;
        let folder = openat(parent, name, OPEN_FOLDER, Mode::empty())?;
        self.folders.push((folder, mode));
        Ok(())
    }

    pub(super) fn symlink(&mut self, depth: usize, name: &[u8], target: &[u8]) -> io::Result<()> {
        Ok(symlinkat(target, self.parent(depth)?, name)?)
    }

    pub(super) fn file(&mut self, depth: usize, name: &[u8]) -> io::Result<File> {
        Ok(openat(self.parent(depth)?, name, NEW_FILE, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Puts the folder in its place.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Folder {
            folder: self.into.clone(),
            source,
        };
        while let Some((folder, mode)) = self.folders.pop() {
            set_mode(&folder, mode).map_err(failed)?;
        }
        match rustix::fs::rename(&self.staging, &self.into) {
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Err(Error::Occupied(self.into.clone())),
            renamed => renamed.map_err(|error| failed(error.into())),
        }
    }

    /// The open folder at `depth`. Folders below it are left: they get their modes, which may forbid writing to them.
    fn parent(&mut self, depth: usize) -> io::Result<&OwnedFd> {
        while self.folders.len() > depth + 1 {
            let (folder, mode) = self.folders.pop().expect("there are more than depth + 1");
            set_mode(&folder, mode)?;
        }
        Ok(&self.folders.last().expect("the top is left only at the end").0)
    }
}

impl Drop for Stage {
    /// Whatever was not put in its place is removed. (After success there is nothing there any more.)
    fn drop(&mut self) {
        self.folders.clear();
        if let Err(error) = remove_tree(&self.staging) {
            tracing::warn!(folder = %self.staging.display(), %error, "cannot remove a folder that was not unpacked whole");
        }
    }
}

/// Sets the permission bits whatever the process's umask.
pub(super) fn set_mode(file: impl AsFd, mode: u16) -> io::Result<()> {
    Ok(fchmod(file, Mode::from_raw_mode(mode.into()))?)
}

fn mode_of(folder: &Path) -> io::Result<u16> {
    let opened = openat(CWD, folder, OPEN_FOLDER, Mode::empty())?;
    Ok((fstat(opened)?.st_mode & 0o777) as u16)
}
