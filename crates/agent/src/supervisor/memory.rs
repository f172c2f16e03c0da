//! What the control group of the container says of its memory.

use std::fs;
use std::path::{Path, PathBuf};

/// The kernel writes at least this (`i64::MAX` in pages) where version 1 has no limit.
const NO_LIMIT: u64 = 1 << 62;

/// The memory of a control group, of either version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemoryGroup {
    events: PathBuf,
    limit: PathBuf,
}

impl MemoryGroup {
    /// The group whose files are below `root` (`/sys/fs/cgroup` in a container); none if there is none.
    pub(super) fn find(root: &Path) -> Option<Self> {
        let versions = [
            ("memory.events", "memory.max"),
            ("memory/memory.oom_control", "memory/memory.limit_in_bytes"),
        ];
        let mut groups = versions.into_iter().map(|(events, limit)| Self {
            events: root.join(events),
            limit: root.join(limit),
        });
        groups.find(|group| group.kills().is_some())
    }

    /// How many processes the kernel has killed for want of memory.
    pub(super) fn kills(&self) -> Option<u64> {
        let text = fs::read_to_string(&self.events).ok()?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
        count.trim().parse().ok()
    }

    /// How many bytes it may use; none if that is not limited.
    pub(super) fn limit(&self) -> Option<u64> {
        let text = fs::read_to_string(&self.limit).ok()?;
        text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        for (files, kills, limit) in [
            (
                &[
                    ("memory.events", "low 0\noom 4\noom_kill 3\noom_group_kill 0\n"),
                    ("memory.max", "134217728\n"),
                ][..],
                3,
                Some(128 << 20),
            ),
            (&[("memory.events", "oom_kill 0\n"), ("memory.max", "max\n")], 0, None),
            (
                &[
                    (
                        "memory/memory.oom_control",
                        "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n",
                    ),
                    ("memory/memory.limit_in_bytes", "1048576\n"),
                ],
                7,
                Some(1 << 20),
            ),
            (
                &[
                    ("memory/memory.oom_control", "oom_kill 1\n"),
                    ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                1,
                None,
            ),
        ] {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("memory")).unwrap();
            for (name, text) in files {
                fs::write(root.path().join(name), text).unwrap();
            }
            let group = MemoryGroup::find(root.path()).unwrap();
            assert_eq!((group.kills(), group.limit()), (Some(kills), limit), "{files:?}");
        }
        assert_eq!(MemoryGroup::find(Path::new("/nowhere")), None);
    }
}
