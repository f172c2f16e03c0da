//! What placement looks at most of a cluster. It is kept apart from the rest and close together: with many clusters, each look at a whole
//! member is a look into memory that is far away.

use crate::control::queue::ClassId;
use crate::placement::Candidate;
use crate::resources::Resources;

/// The room of one cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::control) struct Room {
    /// What is free for one more job; none if it takes none.
    free: Option<Resources>,
    /// The class of jobs that it is kept for, one of which has waited long.
    kept_for: Option<ClassId>,
    /// How much of it is free, in millionths.
    pub(in crate::control) free_share: u32,
    /// How many of its attempts do not start.
    pub(in crate::control) held_up: u32,
}

impl Room {
    pub(super) fn of(candidate: &Candidate<'_>, kept_for: Option<ClassId>) -> Self {
        Self {
            kept_for,
            free: candidate.free(),
            free_share: candidate.free_share(),
            held_up: candidate.held_up,
        }
    }

    /// Whether a job of a class that needs so much finds room.
    pub(in crate::control) fn fits(&self, class: ClassId, needed: &Resources) -> bool {
        self.kept_for.is_none_or(|other| other == class) && self.free.is_some_and(|free| free.fits(needed))
    }
}
