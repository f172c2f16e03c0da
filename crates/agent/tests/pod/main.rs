//! The pod of an attempt without Kubernetes: supervisor and courier as real processes, with an agent that stands in for the real one,
//! over real TLS.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // helpers of tests are tests too

mod agent;
mod away;
#[allow(dead_code)] // its own crate's tests use more of it
#[path = "../../../transfer/src/store/tests/azurite.rs"]
mod azurite;
mod buckets;
mod caches;
mod clones;
mod damage;
mod direct;
mod ending;
mod entering;
#[allow(dead_code)] // its own crate's tests use more of it
#[path = "../../../transfer/src/store/tests/gcs.rs"]
mod gcs;
#[path = "../clone/server.rs"] // as its own tests have it
mod git;
mod hostile;
mod life;
mod link;
mod memory;
#[path = "../../../transfer/src/store/tests/seaweed/process.rs"]
mod process;
mod setting;

/// As the servers of another crate's tests know it.
mod seaweed {
    pub(crate) use crate::process;
}

/// As the servers of another crate's tests know it.
mod store {
    pub(crate) use tombolo_transfer::store::{StoreLocation, location};
}
