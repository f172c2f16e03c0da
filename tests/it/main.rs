//! The real program: a master and two agents as processes, mutual TLS between them, a local folder and a real S3 endpoint as
//! stores, and the users' commands. Every test has its own world: its own folder and ports.

#![allow(clippy::panic, reason = "a test that cannot go on says why")]

mod access;
mod arrays;
mod backup;
mod bad_input;
mod caches;
mod contract;
mod crossing;
mod damage;
mod death;
mod dev;
mod downloads;
mod drain;
mod exec;
mod full_disk;
mod gated;
mod git;
mod graph;
mod handover;
mod hooks;
mod interrupted;
mod labels;
mod large;
mod limits;
mod lost_clusters;
mod outputs;
mod postgres;
mod recovery;
mod residency;
mod retention;
mod rotation;
mod secrets;
mod standby;
mod superset;
mod triggers;
mod world;
