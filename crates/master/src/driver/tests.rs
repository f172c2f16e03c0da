//! The driver on a real store (SQLite in memory) that fails on demand, in paused time: waiting costs none.

mod faults;
mod flow;
mod leaders;
mod turns;
pub(crate) mod world;
