//! What the master keeps: the port ([`Store`]) and its implementations.
//!
//! The store knows no rules. It writes what the control plane decided, whole change sets at a time, and gives it back at a
//! start; it answers questions about what is over; it keeps the logs. Who leads is part of it, because only the database can
//! keep a master that was replaced from writing.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(any(test, feature = "faulty"))]
pub mod faulty;
pub mod log;
mod port;
pub mod postgres;
pub mod sqlite;
mod state;

pub use log::{LogSegment, LogState, LogWrite};
pub use port::{AcquireError, CommitError, Error, JobRecord, KeptBuild, LeaderEpoch, Sequence, Snapshot, Store};
pub use postgres::Postgres;
pub use sqlite::Sqlite;
