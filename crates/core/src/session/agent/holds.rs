//! The attempts whose command ends with the cluster's lease, and until when each may go on.
//!
//! The master gives such an attempt to another cluster when the lease of this one ends, and it waits for as long where it takes one away. A later lease
//! therefore counts for those alone that the master has confirmed on the present connection: of the others it may have given some away before.

use std::collections::BTreeMap;

use crate::id::AttemptId;
use crate::planted::{Bug, planted};
use crate::time::Moment;

/// What is held, and what is to be confirmed.
#[derive(Debug, Default)]
pub(super) struct Holds {
    attempts: BTreeMap<AttemptId, Hold>,
}

#[derive(Debug, Default)]
struct Hold {
    /// The master wants it, as it has said on the present connection.
    confirmed: bool,
    /// What the executor was told.
    until: Option<Moment>,
}

impl Holds {
    /// There is such an attempt.
    pub(super) fn add(&mut self, attempt: AttemptId) {
        self.attempts.entry(attempt).or_default();
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Whether an attempt is one of them.
    pub(super) fn contains(&self, attempt: AttemptId) -> bool {
        self.attempts.contains_key(&attempt)
    }

    /// The master wants this attempt, if it is one of them.
    pub(super) fn confirm(&mut self, attempt: AttemptId) {
        if let Some(hold) = self.attempts.get_mut(&attempt) {
            hold.confirmed = true;
        }
    }

    /// All have to be confirmed again.
    pub(super) fn reconnected(&mut self) {
        for hold in self.attempts.values_mut() {
            hold.confirmed = false;
        }
    }

    /// The attempt is over, or is to end.
    pub(super) fn remove(&mut self, attempt: AttemptId) {
        self.attempts.remove(&attempt);
    }

    /// Those that may go on for longer than their executor knows: until `until`, the end of the lease.
    pub(super) fn extend(&mut self, until: Option<Moment>) -> impl Iterator<Item = (AttemptId, Moment)> {
        self.attempts.iter_mut().filter_map(move |(attempt, hold)| {
            let is_longer = (hold.confirmed || planted(Bug::HoldUnconfirmed)) && hold.until < until;
            hold.until = if is_longer { until } else { hold.until };
            Some((*attempt, until.filter(|_| is_longer)?))
        })
    }
}
