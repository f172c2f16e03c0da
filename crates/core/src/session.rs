//! The link between an agent and the master, both ends of it, without any I/O.
//!
//! Frames may be lost, delayed, doubled and reordered: each end repeats what was not acknowledged, and both resynchronise
//! from the hello. Epochs and phase ranks make every frame safe to see twice. Nothing of one connection is ever seen on
//! another: the driver of each end sees to that.

pub mod agent;
mod error;
pub mod frame;
pub mod master;
mod outstanding;

pub use crate::capability::Capability;
pub use error::Error;
pub use frame::{AgentFrame, AttemptReport, Hello, MasterFrame, Nodes, Order, OrderFrame, StopReason, Survey, Welcome};
