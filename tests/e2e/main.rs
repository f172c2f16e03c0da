//! Helm charts and jobs on two real Kubernetes clusters; `cargo xtask e2e` brings up what this needs and names it:
//!
//! | variable | |
//! |---|---|
//! | `TOMBOLO_E2E_EAST_KUBECONFIG`, `TOMBOLO_E2E_WEST_KUBECONFIG` | the administrators of two clusters that have the image |
//! | `TOMBOLO_E2E_S3` | `http://host:port` of an S3 server that `west` reaches, with the bucket `tombolo-west` |
//! | `TOMBOLO_E2E_TOOLS` | a folder with `helm` and `kubectl` |
//! | `TOMBOLO_PROGRAM` | `tombolo`, for the user's commands |
//! | `TOMBOLO_E2E_XTASK` | `xtask`, for the tests in `machine`, which break what only clusters of this machine let one break |
//!
//! All tests share one installation, which the first of them makes. Those that break a cluster have it for themselves.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on says why, and what it waits for takes minutes"
)]

mod caches;
mod cluster;
mod crossing;
mod faults;
mod install;
mod jobs;
mod machine;
mod restart;
mod rights;
mod user;
mod volumes;
mod world;
