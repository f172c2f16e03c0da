//! Which chunks are known to be there.

use std::collections::{HashMap, VecDeque};

use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;

use super::census::Census;

/// How many chunks are remembered: 64 GiB of average ones, in about 3 MiB of memory.
const MAXIMUM_KNOWN: usize = 16_384;

type Key = (ProjectId, Digest);

/// A bounded memory of present chunks and their generations; the oldest are forgotten first. What was found in another epoch (see
/// [`super::retention`]) is not known any more: it may be condemned by now.
#[derive(Default)]
pub(super) struct Known {
    generations: HashMap<Key, Found>,
    order: VecDeque<Key>,
    /// What is known to be absent.
    pub(super) census: Census,
}

#[derive(Clone, Copy)]
struct Found {
    generation: u32,
    epoch: u64,
}

impl Known {
    pub(super) fn get(&self, key: &Key, epoch: u64) -> Option<u32> {
        let found = self.generations.get(key).filter(|found| found.epoch == epoch);
        found.map(|found| found.generation)
    }

    /// `epoch`: when it was begun to look.
    pub(super) fn insert(&mut self, key: Key, generation: u32, epoch: u64) {
        self.census.note(key.0, key.1);
        if self.generations.get(&key).is_some_and(|found| found.epoch > epoch) {
            return;
        }
        if self.generations.insert(key, Found { generation, epoch }).is_some() {
            return;
        }
        self.order.push_back(key);
        while self.order.len() > MAXIMUM_KNOWN {
            if let Some(oldest) = self.order.pop_front() {
                self.generations.remove(&oldest);
            }
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if self.generations.remove(key).is_some() {
            self.order.retain(|known| known != key);
        }
    }

    pub(super) fn forget_all(&mut self) {
        *self = Self::default();
    }

    pub(super) fn forget_project(&mut self, project: ProjectId) {
        self.census.distrust(project);
        self.generations.retain(|(of, _), _| *of != project);
        self.order.retain(|(of, _)| *of != project);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_bounded() {
        let mut known = Known::default();
        let project = ProjectId::from_u128(1);
        let key = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            (project, Digest::new(bytes))
        };
        for number in 0..MAXIMUM_KNOWN + 10 {
            known.insert(key(number), 0, 0);
            known.insert(key(number), 1, 0);
        }
        assert_eq!(
            (known.generations.len(), known.order.len()),
            (MAXIMUM_KNOWN, MAXIMUM_KNOWN)
        );
        assert_eq!((known.get(&key(9), 0), known.get(&key(10), 0)), (None, Some(1)));
        known.remove(&key(10));
        known.remove(&key(10));
        assert_eq!(
            (known.generations.len(), known.order.len()),
            (MAXIMUM_KNOWN - 1, MAXIMUM_KNOWN - 1)
        );
        known.forget_project(project);
        assert!(known.generations.is_empty() && known.order.is_empty());
    }

    #[test]
    fn another_epoch_is_another_matter() {
        let mut known = Known::default();
        let key = (ProjectId::from_u128(1), Digest::new([1; 32]));
        known.insert(key, 1, 1);
        assert_eq!((known.get(&key, 1), known.get(&key, 2)), (Some(1), None));
        known.insert(key, 2, 2);
        known.insert(key, 3, 1);
        assert_eq!(known.get(&key, 2), Some(2));
    }
}
