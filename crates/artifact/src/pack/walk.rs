//! Walks a folder depth first, by open folders and never through a link.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};

use super::cut::{Cutter, Fault};
use super::{ChunkSink, Error};
use crate::manifest::{Builder, MAXIMUM_DEPTH, MAXIMUM_PATH_BYTES, MAXIMUM_TARGET_BYTES, MODE_BITS};
use crate::path::DisplayPath;

const OPEN_FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// Not to block on what was a file a moment ago and is a FIFO now.
const OPEN_FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

pub(super) enum Found {
    Directory { mode: u16 },
    File { mode: u16, file: OpenFile },
    Symlink { target: Vec<u8> },
}

/// The folders that are open, and the entry that was found last.
pub(super) struct Walk {
    folders: Vec<Folder>,
    /// The path of the last entry.
    path: Vec<u8>,
    /// Where in it the last entry's own name begins.
    name_at: usize,
    depth: usize,
    /// How many names were listed so far, and how many may be: each will be an entry.
    listed: usize,
    limit: usize,
}

struct Folder {
    folder: OwnedFd,
    /// The names not yet visited, the next one last.
    names: Vec<CString>,
    /// The length of its path with the final slash; 0 for the top.
    path_length: usize,
}

impl Walk {
    /// Opens the top folder. A walk over more than `limit` entries fails.
    pub(super) fn open(folder: &Path, limit: u32) -> Result<Self, Error> {
        // The folder itself may be given by way of a link; what is in it may not.
        let opened = openat(CWD, folder, OPEN_FOLDER.difference(OFlags::NOFOLLOW), Mode::empty()).map_err(|error| {
            Error::Folder {
                folder: folder.to_owned(),
                source: error.into(),
            }
        })?;
        let mut walk = Self {
            folders: Vec::new(),
            path: Vec::new(),
            name_at: 0,
            depth: 0,
            listed: 0,
            limit: limit as usize,
        };
        let names = walk.names_of(&opened).map_err(|error| match error {
            Error::Unreadable { source, .. } => Error::Folder {
                folder: folder.to_owned(),
                source,
            },
            other => other,
        })?;
        walk.folders.push(Folder {
            folder: opened,
            names,
            path_length: 0,
        });
        Ok(walk)
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.path[self.name_at..]
    }

    pub(super) fn path(&self) -> DisplayPath {
        DisplayPath::new(self.path.clone())
    }

    pub(super) fn too_much(&self, what: &'static str, limit: u64) -> Error {
        Error::TooMuch {
            path: self.path(),
            what,
            limit,
        }
    }

