//! What is left when the agents have ended: supervisors and the jobs under them. They outlive their agent on purpose; when
//! `tombolo dev` ends, they end too.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};
use tokio::time::sleep;

/// How often what is left is killed before we give up: each round can bring up the children of those that died.
const ROUNDS: u32 = 500;
/// How long the killed have to vanish before the next round.
const ROUND: Duration = Duration::from_millis(20);

/// Makes orphans of our processes our own children, so that [`end`] finds them.
pub(crate) fn adopt() -> anyhow::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Kills all children that are left, and those that become ours by that.
pub(crate) async fn end() {
    for _ in 0..ROUNDS {
        let children = children();
        if children.is_empty() {
            return;
        }
        for pid in children {
            if let Err(error) = kill_process(pid, Signal::KILL) {
                tracing::debug!(pid = pid.as_raw_nonzero(), %error, "the process had ended already");
            }
        }
        sleep(ROUND).await;
        while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
    }
    tracing::warn!("some processes of jobs cannot be ended");
}

fn children() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let pids: Vec<i32> = lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect();
    pids.into_iter().filter_map(Pid::from_raw).collect()
}
