//! How far the inputs are that are on their way: the last that their agents said. In memory only.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tombolo_core::control::event::TransferProgress;
use tombolo_core::id::AttemptId;
use tombolo_core::name::JobName;

/// The most that are known at once: more than all clusters bring at a time. 200 bytes each.
const LIMIT: usize = 50_000;

/// The most of one attempt: what an agent says about more is not shown.
const LIMIT_OF_ATTEMPT: usize = 1_000;

/// The transfers that are under way.
#[derive(Debug, Default)]
pub(super) struct Transfers(Mutex<HashMap<AttemptId, HashMap<Option<JobName>, TransferProgress>>>);

impl Transfers {
    /// Takes what an agent says. What is there whole is not under way any more.
    pub(super) fn note(&self, progress: &TransferProgress) {
        let mut known = self.lock();
        if progress.done_bytes >= progress.bytes {
            if let Some(of_attempt) = known.get_mut(&progress.attempt) {
                of_attempt.remove(&progress.parent);
                if of_attempt.is_empty() {
                    known.remove(&progress.attempt);
                }
            }
        } else if known.len() < LIMIT || known.contains_key(&progress.attempt) {
            let of_attempt = known.entry(progress.attempt).or_default();
            if of_attempt.len() < LIMIT_OF_ATTEMPT || of_attempt.contains_key(&progress.parent) {
                of_attempt.insert(progress.parent.clone(), progress.clone());
            }
        }
    }

    /// Forgets the attempts that are not wanted any more.
    pub(super) fn retain(&self, is_wanted: impl Fn(AttemptId) -> bool) {
        self.lock().retain(|attempt, _| is_wanted(*attempt));
    }

    /// Whether there are so many that some should be forgotten.
    pub(super) fn are_many(&self) -> bool {
        self.lock().len() >= LIMIT / 2
    }

    /// Those of an attempt.
    pub(super) fn of(&self, attempt: AttemptId) -> Vec<TransferProgress> {
        let known = self.lock();
        known
            .get(&attempt)
            .map(|of| of.values().cloned().collect())
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AttemptId, HashMap<Option<JobName>, TransferProgress>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tombolo_core::attempt::RouteKind;
    use tombolo_core::id::{Epoch, JobId};

    use super::*;

    #[test]
    fn what_is_under_way_is_known_until_it_is_there() {
        let attempt = |job| AttemptId {
            job: JobId::from_u128(job),
            epoch: Epoch(1),
        };
        let progress = |job, done_bytes| TransferProgress {
            attempt: attempt(job),
            parent: None,
            from: None,
            route: RouteKind::Peer,
            bytes: 10,
            done_bytes,
            moved_bytes: done_bytes,
            milliseconds: 1,
        };
        let transfers = Transfers::default();
        transfers.note(&progress(1, 3));
        transfers.note(&progress(1, 7));
        transfers.note(&progress(2, 1));
        assert_eq!(transfers.of(attempt(1)), [progress(1, 7)]);
        transfers.note(&progress(1, 10));
        assert_eq!(transfers.of(attempt(1)), []);
        transfers.retain(|of| of != attempt(2));
        assert_eq!(transfers.of(attempt(2)), []);
        // An agent can name whatever it wants.
        for number in 0..2 * LIMIT_OF_ATTEMPT {
            transfers.note(&TransferProgress {
                parent: Some(JobName::new(&format!("job{number}")).unwrap()),
                ..progress(3, 1)
            });
        }
        assert_eq!(transfers.of(attempt(3)).len(), LIMIT_OF_ATTEMPT);
    }
}
