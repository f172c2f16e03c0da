//! One cluster's part: the link to the master, executors, and the supervisor of a job.

pub mod folder;
pub mod spool;
pub mod supervisor;