    /// The next entry whose path is selected. A folder is entered after it was found; one that is not selected never is.
    pub(super) fn next_entry(&mut self, selected: &mut impl FnMut(&[u8]) -> bool) -> Result<Option<Found>, Error> {
        let (depth, name) = loop {
            let Some((depth, name)) = self.next_name() else {
                return Ok(None);
            };
            if selected(&self.path) {
                break (depth, name);
            }
        };
        self.depth = depth;
        self.check_length("path", self.path.len(), MAXIMUM_PATH_BYTES)?;
        if depth >= MAXIMUM_DEPTH {
            return Err(Error::TooDeep {
                path: self.path(),
                limit: MAXIMUM_DEPTH,
            });
        }
        let folder = &self.folders[depth].folder;
        let status = statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| self.unreadable(error))?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => {
                let opened =
                    openat(folder, &name, OPEN_FOLDER, Mode::empty()).map_err(|error| self.unreadable(error))?;
                self.enter(opened).map(Some)
            }
            FileType::RegularFile => {
                let opened = openat(folder, &name, OPEN_FILE, Mode::empty()).map_err(|error| self.unreadable(error))?;
                self.file(opened).map(Some)
            }
            FileType::Symlink => {
                let target = readlinkat(folder, &name, Vec::new())
                    .map_err(|error| self.unreadable(error))?
                    .into_bytes();
                self.check_length("link target", target.len(), MAXIMUM_TARGET_BYTES)?;
                Ok(Some(Found::Symlink { target }))
            }
            other => Err(Error::Unsupported {
                path: self.path(),
                kind: name_of(other),
            }),
        }
    }

    /// The next name and how deep it lies; its path is in `path` then.
    fn next_name(&mut self) -> Option<(usize, CString)> {
        loop {
            match self.folders.last_mut()?.names.pop() {
                Some(name) => {
                    let depth = self.folders.len() - 1;
                    self.name_at = self.folders[depth].path_length;
                    self.path.truncate(self.name_at);
                    if self.path.len() < self.name_at {
                        self.path.push(b'/');
                    }
                    self.path.extend_from_slice(name.as_bytes());
                    return Some((depth, name));
                }
                None => self.folders.pop(),
            };
        }
    }

    fn enter(&mut self, folder: OwnedFd) -> Result<Found, Error> {
        let status = fstat(&folder).map_err(|error| self.unreadable(error))?;
        let names = self.names_of(&folder)?;
        self.folders.push(Folder {
            folder,
            names,
            path_length: self.path.len() + 1,
        });
        Ok(Found::Directory {
            mode: permissions(&status),
        })
    }

    fn file(&self, opened: OwnedFd) -> Result<Found, Error> {
        let before = fstat(&opened).map_err(|error| self.unreadable(error))?;
        let kind = FileType::from_raw_mode(before.st_mode);
        if kind != FileType::RegularFile {
            return Err(Error::Unsupported {
                path: self.path(),
                kind: name_of(kind),
            });
        }
        Ok(Found::File {
            mode: permissions(&before),
            file: OpenFile {
                file: opened.into(),
                before,
            },
        })
    }

    /// The names in a folder, in descending order of their bytes.
    fn names_of(&mut self, folder: &OwnedFd) -> Result<Vec<CString>, Error> {
        let mut names = Vec::new();
        for entry in Dir::read_from(folder.as_fd()).map_err(|error| self.unreadable(error))? {
            let entry = entry.map_err(|error| self.unreadable(error))?;
            let name = entry.file_name();
            if name.to_bytes() == b"." || name.to_bytes() == b".." {
                continue;
            }
            self.listed += 1;
            if self.listed > self.limit {
                return Err(self.too_much("entries", self.limit as u64));
            }
            names.push(name.to_owned());
        }
        names.sort_unstable_by(|one, other| other.cmp(one));
        Ok(names)
    }

    fn check_length(&self, what: &'static str, length: usize, limit: usize) -> Result<(), Error> {
        if length > limit {
            Err(Error::TooLong {
                path: self.path(),
                what,
                length,
                limit,
            })
        } else {
            Ok(())
        }
    }

    fn unreadable(&self, error: rustix::io::Errno) -> Error {
        Error::Unreadable {
            path: self.path(),
            source: error.into(),
        }
    }
}

/// A regular file as it was when it was opened.
pub(super) struct OpenFile {
    file: File,
    before: Stat,
}

/// Why a file could not be taken into the stream.
pub(super) enum FileFault {
    Read(io::Error),
    Sink(io::Error),
    Changed(&'static str),
}

impl FileFault {
    pub(super) fn at(self, path: DisplayPath) -> Error {
        match self {
            Self::Read(source) => Error::Unreadable { path, source },
            Self::Sink(source) => Error::Sink(source),
            Self::Changed(change) => Error::Changed { path, change },
        }
    }
}

impl OpenFile {
    pub(super) fn size(&self) -> u64 {
        u64::try_from(self.before.st_size).unwrap_or(0)
    }

    /// Appends exactly as many bytes as the file had when it was opened, or fails.
    pub(super) fn read_into(
        &mut self,
        cutter: &mut Cutter<'_, impl ChunkSink>,
        builder: &mut Builder,
    ) -> Result<(), FileFault> {
        let size = self.size();
        let read = cutter
            .append_file(&mut self.file, size, builder)
            .map_err(|fault| match fault {
                Fault::Read(error) => FileFault::Read(error),
                Fault::Sink(error) => FileFault::Sink(error),
            })?;
        if read < size {
            return Err(FileFault::Changed("it became shorter"));
        }
        if self.file.read(&mut [0]).map_err(FileFault::Read)? > 0 {
            return Err(FileFault::Changed("it became longer"));
        }
        let after = fstat(&self.file).map_err(|error| FileFault::Read(error.into()))?;
        if (after.st_mtime, after.st_mtime_nsec) != (self.before.st_mtime, self.before.st_mtime_nsec) {
            return Err(FileFault::Changed("it was written to"));
        }
        Ok(())
    }
}

fn permissions(status: &Stat) -> u16 {
    (status.st_mode & u32::from(MODE_BITS)) as u16
}

fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::Socket => "a socket",
        FileType::Fifo => "a named pipe",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::RegularFile | FileType::Directory | FileType::Symlink => "something else than a moment ago",
        FileType::Unknown => "of an unknown kind",
    }
}
