//! How full the sandbox is, where there is a limit: its node evicts a pod that writes more, and then hardly anything is told and
//! the output is lost.
//!
//! It owns the counting, a little at a time, so that neither the command's output nor its end waits for it. It says once that the limit
//! is near, and then that the command has to end while there is still an output to keep; it ends nothing itself.

use std::collections::HashSet;
use std::fs::{self, ReadDir};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use tombolo_core::volume::VolumeSet;

/// From which share of the limit on it is said, in hundredths; and below which it may be said again.
const NEAR: u64 = 80;
const FAR: u64 = 70;
/// From which share on the command has to end.
const FULL: u64 = 90;
/// How many entries are looked at in a row, and the pause until the next ones.
const ENTRIES_IN_A_ROW: usize = 512;
const BREATH: Duration = Duration::from_millis(5);
/// From one count to the next: at least this, and so many times as long as the count took.
const PAUSE: Duration = Duration::from_secs(10);
const REST: u32 = 20;
/// How many folders may wait to be looked into; more are not counted.
const FOLDERS_WAITING: usize = 10_000;
/// How many files with several names are told apart; more are not counted.
const LINKED_FILES: usize = 100_000;
/// The unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;

/// Counts what is in the sandbox.
pub(super) struct Storage {
    root: PathBuf,
    /// Folders of volumes: they may lie on the same disk, and have limits of their own.
    others: Vec<PathBuf>,
    limit_bytes: u64,
    count: Option<Count>,
    /// When to go on.
    next_at: Duration,
    said: bool,
}

/// What a count has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filling {
    /// The limit is near, in words for the log.
    Near(String),
    /// The command has to end.
    Full {
        /// What the files take.
        bytes: u64,
        /// What they may.
        limit_bytes: u64,
    },
}

/// A count under way.
struct Count {
    began_at: Duration,
    device: u64,
    open: Option<ReadDir>,
    waiting: Vec<PathBuf>,
    /// The files with several names that were counted.
    linked: HashSet<u64>,
    bytes: u64,
}

impl Storage {
    /// Counts in `root`, but for the `volumes` in it, beginning a while after `now`.
    pub(super) fn new(root: PathBuf, volumes: VolumeSet, limit_bytes: u64, now: Duration) -> Self {
        Self {
            others: volumes.iter().map(|kind| root.join(kind.as_str())).collect(),
            root,
            limit_bytes,
            count: None,
            next_at: now + PAUSE,
            said: false,
        }
    }

    /// When to call [`Self::heed`] again.
    pub(super) const fn next_at(&self) -> Duration {
        self.next_at
    }

    /// Goes on counting, if it is time.
    pub(super) fn heed(&mut self, now: Duration) -> Option<Filling> {
        if now < self.next_at {
            return None;
        }
        let mut count = match self.count.take() {
            Some(count) => count,
            None => {
                self.next_at = now + PAUSE;
                Count::begin(self.root.clone(), now)?
            }
        };
        if !count.go_on(&self.others) {
            self.next_at = now + BREATH;
            self.count = Some(count);
            return None;
        }
        self.next_at = now + PAUSE.max(now.saturating_sub(count.began_at) * REST);
        self.counted(count.bytes)
    }

    fn counted(&mut self, bytes: u64) -> Option<Filling> {
        let limit_bytes = self.limit_bytes;
        let share = u128::from(bytes) * 100 / u128::from(limit_bytes.max(1));
        if share >= FULL.into() {
            return Some(Filling::Full { bytes, limit_bytes });
        }
        if share < FAR.into() {
            self.said = false;
        }
        if share < NEAR.into() || std::mem::replace(&mut self.said, true) {
            return None;
        }
        let mebibytes = |bytes: u64| bytes / (1024 * 1024);
        Some(Filling::Near(format!(
            "the job's files take {} of the {} MiB that it may write; at {FULL} % of that the job is ended",
            mebibytes(bytes),
            mebibytes(limit_bytes)
        )))
    }
}

impl Count {
    /// None if there is nothing to count.
    fn begin(root: PathBuf, now: Duration) -> Option<Self> {
        let device = fs::symlink_metadata(&root).ok()?.dev();
        Some(Self {
            began_at: now,
            device,
            open: None,
            waiting: vec![root],
            linked: HashSet::new(),
            bytes: 0,
        })
    }

