//! The domain of Tombolo: pure types and state machines, without I/O, async or a clock.
//!
//! Time, randomness and fresh identifiers are arguments. Everything here can therefore be driven by a simulator with a
//! seed just as well as by the real drivers in the master and the agent.

pub mod access;
pub mod attempt;
pub mod build;
pub mod cache;
pub mod capability;
pub mod control;
pub mod digest;
pub mod id;
pub mod label;
pub mod leadership;
pub mod log;
pub mod name;
pub mod pattern;
pub mod placement;
pub mod planted;
pub mod rerun;
pub mod resources;
pub mod restoration;
pub mod retention;
pub mod route;
pub mod secret;
pub mod session;
pub mod share;
pub mod time;
pub mod trigger;
pub mod volume;
