//! One cluster's part: the link to the master, executors, and the supervisor of a job.

pub mod executor;
pub mod folder;
pub mod seam;
pub mod spool;
pub mod supervisor;
pub mod xunit;
