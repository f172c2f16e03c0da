//! How far the inputs are that are on their way: the last that their agents said. In memory only.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tombolo_core::control::event::{Recipient, TransferProgress};
use tombolo_core::id::AttemptId;
use tombolo_core::name::{ClusterName, JobName};

/// The most that are known at once: more than all clusters bring at a time. 200 bytes each.
const LIMIT: usize = 50_000;

/// The most of one attempt: what an agent says about more is not shown.
const LIMIT_OF_ATTEMPT: usize = 1_000;

/// The transfers that are under way.
#[derive(Debug, Default)]
pub(super) struct Transfers(Mutex<HashMap<AttemptId, HashMap<Option<JobName>, Moving>>>);

/// For how long nothing may be said of what comes ahead: nobody waits for it, and no attempt ends with it.
const SILENT_AHEAD: Duration = Duration::from_secs(120);

/// A transfer that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// The last that was said of it.
    pub progress: TransferProgress,
    /// Where it goes to.
    pub to: ClusterName,
    /// When something was said of it last.
    told: Instant,
    /// What was there when something was said first, in bytes, and how long it had taken then, in milliseconds: what was there before
    /// the transfer began says nothing of its rate.
    first: (u64, u64),
}

impl Moving {
    fn is_heard_of(&self) -> bool {
        matches!(self.progress.recipient, Recipient::Attempt(_)) || self.told.elapsed() < SILENT_AHEAD
    }

    /// The rate at which content comes, in bytes; none before that is known.
    pub fn bytes_per_second(&self) -> Option<u64> {
        let (bytes, milliseconds) = self.first;
        let came = self.progress.done_bytes.checked_sub(bytes).filter(|came| *came > 0)?;
        let took = self
            .progress
            .milliseconds
            .checked_sub(milliseconds)
            .filter(|took| *took > 0)?;
        u64::try_from(u128::from(came) * 1_000 / u128::from(took)).ok()
    }
}

impl Transfers {
    /// Takes what the agent of the cluster `to` says of what an attempt waits for. What is there whole is not under way any more.
    pub(super) fn note(&self, attempt: AttemptId, to: &ClusterName, progress: &TransferProgress) {
        let mut known = self.lock();
        if progress.done_bytes >= progress.bytes {
            if let Some(of_attempt) = known.get_mut(&attempt) {
                of_attempt.remove(&progress.parent);
                if of_attempt.is_empty() {
                    known.remove(&attempt);
                }
            }
        } else if known.len() < LIMIT || known.contains_key(&attempt) {
            let of_attempt = known.entry(attempt).or_default();
            if of_attempt.len() < LIMIT_OF_ATTEMPT || of_attempt.contains_key(&progress.parent) {
                let first = (progress.done_bytes, progress.milliseconds);
                let moving = of_attempt.entry(progress.parent.clone()).or_insert_with(|| Moving {
                    progress: progress.clone(),
                    to: to.clone(),
                    told: Instant::now(),
                    first,
                });
                // An agent that was started again begins again.
                if progress.milliseconds < moving.progress.milliseconds {
                    moving.first = first;
                }
                moving.progress = progress.clone();
                moving.told = Instant::now();
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
    pub(super) fn of(&self, attempt: AttemptId) -> Vec<Moving> {
        let known = self.lock();
        known
            .get(&attempt)
            .map(|of| of.values().filter(|moving| moving.is_heard_of()).cloned().collect())
            .unwrap_or_default()
    }

    /// One of them.
    pub(super) fn one(&self, attempt: AttemptId, parent: &Option<JobName>) -> Option<Moving> {
        let known = self.lock();
        known
            .get(&attempt)?
            .get(parent)
            .filter(|moving| moving.is_heard_of())
            .cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AttemptId, HashMap<Option<JobName>, Moving>>> {
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
            recipient: Recipient::Attempt(attempt(job)),
            parent: None,
            from: None,
            route: RouteKind::Peer,
            bytes: 10,
            done_bytes,
            moved_bytes: done_bytes,
            milliseconds: done_bytes * 10,
        };
        let east = ClusterName::new("east").unwrap();
        let transfers = Transfers::default();
        transfers.note(attempt(1), &east, &progress(1, 3));
        transfers.note(attempt(1), &east, &progress(1, 7));
        transfers.note(attempt(2), &east, &progress(2, 1));
        let known: Vec<_> = transfers
            .of(attempt(1))
            .into_iter()
            .map(|moving| moving.progress)
            .collect();
        assert_eq!(known, [progress(1, 7)]);
        let rate = || transfers.one(attempt(1), &None).unwrap().bytes_per_second();
        assert_eq!(rate(), Some(100), "4 bytes in 40 ms");
        // What was there before it began does not count, nor what another life of the agent said.
        let again = TransferProgress {
            milliseconds: 1,
            ..progress(1, 8)
        };
        transfers.note(attempt(1), &east, &again);
        assert_eq!(rate(), None);
        let later = TransferProgress {
            milliseconds: 2,
            ..progress(1, 9)
        };
        transfers.note(attempt(1), &east, &later);
        assert_eq!(rate(), Some(1_000));
        transfers.note(attempt(1), &east, &progress(1, 10));
        assert_eq!(transfers.of(attempt(1)), []);
        transfers.retain(|of| of != attempt(2));
        assert_eq!(transfers.of(attempt(2)), []);
        // An agent can name whatever it wants.
        for number in 0..2 * LIMIT_OF_ATTEMPT {
            let named = TransferProgress {
                parent: Some(JobName::new(&format!("job{number}")).unwrap()),
                ..progress(3, 1)
            };
            transfers.note(attempt(3), &east, &named);
        }
        assert_eq!(transfers.of(attempt(3)).len(), LIMIT_OF_ATTEMPT);
    }
}
