//! What was sent and not acknowledged yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::time::Moment;

/// Things that were sent under a sequence number and are due again after a while.
#[derive(Debug)]
pub(super) struct Outstanding<T> {
    retry: Duration,
    sent: BTreeMap<u64, (Moment, T)>,
    due: BTreeSet<(Moment, u64)>,
    last: u64,
}

impl<T> Outstanding<T> {
    /// Nothing yet; what is added will be due `retry` later.
    pub(super) const fn new(retry: Duration) -> Self {
        Self {
            retry,
            sent: BTreeMap::new(),
            due: BTreeSet::new(),
            last: 0,
        }
    }

    /// Adds `item`, sent now, and gives it the next sequence number (from 1).
    pub(super) fn add(&mut self, now: Moment, item: T) -> u64 {
        self.last += 1;
        let due = now + self.retry;
        self.sent.insert(self.last, (due, item));
        self.due.insert((due, self.last));
        self.last
    }

    /// Removes what was acknowledged or is of no interest any more.
    pub(super) fn remove(&mut self, sequence: u64) -> Option<T> {
        let (due, item) = self.sent.remove(&sequence)?;
        self.due.remove(&(due, sequence));
        Some(item)
    }

    /// Removes all that `unwanted` says.
    pub(super) fn discard(&mut self, unwanted: impl Fn(&T) -> bool) {
        let due = &mut self.due;
        self.sent.retain(|sequence, (moment, item)| {
            let keep = !unwanted(item);
            if !keep {
                due.remove(&(*moment, *sequence));
            }
            keep
        });
    }

    /// The sequence numbers that are due at `now`; they are counted as sent again.
    pub(super) fn take_due(&mut self, now: Moment) -> Vec<u64> {
        let mut taken = Vec::new();
        while let Some(&(moment, sequence)) = self.due.first()
            && moment <= now
        {
            self.due.pop_first();
            taken.push(sequence);
        }
        for sequence in &taken {
            let again = now + self.retry;
            if let Some((due, _)) = self.sent.get_mut(sequence) {
                *due = again;
                self.due.insert((again, *sequence));
            }
        }
        taken
    }

    /// What was sent under `sequence`, unless it is acknowledged.
    pub(super) fn get(&self, sequence: u64) -> Option<&T> {
        self.sent.get(&sequence).map(|(_, item)| item)
    }

    /// When the next is due.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(moment, _)| *moment)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// The latest number that was given out; 0 if none was.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// Whether `sequence` was ever given out.
    pub(super) const fn was_sent(&self, sequence: u64) -> bool {
        sequence >= 1 && sequence <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn due_again_until_removed() {
        let mut outstanding = Outstanding::new(Duration::from_secs(2));
        assert_eq!((outstanding.add(at(0), 'a'), outstanding.add(at(1), 'b')), (1, 2));
        assert_eq!(outstanding.take_due(at(1)), [0; 0]);
        assert_eq!(outstanding.next_due(), Some(at(2)));
        assert_eq!(outstanding.take_due(at(2)), [1]);
        assert_eq!(outstanding.next_due(), Some(at(3)));
        assert_eq!(outstanding.remove(2), Some('b'));
        assert_eq!(outstanding.remove(2), None);
        assert_eq!(outstanding.take_due(at(9)), [1]);
        outstanding.discard(|item| *item == 'a');
        assert_eq!((outstanding.len(), outstanding.next_due()), (0, None));
        assert!(outstanding.was_sent(2) && !outstanding.was_sent(3) && !outstanding.was_sent(0));
    }
}
