//! The pod of an attempt without Kubernetes: supervisor and courier as real processes, with an agent that stands in for the real one,
//! over real TLS.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // helpers of tests are tests too

mod agent;
mod away;
mod direct;
mod ending;
mod entering;
mod hostile;
mod life;
mod link;
mod memory;
#[path = "../../../transfer/src/store/tests/seaweed/process.rs"]
mod seaweed;
mod setting;
