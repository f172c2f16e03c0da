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

/// Of some projects, what was listed of them and written since: more than there is, never less. So a chunk that is not in it is
/// absent, with all that was ever said of it. Whoever is told so may write it anew, which is harmless where the listing was wrong.
#[derive(Default)]
pub(super) struct Census {
    projects: HashMap<ProjectId, Count>,
    /// The one first that was counted longest ago.
    order: VecDeque<ProjectId>,
}

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
    Listing,
    Complete,
    /// It has too many objects, or cannot be listed.
    Unknown,
}

impl Census {
    /// Whether the chunk is certainly absent, and has no marks.
    pub(super) fn is_absent(&self, project: ProjectId, digest: Digest, epoch: u64) -> bool {
        let count = self.projects.get(&project).filter(|count| count.epoch == epoch);
        count.is_some_and(|count| count.state == State::Complete && !count.seen.contains(&short(digest)))
    }

    /// A chunk was looked for in vain. Whether the caller is to list the project, and to tell [`Self::listed`].
    pub(super) fn missed(&mut self, project: ProjectId, epoch: u64) -> bool {
        if self.projects.get(&project).is_none_or(|count| count.epoch < epoch) {
            self.begin(project, epoch);
        }
        let Some(count) = self.projects.get_mut(&project) else {
            return false;
        };
        let State::Asking(questions) = count.state else {
            return false;
        };
        let enough = questions + 1 >= QUESTIONS;
        count.state = if enough {
            State::Listing
        } else {
            State::Asking(questions + 1)
        };
        enough
    }

    /// What a listing that began in `epoch` has found; none if that is not all there is.
    pub(super) fn listed(&mut self, project: ProjectId, epoch: u64, found: Option<Vec<Digest>>) {
        let count = self.projects.get_mut(&project);
        let Some(count) = count.filter(|count| count.epoch == epoch && count.state == State::Listing) else {
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

    /// The chunk is there, or may be soon.
    pub(super) fn note(&mut self, project: ProjectId, digest: Digest) {
        let Some(count) = self.projects.get_mut(&project) else {
            return;
        };
        if matches!(count.state, State::Listing | State::Complete) {
            count.seen.insert(short(digest));
            if count.seen.len() > 2 * MAXIMUM_LISTED {
                count.give_up();
            }
        }
    }

    pub(super) fn forget_project(&mut self, project: ProjectId) {
        self.projects.remove(&project);
        self.order.retain(|known| *known != project);
    }

    fn begin(&mut self, project: ProjectId, epoch: u64) {
        self.forget_project(project);
        self.order.push_back(project);
        let count = Count {
            epoch,
            state: State::Asking(0),
            seen: HashSet::new(),
        };
        self.projects.insert(project, count);
        if self.order.len() > MAXIMUM_PROJECTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.projects.remove(&oldest);
        }
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
    fn listing(census: &mut Census, project: ProjectId) {
        for _ in 1..QUESTIONS {
            assert!(!census.missed(project, 0));
        }
        assert!(census.missed(project, 0));
        assert!(!census.missed(project, 0), "one lists");
    }

    #[test]
    fn what_was_neither_listed_nor_written_since_is_absent() {
        let mut census = Census::default();
        listing(&mut census, PROJECT);
        // Written while somebody lists, who may have been past it.
        census.note(PROJECT, digest(1));
        assert!(!census.is_absent(PROJECT, digest(3), 0), "nobody knows yet");
        census.listed(PROJECT, 0, Some(vec![digest(2)]));
        let absent = |census: &Census| [1, 2, 3].map(|number| census.is_absent(PROJECT, digest(number), 0));
        assert_eq!(absent(&census), [false, false, true]);
        census.note(PROJECT, digest(3));
        assert_eq!(absent(&census), [false; 3]);
        assert!(!census.is_absent(PROJECT, digest(4), 1), "another epoch");
        census.forget_project(PROJECT);
        assert!(!census.is_absent(PROJECT, digest(4), 0));
    }

    #[test]
    fn what_is_not_known_whole_says_nothing() {
        let mut census = Census::default();
        listing(&mut census, PROJECT);
        census.listed(PROJECT, 0, None);
        assert!(!census.is_absent(PROJECT, digest(1), 0));
        assert!(!census.missed(PROJECT, 0), "not again in this epoch");
        assert!((1..QUESTIONS).all(|_| !census.missed(PROJECT, 1)) && census.missed(PROJECT, 1));
        // The answer to a question of an earlier epoch.
        census.listed(PROJECT, 0, Some(Vec::new()));
        assert!(!census.is_absent(PROJECT, digest(1), 1));
    }

    #[test]
    fn stays_bounded() {
        let mut census = Census::default();
        for number in 0..2 * MAXIMUM_PROJECTS {
            census.missed(ProjectId::from_u128(number as u128), 0);
        }
        assert_eq!(
            (census.projects.len(), census.order.len()),
            (MAXIMUM_PROJECTS, MAXIMUM_PROJECTS)
        );
        let project = ProjectId::from_u128(1_000);
        listing(&mut census, project);
        census.listed(project, 0, Some(Vec::new()));
        for number in 0..=2 * MAXIMUM_LISTED {
            census.note(project, digest(number));
        }
        assert!(census.projects[&project].seen.is_empty() && !census.is_absent(project, digest(0), 0));
    }
}
