//! Which chunks a project cannot have: so that not every new one is asked for, twice each.

use std::collections::{HashMap, HashSet, VecDeque};

use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;

/// After so many questions in vain one listing answers the next ones.
const QUESTIONS: u32 = 8;

/// The most objects that are listed for it: ten requests to S3. A project that has more is asked chunk by chunk.
pub(super) const MAXIMUM_LISTED: usize = 10_000;

/// How many projects are remembered; some 200 KiB each at the most.
const MAXIMUM_PROJECTS: usize = 32;

/// Of some projects, what was listed of them, written since, and may be written by others: more than there is, never less. So a chunk
/// that is not in it is absent, with all that was ever said of it. Whoever is told so may write it anew, which is harmless where the
/// listing was wrong.
#[derive(Default)]
pub(super) struct Census {
    projects: HashMap<ProjectId, Count>,
    /// The one first that was counted longest ago.
    order: VecDeque<ProjectId>,
    /// How many listings were begun.
    listings: u64,
}

/// A listing that somebody has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listing(u64);

#[derive(Default)]
struct Count {
    epoch: u64,
    state: State,
    /// The first bytes of digests: if two are alike, it is asked as before.
    seen: HashSet<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It was asked in vain so many times.
    Asking(u32),
    /// Somebody lists. If that is broken off, it stays so until the next epoch.
    Listing(Listing),
    Complete,
    /// It has too many objects, or cannot be listed.
    Unknown,
}

impl Default for State {
    fn default() -> Self {
        Self::Asking(0)
    }
}

impl Census {
    /// Whether the chunk is certainly absent, and has no marks.
    pub(super) fn is_absent(&self, project: ProjectId, digest: Digest, epoch: u64) -> bool {
        let count = self.projects.get(&project).filter(|count| count.epoch == epoch);
        count.is_some_and(|count| count.state == State::Complete && !count.seen.contains(&short(digest)))
    }

    /// A chunk was looked for in vain. The listing that the caller is to make, if it is time for one, and to tell [`Self::listed`].
    pub(super) fn missed(&mut self, project: ProjectId, epoch: u64) -> Option<Listing> {
        let listing = Listing(self.listings);
        let count = self.count(project);
        if count.epoch < epoch {
            (count.epoch, count.state) = (epoch, State::default());
        }
        let State::Asking(questions) = count.state else {
            return None;
        };
        if questions + 1 < QUESTIONS {
            count.state = State::Asking(questions + 1);
            return None;
        }
        count.state = State::Listing(listing);
        self.listings += 1;
        Some(listing)
    }

    /// What a listing has found; none if that is not all there is.
    pub(super) fn listed(&mut self, project: ProjectId, listing: Listing, found: Option<Vec<Digest>>) {
        let count = self.projects.get_mut(&project);
        let Some(count) = count.filter(|count| count.state == State::Listing(listing)) else {
            return;
        };
        match found {
            Some(digests) => {
                count.seen.extend(digests.into_iter().map(short));
                count.state = State::Complete;
            }
            None => count.give_up(),
        }
    }

    /// The chunk is there, may be soon, or has a mark.
    pub(super) fn note(&mut self, project: ProjectId, digest: Digest) {
        let count = self.count(project);
        if count.state != State::Unknown {
            count.seen.insert(short(digest));
            if count.seen.len() > 2 * MAXIMUM_LISTED {
                count.give_up();
            }
        }
    }

    /// Has everything asked for again. What may be there may be there still.
    pub(super) fn distrust(&mut self, project: ProjectId) {
        if let Some(count) = self.projects.get_mut(&project) {
            count.state = State::default();
        }
    }

    fn count(&mut self, project: ProjectId) -> &mut Count {
        if !self.projects.contains_key(&project) {
            self.order.push_back(project);
            if self.order.len() > MAXIMUM_PROJECTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.projects.remove(&oldest);
            }
        }
        self.projects.entry(project).or_default()
    }
}

impl Count {
    fn give_up(&mut self) {
        self.state = State::Unknown;
        self.seen = HashSet::new();
    }
}

fn short(digest: Digest) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: ProjectId = ProjectId::from_u128(1);

    fn digest(number: usize) -> Digest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Digest::new(bytes)
    }

    /// After the listing was ordered.
    fn listing(census: &mut Census, project: ProjectId, epoch: u64) -> Listing {
        for _ in 1..QUESTIONS {
            assert_eq!(census.missed(project, epoch), None);
        }
        let listing = census.missed(project, epoch).unwrap();
        assert_eq!(census.missed(project, epoch), None, "one lists");
        listing
    }

    #[test]
    fn what_was_neither_listed_nor_written_since_is_absent() {
        let mut census = Census::default();
        // Somebody was given the right to write it, and may do so at any time.
        census.note(PROJECT, digest(0));
        let order = listing(&mut census, PROJECT, 0);
        // Written while somebody lists, who may have been past it.
        census.note(PROJECT, digest(1));
        assert!(!census.is_absent(PROJECT, digest(3), 0), "nobody knows yet");
        census.listed(PROJECT, order, Some(vec![digest(2)]));
        let absent =
            |census: &Census, epoch| [0, 1, 2, 3].map(|number| census.is_absent(PROJECT, digest(number), epoch));
        assert_eq!(absent(&census, 0), [false, false, false, true]);
        census.note(PROJECT, digest(3));
        assert_eq!(absent(&census, 0), [false; 4]);
        assert!(!census.is_absent(PROJECT, digest(4), 1), "another epoch");
        let order = listing(&mut census, PROJECT, 1);
        census.listed(PROJECT, order, Some(Vec::new()));
        assert_eq!(absent(&census, 1), [false; 4], "what may be there may be there still");
        assert!(census.is_absent(PROJECT, digest(4), 1));
    }

    #[test]
    fn what_is_not_known_whole_says_nothing() {
        let mut census = Census::default();
        let order = listing(&mut census, PROJECT, 0);
        census.listed(PROJECT, order, None);
        assert!(!census.is_absent(PROJECT, digest(1), 0));
        assert_eq!(census.missed(PROJECT, 0), None, "not again in this epoch");
        let order = listing(&mut census, PROJECT, 1);
        census.distrust(PROJECT);
        let later = listing(&mut census, PROJECT, 1);
        // It began before something was written that the later one need not have heard of.
        census.listed(PROJECT, order, Some(Vec::new()));
        assert!(!census.is_absent(PROJECT, digest(1), 1));
        census.listed(PROJECT, later, Some(Vec::new()));
        assert!(census.is_absent(PROJECT, digest(1), 1));
    }

    #[test]
    fn stays_bounded() {
        let mut census = Census::default();
        for number in 0..2 * MAXIMUM_PROJECTS {
            census.missed(ProjectId::from_u128(number as u128), 0);
        }
        let sizes = (census.projects.len(), census.order.len());
        assert_eq!(sizes, (MAXIMUM_PROJECTS, MAXIMUM_PROJECTS));
        let project = ProjectId::from_u128(1_000);
        let order = listing(&mut census, project, 0);
        census.listed(project, order, Some(Vec::new()));
        for number in 0..=2 * MAXIMUM_LISTED {
            census.note(project, digest(number));
        }
        assert!(census.projects[&project].seen.is_empty() && !census.is_absent(project, digest(0), 0));
    }
}
