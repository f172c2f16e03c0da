//! Several masters of one installation: one leads, the others stand by, pass connections on to it, and follow it.
//!
//! A [`Campaign`](campaign::Campaign) goes round for as long as the process lives: it looks who leads, takes the lead when nobody does, and
//! stands by again when it has lost it. What a leader may do ends with its [`Tenure`], wherever it is asked for: before frames to agents,
//! before and after each request, before anything is deleted. What it writes the database fences besides.

mod campaign;
mod front;
pub(crate) mod health;
mod refusal;
mod renewal;
mod splice;
mod tenure;

use tokio::sync::watch;
use tombolo_core::leadership::Term;
use tombolo_core::time::Timestamp;
use tombolo_store::postgres::Addresses;

use crate::driver::Report;

pub(crate) use campaign::{Campaign, Mandate};
pub(crate) use front::{Door, Front, listener};
pub use tenure::Tenure;

/// What a master is at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// It waits, and passes connections on to whoever leads.
    Standby(Option<Known>),
    /// It is about to lead: who connects waits until it does.
    Taking,
    /// It is to lead then, when leases are over that its database does not know of: who connects is told so.
    Waiting(Timestamp),
    /// It leads.
    Leader,
    /// It leads, and its database takes no changes: who asks it anything is told to try again.
    Stalled,
}

impl Role {
    /// What it becomes by what a driver says of itself. Late words of one that was deposed change nothing.
    fn after(&self, report: Report) -> Option<Self> {
        match (self, report) {
            (Self::Taking | Self::Waiting(_), Report::Waits(until)) => Some(Self::Waiting(until)),
            (Self::Waiting(_), Report::Begins) => Some(Self::Taking),
            (Self::Leader, Report::Stalls) => Some(Self::Stalled),
            (Self::Stalled, Report::Works) => Some(Self::Leader),
            _ => None,
        }
    }

    /// Takes what a driver says of itself.
    pub(crate) fn hear(roles: &watch::Sender<Self>, report: Report) {
        roles.send_if_modified(|role| match role.after(report) {
            Some(next) if next != *role => {
                *role = next;
                true
            }
            _ => false,
        });
    }
}

/// Who leads, and where to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) term: Term,
    /// None if it did not say.
    pub(crate) addresses: Option<Addresses>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_follows_its_driver_and_no_driver_of_before() {
        let roles = watch::Sender::new(Role::Taking);
        let hear = |report| {
            Role::hear(&roles, report);
            roles.borrow().clone()
        };
        let until = Timestamp(5);
        assert_eq!(hear(Report::Waits(until)), Role::Waiting(until));
        assert_eq!(hear(Report::Works), Role::Waiting(until));
        assert_eq!(hear(Report::Begins), Role::Taking);
        assert_eq!(hear(Report::Stalls), Role::Taking);
        roles.send_replace(Role::Leader);
        assert_eq!(hear(Report::Stalls), Role::Stalled);
        assert_eq!(hear(Report::Works), Role::Leader);
        roles.send_replace(Role::Standby(None));
        for late in [Report::Waits(until), Report::Begins, Report::Stalls, Report::Works] {
            assert_eq!(hear(late), Role::Standby(None));
        }
    }
}
