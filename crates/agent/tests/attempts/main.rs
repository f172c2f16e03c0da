//! Attempts with real processes, a real store and no master: what the link would say comes from the test.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, unreachable_pub)]

mod caches;
mod clones;
mod cluster;
mod contract;
mod crash;
mod ending;
mod exclusive;
mod inputs;
mod secrets;
mod speed;
mod volumes;
