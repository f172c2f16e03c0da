//! The processes that `tombolo dev` runs: the master and the agents, each started again when it dies.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::orphans::Awaited;

/// How long a process may take to end when it is asked to.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// How long to wait before a process that died is started again.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// Has the allocator give memory back at once, instead of a moment later, and take no more than is asked for (huge pages are two
/// megabytes each): chunks are large, and all parts share one machine.
const ALLOCATOR: [(&str, &str); 2] = [("MIMALLOC_PURGE_DELAY", "0"), ("MIMALLOC_ALLOW_THP", "0")];

/// One part of the system.
pub(crate) struct Part {
    /// What people know it by.
    pub(crate) name: &'static str,
    /// `master` or `agent`.
    pub(crate) subcommand: &'static str,
    /// Its configuration.
    pub(crate) configuration: PathBuf,
    /// Where its log goes.
    pub(crate) log: PathBuf,
    /// Variables for it.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Where it is noted that somebody waits for its process.
    pub(crate) awaited: Awaited,
}

impl Part {
    /// Runs the part until the token is cancelled; starts it again whenever it ends before.
    pub(crate) async fn run(self, program: PathBuf, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let mut child = self.start(&program)?;
            let pid = pid_of(&child);
            pid.inspect(|pid| self.awaited.insert(*pid));
            let status = tokio::select! {
                status = child.wait() => status?,
                () = stop.cancelled() => return self.end(child).await,
            };
            pid.inspect(|pid| self.awaited.remove(*pid));
            tracing::warn!(part = self.name, log = %self.log.display(), "ended with {status}; starting it again");
            tokio::select! {
                () = sleep(RESTART_AFTER) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    fn start(&self, program: &Path) -> anyhow::Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot write {}", self.log.display()))?;
        Command::new(program)
            .arg(self.subcommand)
            .arg("--config")
            .arg(&self.configuration)
            .arg("--end-with-parent")
            .envs(ALLOCATOR)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start the {}", self.name))
    }

    async fn end(&self, mut child: Child) -> anyhow::Result<()> {
        if let Some(pid) = pid_of(&child)
            && let Err(error) = kill_process(pid, Signal::TERM)
        {
            tracing::debug!(part = self.name, %error, "the process had ended already");
        }
        let status: ExitStatus = match timeout(STOP_WITHIN, child.wait()).await {
            Ok(status) => status?,
            Err(_) => {
                tracing::warn!(part = self.name, "did not end in time and is killed");
                child.kill().await?;
                return Ok(());
            }
        };
        tracing::debug!(part = self.name, %status, "ended");
        Ok(())
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
}
