//! What is left when the agents have ended: supervisors and the jobs under them. They outlive their agent on purpose; when
//! `tombolo dev` ends, they end too.

use std::collections::HashSet;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait, waitpid};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often what is left is killed before we give up: each round can bring up the children of those that died.
const ROUNDS: u32 = 500;
/// How long the killed have to vanish before the next round.
const ROUND: Duration = Duration::from_millis(20);

/// How often orphans are looked at that have ended.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// Makes orphans of our processes our own children, so that [`end`] finds them.
pub(crate) fn adopt() -> anyhow::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// The children that somebody waits for: the parts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Awaited(Arc<Mutex<HashSet<Pid>>>);

impl Awaited {
    /// Somebody waits for this one from now on. To be said before anything else is done.
    pub(crate) fn insert(&self, pid: Pid) {
        self.pids().insert(pid);
    }

    /// It was waited for.
    pub(crate) fn remove(&self, pid: Pid) {
        self.pids().remove(&pid);
    }

    fn pids(&self) -> MutexGuard<'_, HashSet<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes leave of orphans that have ended, now and then, so that no zombies gather while everything runs.
pub(crate) async fn reap(awaited: Awaited, stop: CancellationToken) -> anyhow::Result<()> {
    let reaping = async {
        loop {
            sleep(REAP_EVERY).await;
            reap_among(&children(), &awaited);
        }
    };
    stop.run_until_cancelled(reaping).await;
    Ok(())
}

fn reap_among(children: &[Pid], awaited: &Awaited) {
    for pid in children {
        // One that runs is left alone by this, as one is that somebody waits for.
        if !awaited.pids().contains(pid)
            && let Ok(Some(_)) = waitpid(Some(*pid), WaitOptions::NOHANG)
        {
            tracing::debug!(pid = pid.as_raw_nonzero(), "an orphan has ended");
        }
    }
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
        // All of them: nobody else waits for a child any more. (`waitpid(None, ..)` would be those of our process group alone.)
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_orphan_of_another_process_group_is_reaped_and_one_that_is_awaited_is_not() {
        use std::os::unix::process::CommandExt;
        let awaited = Awaited::default();
        let start = || Command::new("true").process_group(0).spawn().unwrap();
        let [mut ours, mut orphan] = [start(), start()];
        let pid = |child: &std::process::Child| Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        awaited.insert(pid(&ours));
        let there = |child| children().contains(&pid(child));
        assert!(there(&ours) && there(&orphan));
        for _ in 0..ROUNDS {
            reap_among(&[pid(&ours), pid(&orphan)], &awaited);
            if !there(&orphan) {
                break;
            }
            std::thread::sleep(ROUND);
        }
        assert!(!there(&orphan) && there(&ours));
        assert!(orphan.wait().is_err(), "it was reaped");
        assert!(ours.wait().unwrap().success());
    }
}
