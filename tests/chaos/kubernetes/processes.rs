//! The processes of a cluster's pods, as this machine sees them: no API server needs to answer for that.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// How the agent's process begins, and how a supervisor is called, not one of its steps.
const AGENT: [&str; 2] = ["/tombolo", "agent"];
const SUPERVISOR: [&str; 3] = ["/run/tombolo/tombolo", "supervise", "--pod"];
/// How commands of the load begin.
const COMMAND: [&str; 2] = ["sh", "-c"];

/// The agent's process, if it runs.
pub(super) fn agent(cluster: &str) -> Option<u32> {
    let begins = |words: &[String]| words.iter().map(String::as_str).take(AGENT.len()).eq(AGENT);
    of_pods(cluster, begins).pop()
}

/// The supervisors of all jobs whose commands run, each the first process of its container.
pub(super) fn supervisors(cluster: &str) -> Vec<u32> {
    let is_command = |words: &[String]| words.iter().map(String::as_str).take(COMMAND.len()).eq(COMMAND);
    let commands = of_pods(cluster, is_command);
    let parents: BTreeSet<u32> = commands.into_iter().filter_map(parent).collect();
    parents
        .into_iter()
        .filter(|parent| words(*parent).iter().eq(SUPERVISOR))
        .collect()
}

/// All processes of pods, and those that keep them.
pub(super) fn all(cluster: &str, state: &str) -> Vec<u32> {
    let socket = format!("{state}/{cluster}/containerd/");
    let keeps = |words: &[String]| {
        words.first().is_some_and(|program| program.contains("containerd-shim"))
            && words.iter().any(|word| word.starts_with(&socket))
    };
    let keepers = processes().filter(|process| keeps(&words(*process)));
    let of_pods = processes().filter(|process| is_of(cluster, *process));
    keepers.chain(of_pods).collect()
}

/// Sends a signal to a process; one that has ended is as good.
pub(super) fn signal(process: u32, signal: Signal) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    if let Some(process) = process {
        let _ = kill_process(process, signal);
    }
}

/// The name of the pod in which a process runs.
pub(super) fn pod(process: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{process}/root/etc/hostname")).ok()?;
    Some(name.trim().to_owned())
}

fn of_pods(cluster: &str, is_it: impl Fn(&[String]) -> bool) -> Vec<u32> {
    let found = processes().filter(|process| is_it(&words(*process)) && is_of(cluster, *process));
    found.collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn words(process: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    line.split_terminator('\0').map(str::to_owned).collect()
}

fn parent(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim()
        .parse()
        .ok()
}

/// Each cluster has its pods below a cgroup of its own.
fn is_of(cluster: &str, process: u32) -> bool {
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    groups.contains(&format!("/tombolo-{cluster}/"))
}
