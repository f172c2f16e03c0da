//! rclone, what people copy between stores with.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::measure::{self, Taken};
use crate::servers::{self, Servers};

const PATIENCE: Duration = Duration::from_secs(300);

/// How long a run took, in seconds, and what it took.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) seconds: f64,
    pub(crate) taken: Taken,
}

/// Copies with eight transfers at once.
pub(crate) fn copy(servers: &Servers, from: &str, to: &str) -> anyhow::Result<Run> {
    run(servers, &["copy", "--transfers", "8", from, to])
}

/// Removes what was copied.
pub(crate) fn purge(servers: &Servers, place: &str) -> anyhow::Result<()> {
    run(servers, &["purge", place]).map(drop)
}

fn run(servers: &Servers, arguments: &[&str]) -> anyhow::Result<Run> {
    let child = Command::new(servers::program()?)
        .args(arguments)
        .envs(servers.variables())
        .stdin(Stdio::null())
        .spawn()
        .context("rclone does not run")?;
    let (seconds, taken, status) = measure::wait(child, PATIENCE)?;
    ensure!(status.success(), "rclone {} ended with {status}", arguments.join(" "));
    Ok(Run { seconds, taken })
}