    /// Counts some entries. Whether that was all. What vanishes meanwhile, or must not be read, is not counted.
    fn go_on(&mut self, others: &[PathBuf]) -> bool {
        for _ in 0..ENTRIES_IN_A_ROW {
            let entry = match self.open.as_mut().map(Iterator::next) {
                Some(Some(entry)) => entry,
                Some(None) => {
                    self.open = None;
                    continue;
                }
                None => {
                    let Some(folder) = self.waiting.pop() else { return true };
                    self.open = fs::read_dir(folder).ok();
                    continue;
                }
            };
            let Ok(entry) = entry else { continue };
            // Of the entry itself: links are not followed.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.dev() != self.device || metadata.is_dir() && others.contains(&entry.path()) {
                continue;
            }
            // A file with several names takes its place once.
            if metadata.nlink() > 1
                && !metadata.is_dir()
                && (self.linked.len() >= LINKED_FILES || !self.linked.insert(metadata.ino()))
            {
                continue;
            }
            self.bytes = self.bytes.saturating_add(metadata.blocks().saturating_mul(BLOCK_BYTES));
            if metadata.is_dir() && self.waiting.len() < FOLDERS_WAITING {
                self.waiting.push(entry.path());
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use tombolo_core::volume::VolumeKind;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Counts to the end, and says when.
    fn count(storage: &mut Storage, mut now: Duration) -> (Option<Filling>, Duration) {
        assert!(storage.next_at() > now, "nothing is due yet");
        loop {
            now = storage.next_at();
            let said = storage.heed(now);
            if storage.count.is_none() {
                return (said, now);
            }
        }
    }

    #[test]
    fn it_is_said_once_that_the_limit_is_near() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("large"), vec![1; 8 * MIB as usize]).unwrap();
        std::os::unix::fs::symlink(outside.path(), below.join("link")).unwrap();
        fs::write(below.join("file"), vec![1; 5 * MIB as usize]).unwrap();
        for name in ["second", "third"] {
            fs::hard_link(below.join("file"), below.join(name)).unwrap();
        }
        let volume = folder.path().join("shared");
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("large"), vec![1; 20 * MIB as usize]).unwrap();
        let mut storage = Storage::new(
            folder.path().to_owned(),
            VolumeSet::of(&[VolumeKind::Shared]),
            10 * MIB,
            Duration::ZERO,
        );
        assert_eq!(storage.heed(Duration::from_secs(1)), None);
        let (said, now) = count(&mut storage, Duration::ZERO);
        assert_eq!(said, None, "half of it, whatever it is called, and what does not count");

        fs::write(below.join("more"), vec![1; 3 * MIB as usize + 300_000]).unwrap();
        let (said, now) = count(&mut storage, now);
        let Some(Filling::Near(said)) = said else {
            panic!("{said:?}")
        };
        assert!(said.contains("take 8 of the 10 MiB"), "{said}");
        let (said, now) = count(&mut storage, now);
        assert_eq!(said, None, "once");

        fs::remove_file(below.join("more")).unwrap();
        let (said, now) = count(&mut storage, now);
        assert_eq!(said, None);
        fs::write(below.join("again"), vec![1; 3 * MIB as usize + 300_000]).unwrap();
        let (said, now) = count(&mut storage, now);
        assert!(matches!(said, Some(Filling::Near(_))), "again");
        fs::write(below.join("last"), vec![1; MIB as usize]).unwrap();
        let (said, _) = count(&mut storage, now);
        let Some(Filling::Full { bytes, limit_bytes }) = said else {
            panic!("{said:?}")
        };
        assert!(bytes >= 9 * MIB && limit_bytes == 10 * MIB);
    }

    #[test]
    fn many_entries_are_counted_a_few_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..ENTRIES_IN_A_ROW + 10 {
            fs::write(folder.path().join(number.to_string()), "x").unwrap();
        }
        let mut storage = Storage::new(folder.path().to_owned(), VolumeSet::default(), MIB, Duration::ZERO);
        let first = storage.next_at();
        assert_eq!(storage.heed(first), None);
        assert!(storage.count.is_some() && storage.next_at() == first + BREATH);
        let (said, end) = count(&mut storage, first);
        assert!(said.is_some(), "each takes a block");
        assert!(storage.next_at() >= end + PAUSE);
    }

    #[test]
    fn what_is_not_there_is_not_counted() {
        let mut storage = Storage::new("/nowhere/at/all".into(), VolumeSet::default(), MIB, Duration::ZERO);
        assert_eq!(storage.heed(Duration::from_secs(60)), None);
        assert!(storage.next_at() > Duration::ZERO);
    }
}
