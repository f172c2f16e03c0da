//! The well-known paths `/tombolo` and `/infrabox` for one attempt alone.
//!
//! A mount namespace of the supervisor's own gets a new root: everything of the system's root is bound into it, and the
//! sandbox under both names. The system's own root is not touched, so no rights to write there are needed; without the
//! right to mount, a user namespace of its own gives it. Where the system forbids that too, variables tell the paths.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tombolo_core::time::Timestamp;
use tombolo_runtime::clock;

use super::SandboxPaths;
use super::capture::Capture;
use crate::folder::AttemptFolder;

/// The names under which a command finds its sandbox.
const ROOTS: [&str; 2] = ["tombolo", "infrabox"];

/// The volume of the project.
const WORKSPACE: &str = "workspace";

/// Where the command finds what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paths {
    /// The sandbox for variables of the family `TOMBOLO_`.
    pub(super) tombolo: PathBuf,
    /// The sandbox for variables of the family `INFRABOX_`.
    pub(super) infrabox: PathBuf,
}

impl Paths {
    /// The variables that tell the paths, in both families.
    pub(super) fn variables(&self) -> impl Iterator<Item = (String, PathBuf)> {
        const NAMES: [(&str, &str); 9] = [
            ("CONTEXT", "context"),
            ("INPUTS", "inputs"),
            ("OUTPUT", "output"),
            ("CACHE", "cache"),
            ("SHARED", "shared"),
            ("WORKSPACE", WORKSPACE),
            ("UPLOAD", "upload"),
            ("JOB_JSON", "job.json"),
            ("ROOT", ""),
        ];
        let families = [("TOMBOLO", &self.tombolo), ("INFRABOX", &self.infrabox)];
        families.into_iter().flat_map(|(family, root)| {
            // That one is there only for jobs that ask for it.
            let names = NAMES
                .iter()
                .filter(|(_, below)| *below != WORKSPACE || root.join(WORKSPACE).exists());
            names.map(move |(name, below)| {
                let path = if below.is_empty() {
                    root.clone()
                } else {
                    root.join(below)
                };
                (format!("{family}_{name}"), path)
            })
        })
    }
}

/// Gives this process, and so the command, the well-known paths as far as it can, and says in the log if it cannot. Must be
/// called while the process has one thread.
pub(super) fn enter(folder: &AttemptFolder, wish: SandboxPaths, log: &mut Capture) -> Paths {
    let sandbox = folder.sandbox();
    let reason = match wish {
        SandboxPaths::Absolute => match new_root(folder.path(), &sandbox) {
            Ok(()) => {
                return Paths {
                    tombolo: "/tombolo".into(),
                    infrabox: "/infrabox".into(),
                };
            }
            Err(error) => error.to_string(),
        },
        SandboxPaths::Variables => "this cluster's settings do not ask for them".to_owned(),
    };
    let text = format!(
        "there is no /tombolo and no /infrabox here ({reason}); the variables TOMBOLO_ROOT, TOMBOLO_OUTPUT and the like tell the paths"
    );
    let at = Timestamp(clock::now().wall_milliseconds);
    // If the log cannot be written, the next line to be written will say so.
    let _ = log.note(at, &text);
    Paths {
        tombolo: sandbox.clone(),
        infrabox: sandbox,
    }
}

#[cfg(target_os = "linux")]
fn new_root(base: &Path, sandbox: &Path) -> io::Result<()> {
    use rustix::mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, unmount,
    };
    use rustix::process::{chdir, pivot_root};

    let step = |what: &'static str| move |error: rustix::io::Errno| io::Error::other(format!("{what}: {error}"));
    unshare()?;
    // What is mounted here stays here; what the system mounts or unmounts later arrives.
    let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", downstream).map_err(step("the namespace cannot be separated"))?;
    // From a file system in memory, put over the attempt's folder in this namespace only, the old root is seen whole.
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tombolo", base, "tmpfs", flags, c"size=1m,mode=755").map_err(step("a root cannot be mounted"))?;
    let prepared = (|| {
        fs::create_dir(base.join("old"))?;
        fs::create_dir(base.join("new"))
    })();
    let pivoted =
        prepared.and_then(|()| pivot_root(base, base.join("old")).map_err(step("the root cannot be changed")));
    if let Err(error) = pivoted {
        // Else the attempt's folder would stay hidden.
        unmount(base, UnmountFlags::DETACH).map_err(step("the root cannot be unmounted"))?;
        return Err(error);
    }
    let filled = fill(sandbox).and_then(|()| {
        chdir("/new").map_err(step("the root cannot be entered"))?;
        mount_bind_recursive("/new", "/new").map_err(step("the root cannot be bound"))?;
        chdir("/new").map_err(step("the root cannot be entered"))
    });
    let (root, result) = match filled {
        Ok(()) => ("/new", Ok(())),
        // Back to the old root: as if nothing had been tried.
        Err(error) => ("/old", Err(error)),
    };
    chdir(root)
        .and_then(|()| pivot_root(".", "."))
        .and_then(|()| unmount(".", UnmountFlags::DETACH))
        .and_then(|()| chdir("/"))
        .map_err(step("the root cannot be changed"))?;
    result
}

/// Binds all of the old root, and the sandbox, into the new one.
#[cfg(target_os = "linux")]
fn fill(sandbox: &Path) -> io::Result<()> {
    use rustix::mount::{mount_bind, mount_bind_recursive};

    let (old, new) = (Path::new("/old"), Path::new("/new"));
    for entry in fs::read_dir(old)? {
        let entry = entry?;
        let name = entry.file_name();
        if ROOTS.iter().any(|root| name == *root) {
            continue;
        }
        let (from, to) = (entry.path(), new.join(&name));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_dir() {
            fs::create_dir(&to)?;
            mount_bind_recursive(&from, &to)?;
        } else {
            fs::File::create(&to)?;
            mount_bind(&from, &to)?;
        }
    }
    let sandbox = old.join(sandbox.strip_prefix("/").map_err(io::Error::other)?);
    for root in ROOTS {
        let to = new.join(root);
        fs::create_dir(&to)?;
        mount_bind_recursive(&sandbox, &to)?;
    }
    Ok(())
}

/// A mount namespace, with a user namespace around it if that is what it takes. The user stays the same in it.
#[cfg(target_os = "linux")]
fn unshare() -> io::Result<()> {
    use nix::sched::{CloneFlags, unshare};

    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    match unshare(CloneFlags::CLONE_NEWNS) {
        Ok(()) => return Ok(()),
        Err(nix::errno::Errno::EPERM) => {}
        Err(error) => return Err(io::Error::other(format!("no mount namespace: {error}"))),
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .map_err(|error| io::Error::other(format!("no user namespace: {error}")))?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{0} {0} 1", user.as_raw()))?;
    fs::write("/proc/self/gid_map", format!("{0} {0} 1", group.as_raw()))
}

#[cfg(not(target_os = "linux"))]
fn new_root(_base: &Path, _sandbox: &Path) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system has no mount namespaces",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_both_families() {
        let paths = Paths {
            tombolo: "/a".into(),
            infrabox: "/b".into(),
        };
        let variables: Vec<(String, PathBuf)> = paths.variables().collect();
        assert_eq!(variables.len(), 16);
        assert!(variables.contains(&("TOMBOLO_ROOT".to_owned(), "/a".into())));
        assert!(variables.contains(&("INFRABOX_OUTPUT".to_owned(), "/b/output".into())));
    }
}
