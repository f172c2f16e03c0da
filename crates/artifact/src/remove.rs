//! Removes a folder whatever the modes of the folders in it.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chmodat, fchmod, openat, statat, unlinkat};
use rustix::io::Errno;

/// Removes `folder` and all that is in it, following no link, also folders without the permission to write or to list (as an
/// unpacked artifact may have them, and as plain removal without superuser's rights cannot). It is no error if there is none.
pub fn remove_tree(folder: &Path) -> io::Result<()> {
    let parent = folder
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = folder.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = match openat(
        CWD,
        parent,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let name = std::ffi::CString::new(name.as_encoded_bytes())?;
    remove(parent.as_fd(), &name)
}

fn remove(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let status = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        status => status?,
    };
    if FileType::from_raw_mode(status.st_mode) != FileType::Directory {
        return Ok(unlinkat(parent, name, AtFlags::empty())?);
    }
    let folder = open(parent, name)?;
    // Fails for somebody else's folder; if that matters, what follows says so.
    let _ = fchmod(&folder, Mode::RWXU);
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            remove(folder.as_fd(), entry.file_name())?;
        }
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

fn open(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            Ok(openat(parent, name, flags, Mode::empty())?)
        }
        opened => Ok(opened?),
    }
}
