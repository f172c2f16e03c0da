//! The processes that a command leaves behind, in its group or out of it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpgid, getpid, getsid, kill_process, kill_process_group, wait,
};

/// How long killed processes may take to go: one that hangs in the kernel (a dead network file system) never does.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Between two looks at processes that were killed.
const KILL_PAUSE: Duration = Duration::from_millis(2);

/// The children that have ended since the last call.
pub(super) struct Reaped {
    /// How `main` ended, if it was among them.
    pub(super) main: Option<WaitStatus>,
    /// Whether children remain.
    pub(super) remaining: bool,
}

/// Collects all children that have ended, orphans of the command's among them. `other` is told of those that are not `main`.
pub(super) fn reap(main: Pid, mut other: impl FnMut(Pid, WaitStatus)) -> Reaped {
    let mut reaped = Reaped {
        main: None,
        remaining: true,
    };
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == main => reaped.main = Some(status),
            Ok(Some((pid, status))) => other(pid, status),
            Err(Errno::INTR) => {}
            Ok(None) => return reaped,
            Err(_) => {
                reaped.remaining = false;
                return reaped;
            }
        }
    }
}

/// Signals all descendants, whole groups at once: in a group that is signalled, no process can escape by forking.
pub(super) fn signal_all(main: Pid, signal: Signal) {
    let own = getpid();
    let descendants = descendants_of(own);
    if descendants.is_empty() {
        // Without `/proc` the command's group is all that is known.
        let _ = kill_process_group(main, signal);
    }
    let mut groups = HashSet::new();
    for pid in descendants {
        // A process that is gone by now needs no signal.
        let _ = match getpgid(Some(pid)) {
            Ok(group) if group == own => kill_process(pid, signal),
            Ok(group) if groups.insert(group) => kill_process_group(group, signal),
            _ => Ok(()),
        };
    }
}

/// Signals those descendants that are of the session that `leader` leads, or below it; also when it has ended itself.
pub(super) fn signal_session(leader: Pid, signal: Signal) {
    let below: HashSet<Pid> = descendants_of(leader).into_iter().collect();
    let mut groups = HashSet::new();
    for pid in descendants_of(getpid()) {
        let is_of_session = pid == leader || below.contains(&pid) || getsid(Some(pid)) == Ok(leader);
        if is_of_session && let Ok(group) = getpgid(Some(pid)) {
            // A process that has only just been started may still be of this one's group.
            let _ = match group == getpgid(None).unwrap_or(group) {
                true => kill_process(pid, signal),
                false if groups.insert(group) => kill_process_group(group, signal),
                false => Ok(()),
            };
        }
    }
}

/// Kills all descendants and waits until they are gone. Returns how `main` ended, if it had not before, and whether some
/// remain all the same.
pub(super) fn kill_all(main: Pid) -> Reaped {
    let deadline = Instant::now() + KILL_DEADLINE;
    let mut status = None;
    loop {
        let reaped = reap(main, |_, _| {});
        status = status.or(reaped.main);
        if !reaped.remaining || Instant::now() >= deadline {
            return Reaped {
                main: status,
                remaining: reaped.remaining,
            };
        }
        signal_all(main, Signal::KILL);
        std::thread::sleep(KILL_PAUSE);
    }
}

/// All processes below `root`, by their parents. Without `/proc` there are none to be found.
fn descendants_of(root: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for pid in processes().unwrap_or_default() {
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![root.as_raw_nonzero().get()];
    while let Some(parent) = open.pop() {
        let below = children.remove(&parent).unwrap_or_default();
        found.extend(below.iter().filter_map(|pid| Pid::from_raw(*pid)));
        open.extend(below);
    }
    found
}

fn processes() -> io::Result<Vec<i32>> {
    let entries = fs::read_dir("/proc")?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.collect())
}

/// What `/proc/<pid>/stat` says of a process.
struct Process {
    /// It is a zombie: nothing of it is left but how it ended.
    has_ended: bool,
    parent: i32,
    /// When it was started, in ticks since the system was: with its number, what makes it this process and no later one.
    started: u64,
}

impl Process {
    /// Fields 3, 4 and 22; the second, the name, may contain anything, but ends at the last `)`.
    fn look(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        Some(Self {
            has_ended: fields.next()?.starts_with(['Z', 'X']),
            parent: fields.next()?.parse().ok()?,
            started: fields.nth(17)?.parse().ok()?,
        })
    }
}

fn parent_of(pid: i32) -> Option<i32> {
    Process::look(pid).map(|process| process.parent)
}

/// Kills every process whose environment has `name=value`, except this one; again and again until there is none, and waits until they have ended.
/// Returns how many they were.
pub(super) fn kill_by_variable(name: &str, value: &str) -> io::Result<usize> {
    let variable = format!("{name}={value}");
    let own = getpid();
    let deadline = Instant::now() + KILL_DEADLINE;
    let mut killed = HashMap::new();
    loop {
        let marked: Vec<Pid> = processes()?
            .into_iter()
            .filter_map(Pid::from_raw)
            .filter(|pid| *pid != own && has_variable(*pid, variable.as_bytes()))
            .collect();
        for pid in &marked {
            if let Some(process) = Process::look(pid.as_raw_nonzero().get()) {
                killed.insert(*pid, process.started);
            }
            let _ = kill_process(*pid, Signal::KILL);
        }
        // A process that is ending has no environment any more, but still its files and mounts.
        let is_ending = |(pid, started): (&Pid, &u64)| {
            Process::look(pid.as_raw_nonzero().get())
                .is_some_and(|process| process.started == *started && !process.has_ended)
        };
        if (marked.is_empty() && !killed.iter().any(is_ending)) || Instant::now() >= deadline {
            return Ok(killed.len());
        }
        std::thread::sleep(KILL_PAUSE);
    }
}

/// Zombies and other users' processes have no readable environment.
fn has_variable(pid: Pid, variable: &[u8]) -> bool {
    fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == variable))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn processes_are_found_by_their_variable() {
        let name = "TOMBOLO_TEST_MARK";
        let value = format!("{}-{:?}", std::process::id(), std::thread::current().id());
        let mut child = Command::new("sleep").arg("600").env(name, &value).spawn().unwrap();
        assert!(kill_by_variable(name, &value).unwrap() >= 1);
        assert!(!child.wait().unwrap().success());
        assert_eq!(kill_by_variable(name, &value).unwrap(), 0);
    }

    #[test]
    fn parents_are_known() {
        let own = std::process::id() as i32;
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        assert_eq!(parent_of(child.id() as i32), Some(own));
        let below = descendants_of(getpid());
        assert!(below.contains(&Pid::from_raw(child.id() as i32).unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
