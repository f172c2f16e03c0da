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

use tombolo_core::leadership::Term;
use tombolo_store::postgres::Addresses;

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
    /// It leads.
    Leader,
}

/// Who leads, and where to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) term: Term,
    /// None if it did not say.
    pub(crate) addresses: Option<Addresses>,
}
