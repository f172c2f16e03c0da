//! `cargo xtask bench failover`: how long nobody leads, how long the jobs of a lost cluster stand still, and what is lost while no master
//! is there at all. Masters, databases and agents are the real programs. `TOMBOLO_BENCH_CASES` names the cases to measure, with commas.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "this program prints a table, and ends where it cannot measure"
)]

#[path = "../dispatch/agents.rs"]
mod agents;
#[path = "../it/standby/cable.rs"]
mod cable;
mod crash;
mod idle;
#[path = "../it/standby/installation.rs"]
mod installation;
mod lost;
#[path = "../dispatch/master.rs"]
mod master;
#[path = "../bench/measure.rs"]
mod measure;
mod outage;
#[path = "../bench/report.rs"]
mod report;
#[path = "../../crates/store/src/postgres/tests/server.rs"]
mod server;
mod standby;
#[path = "../dispatch/tally.rs"]
mod tally;
mod times;
mod user;

use anyhow::{Context, bail};
use server as postgres;
use tokio::runtime::Runtime;

use crate::report::Report;

type Case = fn(&Runtime, &mut Report) -> anyhow::Result<()>;

const CASES: [(&str, Case); 5] = [
    ("standby", standby::run),
    ("crash", crash::run),
    ("lost", lost::run),
    ("outage", outage::run),
    ("idle", idle::run),
];

/// How often something is repeated.
fn rounds() -> anyhow::Result<usize> {
    let rounds = std::env::var("TOMBOLO_BENCH_ROUNDS").map_or(Ok(20), |rounds| rounds.parse())?;
    Ok(rounds)
}

fn main() -> anyhow::Result<()> {
    // As `rustls` wants it: one provider for the process, chosen before anything else.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let wanted = std::env::var("TOMBOLO_BENCH_CASES").ok();
    let wanted: Option<Vec<&str>> = wanted.as_ref().map(|names| names.split(',').collect());
    if let Some(unknown) = wanted
        .iter()
        .flatten()
        .find(|name| !CASES.iter().any(|(known, _)| known == *name))
    {
        bail!("there is no case `{unknown}`");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start")?;
    let mut report = Report {
        bench: "failover",
        ..Report::default()
    };
    for (name, case) in CASES {
        if wanted.as_ref().is_none_or(|names| names.contains(&name)) {
            case(&runtime, &mut report).with_context(|| format!("case `{name}`"))?;
        }
    }
    report.print();
    Ok(())
}
