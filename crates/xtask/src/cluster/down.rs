//! Removing a cluster, whatever is there of it: whole, half made, or what a reboot left.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use xshell::Shell;

use super::component::Component;
use super::place::{Cluster, Name};
use super::{mounts, network, node, up};

const KILLED_WITHIN: Duration = Duration::from_secs(60);

/// Removes processes, mounts, network, rules, cgroups and files of a cluster.
pub(super) fn down(state: &Path, name: &Name) -> anyhow::Result<()> {
    let shell = &Shell::new()?;
    let cluster = Cluster {
        name: name.clone(),
        // Its number matters only for what has ended by then.
        index: Cluster::find(state, name)
            .ok()
            .flatten()
            .map_or(0, |cluster| cluster.index),
        folder: state.join(name.to_string()),
    };
    kill_all(&cluster)?;
    fs::create_dir_all(state).with_context(|| format!("cannot make {}", state.display()))?;
    let _lock = up::lock(state)?;
    remove_locked(shell, state, name)
}

/// [`down`] for a cluster without processes, by one who holds the lock.
pub(super) fn remove_locked(shell: &Shell, state: &Path, name: &Name) -> anyhow::Result<()> {
    let cluster = Cluster {
        name: name.clone(),
        index: 0,
        folder: state.join(name.to_string()),
    };
    network::remove(shell, name)?;
    unmount_below(&cluster.folder)?;
    for cgroup in node::cgroups(&cluster) {
        remove_cgroup(&cgroup)?;
    }
    match fs::remove_dir_all(&cluster.folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", cluster.folder.display()));
        }
        _ => {}
    }
    if Cluster::all(state)?.is_empty() {
        remove_shared();
    }
    Ok(())
}

/// Kills all that is in the cluster's network or cgroups, until nothing is. Pods have networks of their own, but all are in its
/// cgroups; its programs and those that watch over its pods are in its network.
fn kill_all(cluster: &Cluster) -> anyhow::Result<()> {
    let deadline = Instant::now() + KILLED_WITHIN;
    loop {
        let processes = processes(cluster)?;
        if processes.is_empty() {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "processes of the cluster `{}` cannot be killed: {processes:?}",
            cluster.name
        );
        for process in processes {
            // It may have ended since.
            kill_process(process, Signal::KILL).ok();
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn processes(cluster: &Cluster) -> anyhow::Result<Vec<Pid>> {
    let mut found: Vec<Pid> = Component::all(cluster)?.iter().filter_map(Component::process).collect();
    for cgroup in node::cgroups(cluster) {
        collect_cgroup(&cgroup, &mut found);
    }
    if let Ok(namespace) = fs::metadata(cluster.namespace_file()) {
        for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
            let network = fs::metadata(entry.path().join("ns/net"));
            let is_inside =
                network.is_ok_and(|network| (network.dev(), network.ino()) == (namespace.dev(), namespace.ino()));
            if let (true, Ok(pid)) = (is_inside, entry.file_name().to_string_lossy().parse()) {
                found.extend(Pid::from_raw(pid));
            }
        }
    }
    Ok(found)
}

fn collect_cgroup(cgroup: &Path, found: &mut Vec<Pid>) {
    let processes = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    found.extend(processes.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)));
    for child in folders(cgroup) {
        collect_cgroup(&child, found);
    }
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Mounts are in a namespace that went with its processes; of one that was only half made, something may be here.
fn unmount_below(folder: &Path) -> anyhow::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    for place in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
        if Path::new(place).starts_with(folder) {
            unmount(place, UnmountFlags::DETACH).with_context(|| format!("cannot unmount {place}"))?;
        }
    }
    Ok(())
}

fn remove_cgroup(cgroup: &Path) -> anyhow::Result<()> {
    for child in folders(cgroup) {
        remove_cgroup(&child)?;
    }
    // The kernel takes a moment to let go of a group whose processes have ended.
    for _ in 0..50 {
        match fs::remove_dir(cgroup) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => thread::sleep(Duration::from_millis(100)),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", cgroup.display()));
            }
            _ => return Ok(()),
        }
    }
    anyhow::bail!("the cgroup {} stays busy", cgroup.display())
}

/// The machine's own folders that clusters hid behind theirs, if they are empty. Only when no cluster is left: removing a folder
/// takes away what another namespace has mounted on it.
fn remove_shared() {
    let others = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let others = others.filter(|entry| entry.file_name().to_string_lossy().starts_with("tombolo-"));
    if others.count() == 0 {
        for (folder, _) in mounts::PRIVATE.iter().filter(|(folder, _)| *folder != "/run/netns") {
            drop(fs::remove_dir(folder));
        }
    }
}
