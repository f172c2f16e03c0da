//! Which chunks manifests list, in a form that is small and bounded.

use tombolo_core::digest::Digest;

/// How many chunks are held at once: 32 MiB. A sweep of a store with more goes over the manifests several times.
pub(super) const MAXIMUM_HELD: usize = 4 << 20;

/// Where a digest stands among all: its first eight bytes. Two chunks that share them keep each other, which loses nothing.
pub(super) fn place(digest: Digest) -> u64 {
    let (first, _) = digest.as_bytes().split_first_chunk().expect("a digest is longer");
    u64::from_be_bytes(*first)
}

/// The chunks that manifests list, of those at the places from `first` to `last`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct References {
    pub(super) first: u64,
    pub(super) last: u64,
    places: Vec<u64>,
}

impl References {
    pub(super) fn is_listed(&self, digest: Digest) -> bool {
        self.places.binary_search(&place(digest)).is_ok()
    }

    pub(super) fn covers(&self, digest: Digest) -> bool {
        (self.first..=self.last).contains(&place(digest))
    }
}

/// Takes chunks in any order, and gives up the later places when there are too many.
pub(super) struct Collector {
    references: References,
    maximum: usize,
}

impl Collector {
    pub(super) const fn from(first: u64, maximum: usize) -> Self {
        let references = References {
            first,
            last: u64::MAX,
            places: Vec::new(),
        };
        Self { references, maximum }
    }

    pub(super) fn add(&mut self, digest: Digest) {
        if !self.references.covers(digest) {
            return;
        }
        self.references.places.push(place(digest));
        if self.references.places.len() >= self.maximum {
            self.compact();
            // Twice in a row to little avail would cost a sort for each chunk.
            if self.references.places.len() > self.maximum / 2 {
                let places = &mut self.references.places;
                places.truncate(self.maximum / 2);
                self.references.last = places.last().copied().unwrap_or(u64::MAX);
            }
        }
    }

    fn compact(&mut self) {
        self.references.places.sort_unstable();
        self.references.places.dedup();
    }

    pub(super) fn finish(mut self) -> References {
        self.compact();
        self.references
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn digest(place: u64) -> Digest {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&place.to_be_bytes());
        Digest::new(bytes)
    }

    proptest! {
        /// However few are held at once, slice by slice each place is covered once, and told rightly.
        #[test]
        fn slices_cover_everything(
            listed in proptest::collection::vec(prop_oneof![0_u64..50, any::<u64>(), Just(u64::MAX)], 0..200),
            asked in proptest::collection::vec(prop_oneof![0_u64..50, any::<u64>(), Just(u64::MAX)], 0..50),
            maximum in 2_usize..20,
        ) {
            let expected: BTreeSet<u64> = listed.iter().copied().collect();
            let mut covered = vec![0; asked.len()];
            let mut first = 0;
            loop {
                let mut collector = Collector::from(first, maximum);
                for place in &listed {
                    collector.add(digest(*place));
                    prop_assert!(collector.references.places.len() <= maximum);
                }
                let references = collector.finish();
                for (asked, covered) in asked.iter().zip(&mut covered) {
                    if references.covers(digest(*asked)) {
                        *covered += 1;
                        prop_assert_eq!(references.is_listed(digest(*asked)), expected.contains(asked));
                    }
                }
                let Some(next) = references.last.checked_add(1) else { break };
                prop_assert!(next > first);
                first = next;
            }
            prop_assert!(covered.iter().all(|times| *times == 1));
        }
    }
}
