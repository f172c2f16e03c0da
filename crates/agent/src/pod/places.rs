use std::path::PathBuf;

use crate::folder::AttemptFolder;

/// Where things are in the containers of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The volume that all containers share.
    pub system: PathBuf,
    /// The sandbox, in the user's container.
    pub sandbox: PathBuf,
    /// The sandbox once more, under its other name.
    pub alias: PathBuf,
    /// The container's own control groups.
    pub control_groups: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            system: "/run/tombolo".into(),
            sandbox: "/tombolo".into(),
            alias: "/infrabox".into(),
            control_groups: "/sys/fs/cgroup".into(),
        }
    }
}

impl Places {
    /// The program, for the user's container.
    pub fn program(&self) -> PathBuf {
        self.system.join("tombolo")
    }

    /// Where the courier listens.
    pub fn courier(&self) -> PathBuf {
        self.system.join("courier.sock")
    }

    /// The attempt's folder.
    pub fn attempt(&self) -> AttemptFolder {
        AttemptFolder::new(self.system.join("attempt"))
    }

    /// Made by the supervisor when the sandbox is complete.
    pub(super) fn staged(&self) -> PathBuf {
        self.attempt().path().join("staged.json")
    }

    /// Made by the supervisor when the agent has its last word.
    pub(super) fn finished(&self) -> PathBuf {
        self.attempt().path().join("finished.json")
    }
}
