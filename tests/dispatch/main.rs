//! `cargo xtask bench dispatch`: how many jobs a second a master takes, assigns, sees run and end, each step on its disk before
//! anybody is told. The master is the real program with its real database; its agents speak the real session over mutual TLS and
//! have an executor that does nothing. Beside it, in the same run, on the same Postgres server: graphile-worker, a queue that people use.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "this program prints a table, and ends where it cannot measure"
)]

mod agents;
mod cases;
mod graphile;
mod load;
mod master;
#[path = "../bench/measure.rs"]
mod measure;
#[path = "../../crates/store/src/postgres/tests/server.rs"]
mod postgres;
#[path = "../bench/report.rs"]
mod report;
mod single;
mod tally;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    // As `rustls` wants it: one provider for the process, chosen before anything else.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start")?;
    let report = runtime.block_on(cases::run())?;
    report.print();
    Ok(())
}
