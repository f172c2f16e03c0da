//! The programs of a cluster: each is started by its name, and found again by another run of this program.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::place::Cluster;

const POLL: Duration = Duration::from_millis(200);
/// How long a program has for its own end before it is killed.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);
/// How much of a log tells why a program did not come up.
const TAIL_LINES: usize = 25;

/// A program of a cluster: how it is started, and as which process it last was.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Component {
    pub(super) name: String,
    command: Vec<String>,
    pid: i32,
    /// When the process started, in the kernel's ticks since boot: another process of the same id differs in it.
    started: u64,
}

impl Component {
    /// Starts a program in the cluster's network and mounts, in a session of its own, and remembers it.
    pub(super) fn launch(cluster: &Cluster, name: &str, command: Vec<String>) -> anyhow::Result<()> {
        let holder = match name {
            super::mounts::HOLDER => None,
            _ => Some(Self::load(cluster, super::mounts::HOLDER)?.pid),
        };
        let log = cluster.path(&format!("log/{name}"));
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        // `ip netns exec` would hide /sys/fs/cgroup.
        let mut process = Command::new("setsid");
        process
            .arg("nsenter")
            .arg(format!("--net={}", cluster.namespace_file().display()));
        if let Some(holder) = holder {
            process.arg(format!("--mount=/proc/{holder}/ns/mnt"));
        }
        // `nsenter --wd` would leave it in a folder of the machine's mounts, of which programs cannot tell the path.
        process
            .args(["sh", "-c", r#"cd "$0" && exec "$@""#])
            .arg(&cluster.folder)
            .args(&command)
            .env("KUBECONFIG", cluster.kubeconfig())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        // It is to outlive this program, and nobody waits for it.
        let child = process
            .spawn()
            .with_context(|| format!("cannot start `{name}` of the cluster `{}`", cluster.name))?;
        let pid = i32::try_from(child.id()).context("a process id is too large")?;
        let started = started(pid).with_context(|| format!("`{name}` ended at once; its log is {}", log.display()))?;
        Self {
            name: name.to_owned(),
            command,
            pid,
            started,
        }
        .save(cluster)
    }

    pub(super) fn load(cluster: &Cluster, name: &str) -> anyhow::Result<Self> {
        let path = record(cluster, name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let names: Vec<_> = Self::all(cluster)?.into_iter().map(|known| known.name).collect();
                bail!(
                    "the cluster `{}` has no component `{name}`\nhint: it has {}",
                    cluster.name,
                    names.join(", ")
                );
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// All that have been started, by name.
    pub(super) fn all(cluster: &Cluster) -> anyhow::Result<Vec<Self>> {
        let folder = cluster.path("components");
        let Ok(entries) = fs::read_dir(&folder) else {
            return Ok(Vec::new());
        };
        let mut components = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            // A record cut short is of a process that the namespace still tells.
            components.extend(serde_json::from_slice::<Self>(&text).ok());
        }
        components.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(components)
    }

    fn save(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let path = record(cluster, &self.name);
        fs::write(&path, serde_json::to_vec(self)?).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether its process runs.
    pub(super) fn is_alive(&self) -> bool {
        started(self.pid) == Some(self.started)
    }

    /// Its process id; `None` when it does not run.
    pub(super) fn process(&self) -> Option<Pid> {
        self.is_alive().then(|| Pid::from_raw(self.pid)).flatten()
    }

    /// Starts it again as it was started before; leaves it be when it runs.
    pub(super) fn start(&self, cluster: &Cluster) -> anyhow::Result<()> {
        match self.is_alive() {
            true => Ok(()),
            false => Self::launch(cluster, &self.name, self.command.clone()),
        }
    }

    /// Ends its process, and returns when it is gone.
    pub(super) fn stop(&self) -> anyhow::Result<()> {
        let mut signal = Signal::TERM;
        let mut deadline = Instant::now() + STOPPED_WITHIN;
        while let Some(process) = self.process() {
            kill_process(process, signal).ok();
            thread::sleep(POLL);
            if Instant::now() >= deadline {
                ensure!(
                    signal == Signal::TERM,
                    "`{}` (process {}) cannot be killed",
                    self.name,
                    self.pid
                );
                signal = Signal::KILL;
                deadline += STOPPED_WITHIN;
            }
        }
        Ok(())
    }
}

/// Waits until `ready`, which may look as often as it likes, says so. Fails when the component ends or `within` is over,
/// and then shows the end of its log.
pub(super) fn wait(
    cluster: &Cluster,
    component: &str,
    within: Duration,
    mut ready: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + within;
    while !ready() {
        let failure = if !Component::load(cluster, component)?.is_alive() {
            "ended".to_owned()
        } else if Instant::now() >= deadline {
            format!("was not ready within {within:?}")
        } else {
            thread::sleep(POLL);
            continue;
        };
        bail!(
            "`{component}` of the cluster `{}` {failure}; the end of its log:\n{}",
            cluster.name,
            tail(cluster, component)
        );
    }
    Ok(())
}

fn tail(cluster: &Cluster, component: &str) -> String {
    let path = cluster.path(&format!("log/{component}"));
    let log = match fs::read(&path) {
        Ok(log) => String::from_utf8_lossy(&log).into_owned(),
        Err(error) => return format!("  (cannot read {}: {error})", path.display()),
    };
    // A Go program that gives up prints all its stacks after the reason.
    let lines: Vec<_> = log.lines().take_while(|line| !line.starts_with("goroutine ")).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..]
        .iter()
        .map(|line| format!("  {line}\n"))
        .collect()
}

fn record(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.path(&format!("components/{name}.json"))
}

/// When a process started; `None` when there is none, or only its remains.
fn started(pid: i32) -> Option<u64> {
    let file = File::open(format!("/proc/{pid}/stat")).ok()?;
    let text = std::io::read_to_string(file).ok()?;
    // The second field is the program's name, which may hold anything; it ends at the last bracket.
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    match *fields.first()? {
        "Z" | "X" => None,
        _ => fields.get(19)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::started;

    #[test]
    fn a_process_is_told_from_its_remains() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(started(pid).is_some());
        child.kill().unwrap();
        while started(pid).is_some() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(started(pid), None);
    }
}
