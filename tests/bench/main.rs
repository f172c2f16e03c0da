//! `cargo xtask bench transfer`: an output from store to store, beside what people would use without Tombolo and beside what the
//! stores themselves take. The real program moves it: a master and six agents as processes, mutual TLS between them, SeaweedFS and
//! Azurite as buckets. Nothing fails for being slow: each number stands beside its target.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "this program prints a table, and ends where it cannot measure"
)]

mod bare;
mod cases;
mod link;
mod measure;
mod payload;
#[path = "../../crates/transfer/src/store/tests/seaweed/process.rs"]
#[allow(clippy::unwrap_used, reason = "tests include it as well")]
mod process;
mod rclone;
mod report;
mod servers;
mod world;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    // As `rustls` wants it: one provider for the process, chosen before anything else.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start")?;
    let _inside = runtime.enter();
    let report = cases::run(&runtime)?;
    report.print();
    Ok(())
}
