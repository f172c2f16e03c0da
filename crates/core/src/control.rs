//! The control plane as a state machine: keys, states and edges of everything that is not over.
//!
//! [`Control::apply`] is pure and deterministic. Its effects must not become visible before their changes are durable.

pub mod change;
pub mod command;
pub mod event;
pub mod record;

pub use change::{Change, LiveState};
pub use command::{Command, Refusal, Reply, Submission};
pub use event::{Event, EventKind};

use crate::name::ClusterName;
use crate::session::Order;

/// What a command brings about.
#[derive(Debug)]
pub struct Effects {
    /// The answer to whoever gave the command.
    pub reply: Result<Reply, Refusal>,
    /// To be written in one transaction, in this order. Empty for what need not survive (heartbeats).
    pub changes: Vec<Change>,
    /// To be handed to the sessions of these clusters, once the changes are durable. For a cluster without a session
    /// they are dropped: what matters is found again when it connects.
    pub orders: Vec<(ClusterName, Order)>,
    /// To be told to watchers, once the changes are durable.
    pub events: Vec<Event>,
}
