//! The driver: one task that owns the control plane's state machine and stands between it and the world.
//!
//! In a loop it takes the commands that have come, applies them, writes what they change in one transaction, and only then
//! lets out what they bring about: answers, orders to agents, events to watchers. Nothing is visible before it is durable.

mod handle;
mod message;
mod watch;

pub use handle::{ApplyError, Handle, Session};
pub use watch::{Numbered, Subscription, Watched};
