//! The SHA-256 sums of what was downloaded.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ring::digest::{Context, SHA256};
use tombolo_artifact::sums;

use super::download::parent_of;
use crate::failure::{ExitCode, Failure};
use crate::render;

/// How much is read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Writes a list to a new file, whole or not at all.
pub(super) async fn write(
    list: &Path,
    make: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Result<(), Failure> {
    let to = list.to_owned();
    let written = tokio::task::spawn_blocking(move || {
        let staged = tempfile::NamedTempFile::new_in(parent_of(&to))?;
        let mut lines = BufWriter::new(staged);
        make(&mut lines)?;
        let staged = lines.into_inner().map_err(io::IntoInnerError::into_error)?;
        staged.persist_noclobber(&to).map_err(|error| error.error)
    });
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(ExitCode::Failed, format!("cannot write {}: {error}", list.display()))
    };
    let written = written.await.map_err(|error| failed(&error))?;
    written.map(drop).map_err(|error| failed(&error))
}

/// Writes a list to standard output.
pub(super) async fn print(make: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> Result<(), Failure> {
    let printed = tokio::task::spawn_blocking(move || {
        let mut lines = BufWriter::new(io::stdout().lock());
        make(&mut lines)?;
        lines.flush()
    });
    let printed = printed.await.map_err(|error| Failure::new(ExitCode::Failed, error))?;
    printed.map_err(render::write_failure)
}

/// One line for each file below a folder, with names relative to it. No link is followed.
pub(super) fn of_folder(folder: &Path, lines: &mut dyn Write) -> io::Result<()> {
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            let mut inside: Vec<_> = fs::read_dir(&path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<io::Result<_>>()?;
            inside.sort_unstable_by(|one, other| other.cmp(one));
            left.extend(inside);
        } else if kind.is_file() {
            let name = path.strip_prefix(folder).unwrap_or(&path).as_os_str().as_bytes();
            of_file(&path, name, lines)?;
        }
    }
    Ok(())
}

/// The line of one file.
pub(super) fn of_file(path: &Path, name: &[u8], lines: &mut dyn Write) -> io::Result<()> {
    let (mut file, mut sum) = (File::open(path)?, Context::new(&SHA256));
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        sum.update(&piece[..read]);
    }
    lines.write_all(&sums::line(sum.finish().as_ref(), name))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn coreutils_check_every_name() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("folder");
        fs::create_dir_all(folder.join("deep")).unwrap();
        for name in [&b"plain"[..], b"deep/er", b"a\\b", b"line\nfeed", b"not \xff", b" *x"] {
            fs::write(folder.join(OsStr::from_bytes(name)), name).unwrap();
        }
        std::os::unix::fs::symlink("nowhere", folder.join("link")).unwrap();
        let list = place.path().join("SHA256SUMS");
        let walked = folder.clone();
        write(&list, move |lines| of_folder(&walked, lines)).await.unwrap();
        let check = || {
            let mut command = Command::new("sha256sum");
            command
                .args(["--check", "--strict", "../SHA256SUMS"])
                .current_dir(&folder);
            command.output().unwrap()
        };
        let checked = check();
        assert!(checked.status.success(), "{checked:?}");
        assert_eq!(checked.stdout.iter().filter(|byte| **byte == b'\n').count(), 6);
        fs::write(folder.join("plain"), "other").unwrap();
        assert!(!check().status.success());
        let refused = write(&list, |_| Ok(())).await.unwrap_err();
        assert!(refused.message.contains("SHA256SUMS"), "{refused:?}");
    }
}
