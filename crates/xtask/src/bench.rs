//! Tombolo beside what people would use without it.

use clap::Subcommand;
use xshell::{Shell, cmd};

use crate::{e2e, plain, tools};

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Jobs on a real cluster, beside bare Kubernetes.
    Kubernetes(e2e::Options),
    /// Outputs from store to store, beside rclone and the stores' own limits.
    Transfer,
    /// Jobs through a master, its database and agents that run nothing, beside another queue.
    Dispatch,
    /// A master that goes, and another one that takes over, with many live jobs.
    Failover,
    /// The placement of jobs in the pure core: many jobs on many clusters.
    Placement,
}

pub(crate) fn run(shell: &Shell, bench: &Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Kubernetes(options) => e2e::bench(shell, options),
        Bench::Transfer => transfer(shell),
        Bench::Dispatch => dispatch(shell),
        Bench::Failover => failover(shell),
        Bench::Placement => placement(shell),
    }
}

/// The program as it is released moves them; what measures is compiled as well as it.
fn transfer(shell: &Shell) -> anyhow::Result<()> {
    let (weed, azurite, rclone) = (tools::weed(shell)?, tools::azurite(shell)?, tools::rclone(shell)?);
    plain(cmd!(shell, "cargo test --release --workspace --test transfer-bench"))
        .env("TOMBOLO_WEED", weed)
        .env("TOMBOLO_AZURITE", azurite)
        .env("TOMBOLO_RCLONE", rclone)
        .run()?;
    Ok(())
}

fn dispatch(shell: &Shell) -> anyhow::Result<()> {
    let (postgres, graphile) = (tools::postgres(shell)?, tools::graphile_worker(shell)?);
    plain(cmd!(shell, "cargo test --release --workspace --test dispatch-bench"))
        .env("TOMBOLO_POSTGRES", postgres)
        .env("TOMBOLO_GRAPHILE_WORKER", graphile)
        .run()?;
    Ok(())
}

fn failover(shell: &Shell) -> anyhow::Result<()> {
    let postgres = tools::postgres(shell)?;
    plain(cmd!(shell, "cargo test --release --workspace --test failover-bench"))
        .env("TOMBOLO_POSTGRES", postgres)
        .run()?;
    Ok(())
}

fn placement(shell: &Shell) -> anyhow::Result<()> {
    plain(cmd!(shell, "cargo bench --package tombolo-core --bench placement")).run()?;
    Ok(())
}
