//! One cluster's part: the link to the master, executors, and the supervisor of a job.

pub mod attempts;
pub mod clone;
pub mod configuration;
pub mod couriers;
pub mod doctor;
pub mod exec;
pub mod executor;
pub mod folder;
mod generated;
mod incoming;
pub mod join;
pub mod link;
pub(crate) mod mask;
pub mod network;
mod pauses;
pub mod pod;
pub mod prefetch;
mod progress;
mod run;
mod sandbox;
pub mod seam;
pub mod secrets;
pub mod shipper;
pub mod spool;
pub mod supervisor;
pub mod sweeping;
#[cfg(test)]
mod trial;
pub mod tunnels;
pub mod volumes;
pub mod xunit;

pub use run::run;
