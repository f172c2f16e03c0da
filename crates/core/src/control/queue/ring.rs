//! A set with a place in it that goes round.

use std::collections::HashMap;
use std::hash::Hash;

/// A set of small keys. Adding, removing and going on to the next one take constant time.
#[derive(Debug)]
pub(super) struct Ring<Key> {
    keys: Vec<Key>,
    places: HashMap<Key, usize>,
    cursor: usize,
}

impl<Key: Copy + Eq + Hash> Ring<Key> {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.places.contains_key(&key)
    }

    pub(super) fn insert(&mut self, key: Key) {
        if !self.places.contains_key(&key) {
            self.places.insert(key, self.keys.len());
            self.keys.push(key);
        }
    }

    pub(super) fn remove(&mut self, key: Key) {
        let Some(place) = self.places.remove(&key) else { return };
        self.keys.swap_remove(place);
        if let Some(moved) = self.keys.get(place) {
            self.places.insert(*moved, place);
        }
    }

    /// The key at the present place.
    pub(super) fn current(&mut self) -> Option<Key> {
        if self.cursor >= self.keys.len() {
            self.cursor = 0;
        }
        self.keys.get(self.cursor).copied()
    }

    /// All keys, the one at the present place first.
    pub(super) fn walk(&self) -> impl Iterator<Item = Key> {
        let (before, after) = self.keys.split_at(self.cursor.min(self.keys.len()));
        after.iter().chain(before).copied()
    }

    /// Goes on to the next place.
    pub(super) fn advance(&mut self) {
        self.cursor += 1;
    }
}

impl<Key: Copy + Eq + Hash> FromIterator<Key> for Ring<Key> {
    fn from_iter<Keys: IntoIterator<Item = Key>>(keys: Keys) -> Self {
        let mut ring = Self {
            keys: Vec::new(),
            places: HashMap::new(),
            cursor: 0,
        };
        keys.into_iter().for_each(|key| ring.insert(key));
        ring
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_round_and_survives_removal() {
        let mut ring: Ring<u32> = (0..4).collect();
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.extend(ring.current());
            ring.advance();
        }
        assert_eq!(seen, [0, 1, 2, 3, 0, 1]);
        assert!(ring.walk().eq([2, 3, 0, 1]));
        for (removed, left) in [(0, 3), (0, 3), (3, 2), (2, 1), (1, 0)] {
            ring.remove(removed);
            assert_eq!(ring.len(), left);
            assert!(ring.current() != Some(removed));
        }
        assert!(ring.is_empty() && ring.current().is_none());
        ring.insert(7);
        ring.insert(7);
        assert_eq!((ring.len(), ring.current()), (1, Some(7)));
    }
}
