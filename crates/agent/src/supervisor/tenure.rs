//! How long a command may go on that ends with its cluster's lease, so that it never runs here and elsewhere at the same time.
//!
//! The lease is told by the agent, who counts it from when it asked the master for it. Nobody else has to live for the command to end.

use std::time::Duration;

use tombolo_runtime::clock;

use super::Specification;
use super::listeners::Listeners;
use crate::link::Granted;

/// Before the first lease was told: one that is over.
const NONE: Granted = Granted {
    until: Duration::ZERO,
    length: Duration::ZERO,
};

/// Until when the command may go on.
pub(super) enum Tenure {
    /// As long as it likes.
    Free,
    /// Until the end of this lease, or of a later one.
    Leased(Granted),
}

impl Tenure {
    pub(super) fn of(specification: &Specification) -> Self {
        match specification.exclusive {
            true => Self::Leased(specification.lease.unwrap_or(NONE)),
            false => Self::Free,
        }
    }

    /// The latest lease, if that matters.
    pub(super) fn lease(&self, listeners: &Listeners) -> Option<Granted> {
        let Self::Leased(first) = self else { return None };
        let told = listeners.lease().filter(|told| told.until > first.until);
        Some(told.unwrap_or(*first))
    }

    /// Whether it is too late to start.
    pub(super) fn is_over(&self, listeners: &Listeners) -> bool {
        let lease = self.lease(listeners);
        lease.is_some_and(|lease| clock::now().steady >= lease.stop_at())
    }

    /// When the command has to stop, as far as is known now.
    pub(super) fn stop_at(&self, listeners: &Listeners) -> Option<Duration> {
        self.lease(listeners).map(|lease| lease.stop_at())
    }
}
