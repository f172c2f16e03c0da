//! The place of things that are made once per user.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

fn root() -> anyhow::Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: there is no place for tools")?;
    Ok(cache.join("tombolo"))
}

/// The folder of a tool.
pub(super) fn tool(name: &str, version: &str) -> anyhow::Result<PathBuf> {
    Ok(root()?.join("tools").join(format!("{name}-{version}")))
}

/// The folder of something that is no tool.
pub(super) fn thing(name: &str, version: &str) -> anyhow::Result<PathBuf> {
    Ok(root()?.join(format!("{name}-{version}")))
}

/// The path of `entry` in `folder`, which `make` fills if it is not there yet. `make` is given a temporary folder beside it,
/// renamed when `entry` is in it: the folder is whole whenever it is there. Of several processes one makes it, and the
/// others wait.
pub(crate) fn once(
    folder: &Path,
    entry: &str,
    make: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let wanted = folder.join(entry);
    if wanted.exists() {
        return Ok(wanted);
    }
    let (parent, name) = folder
        .parent()
        .zip(folder.file_name())
        .with_context(|| format!("{} is no place for a tool", folder.display()))?;
    let name = name.to_string_lossy();
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let lock_path = parent.join(format!(".{name}.lock"));
    let lock = File::create(&lock_path).with_context(|| format!("cannot make {}", lock_path.display()))?;
    lock.lock()
        .with_context(|| format!("cannot lock {}", lock_path.display()))?;
    if wanted.exists() {
        return Ok(wanted);
    }
    let temporary = parent.join(format!(".{name}.tmp"));
    for leftover in [&temporary, folder] {
        remove(leftover).with_context(|| format!("cannot clear {}", leftover.display()))?;
    }
    fs::create_dir(&temporary).with_context(|| format!("cannot make {}", temporary.display()))?;
    make(&temporary).with_context(|| format!("cannot make {}", folder.display()))?;
    ensure!(
        temporary.join(entry).exists(),
        "{} was made without `{entry}`",
        folder.display()
    );
    fs::rename(&temporary, folder).with_context(|| format!("cannot put {} in place", folder.display()))?;
    Ok(wanted)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::once;

    #[test]
    fn is_made_once_whole_or_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("tool-1");

        let error = once(&folder, "bin/tool", |folder| Ok(fs::write(folder.join("half"), "")?)).unwrap_err();
        assert!(error.to_string().contains("without `bin/tool`"), "{error:#}");
        assert!(!folder.exists());

        let made = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let make = |folder: &std::path::Path| {
                        made.fetch_add(1, Ordering::Relaxed);
                        fs::create_dir(folder.join("bin"))?;
                        Ok(fs::write(folder.join("bin/tool"), "whole")?)
                    };
                    assert_eq!(once(&folder, "bin/tool", make).unwrap(), folder.join("bin/tool"));
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
        assert!(!folder.join("half").exists());
    }
}
