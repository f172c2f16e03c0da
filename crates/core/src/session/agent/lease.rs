//! The agent's lease: how long it may start commands.

use std::collections::BTreeSet;

use crate::id::AttemptId;
use crate::planted::{Bug, planted};
use crate::time::Moment;

/// The lease, and one that waits to be granted.
///
/// A lease that has lapsed may have cost the agent its attempts: the master gives those that had not begun to others, and
/// its order to forget them may still be on the way. So a new lease is granted only when the master has confirmed, after
/// the lapse, each attempt that has not begun. An order to start one may be on the way as well: those that come later on that connection
/// are confirmed, too.
#[derive(Debug, Default)]
pub(super) struct Lease {
    until: Option<Moment>,
    waiting: Option<Waiting>,
    /// It has lapsed since the present connection was made.
    has_lapsed: bool,
}

#[derive(Debug)]
struct Waiting {
    until: Moment,
    unconfirmed: BTreeSet<AttemptId>,
    /// Reports up to this one were sent before; their acknowledgements confirm nothing.
    last_report: u64,
}

impl Lease {
    pub(super) const fn until(&self) -> Option<Moment> {
        self.until
    }

    /// Extends a lease that has not lapsed. Says whether there was one.
    pub(super) fn extend(&mut self, now: Moment, until: Moment) -> bool {
        if self
            .until
            .is_some_and(|end| now < end || planted(Bug::LapsedLeaseGoesOn))
        {
            self.until = self.until.max(Some(until));
            return true;
        }
        match &mut self.waiting {
            Some(waiting) if now < waiting.until => {
                waiting.until = until.max(waiting.until);
                true
            }
            _ => false,
        }
    }

    /// Begins a new lease once all these attempts are confirmed. `connected`: whether there was one on this connection before.
    pub(super) fn begin(&mut self, until: Moment, unconfirmed: BTreeSet<AttemptId>, last_report: u64, connected: bool) {
        self.has_lapsed |= connected;
        self.waiting = Some(Waiting {
            until,
            unconfirmed,
            last_report,
        });
        self.grant();
    }

    /// Whether it has lapsed since the present connection was made.
    pub(super) const fn has_lapsed(&self) -> bool {
        self.has_lapsed
    }

    /// An attempt was assigned, by an order that may be older than a lapse: nothing starts before the master has confirmed it.
    pub(super) fn assigned(&mut self, attempt: AttemptId, last_report: u64) {
        if !self.has_lapsed {
            return;
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.unconfirmed.insert(attempt);
        } else if let Some(until) = self.until.take() {
            let unconfirmed = BTreeSet::from([attempt]);
            self.waiting = Some(Waiting {
                until,
                unconfirmed,
                last_report,
            });
        }
    }

    /// The master acknowledged a report about this attempt.
    pub(super) fn reported(&mut self, attempt: AttemptId, report: u64) {
        if self
            .waiting
            .as_ref()
            .is_some_and(|waiting| report > waiting.last_report)
        {
            self.confirmed(attempt);
        }
    }

    /// The master wants this attempt, or it does not begin any more.
    pub(super) fn confirmed(&mut self, attempt: AttemptId) {
        if let Some(waiting) = &mut self.waiting {
            waiting.unconfirmed.remove(&attempt);
            self.grant();
        }
    }

    /// The connection is gone, and with it what was waited for.
    pub(super) fn disconnected(&mut self) {
        self.waiting = None;
        self.has_lapsed = false;
    }

    fn grant(&mut self) {
        if let Some(waiting) = self.waiting.take_if(|waiting| waiting.unconfirmed.is_empty()) {
            self.until = self.until.max(Some(waiting.until));
        }
    }
}
