//! The driver on a real store (SQLite in memory) that fails on demand, in paused time: waiting costs none.

mod faults;
mod flow;
pub(crate) mod world;
