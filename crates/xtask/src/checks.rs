//! Tests, lints and what runs before a change lands.

use std::time::Instant;

use xshell::{Shell, cmd};

use crate::{demo, e2e, plain, sim, tools};

/// Runs all tests of the workspace.
pub(crate) fn test(shell: &Shell) -> anyhow::Result<()> {
    plain(cmd!(shell, "cargo test --workspace --no-fail-fast"))
        .env("TOMBOLO_WEED", tools::weed(shell)?)
        .env("TOMBOLO_AZURITE", tools::azurite(shell)?)
        .env("TOMBOLO_GCS_EMULATOR", tools::gcs_emulator(shell)?)
        .env("TOMBOLO_POSTGRES", tools::postgres(shell)?)
        .run()?;
    Ok(())
}

/// Formatting, lints, licences and sources.
pub(crate) fn lint(shell: &Shell) -> anyhow::Result<()> {
    plain(cmd!(shell, "cargo fmt --all --check")).run()?;
    cmd!(
        shell,
        "cargo clippy --workspace --all-targets --quiet -- --deny warnings"
    )
    .run()?;
    // Those that `--all-targets` leaves out, since no test run is to begin them.
    let on_demand = [
        "transfer-bench",
        "dispatch-bench",
        "failover-bench",
        "versions",
        "chaos",
        "e2e",
        "kubernetes-bench",
        "kubernetes",
    ];
    let on_demand = on_demand.iter().flat_map(|name| ["--test", *name]);
    cmd!(
        shell,
        "cargo clippy --workspace {on_demand...} --quiet -- --deny warnings"
    )
    .run()?;
    let deny = tools::cargo_deny(shell)?;
    // Advisories need a database from the network; a hosted pipeline checks them.
    cmd!(shell, "{deny} --log-level warn check bans licenses sources").run()?;
    Ok(())
}

/// Everything, in the order in which faults are cheapest to find. Ends at the first that fails.
pub(crate) fn ci(shell: &Shell) -> anyhow::Result<()> {
    let demo_options = demo::Options::default();
    let e2e_options = e2e::Options::default();
    let steps: [(&str, &dyn Fn() -> anyhow::Result<()>); 5] = [
        ("test", &|| test(shell)),
        ("lint", &|| lint(shell)),
        ("sim", &|| sim::before_landing(shell)),
        ("demo", &|| demo::run(shell, &demo_options)),
        ("e2e", &|| e2e::run(shell, &e2e_options)),
    ];
    for (name, step) in steps {
        println!("\n=== cargo xtask {name}");
        let started = Instant::now();
        step().map_err(|error| error.context(format!("to see it again: cargo xtask {name}")))?;
        println!(
            "=== cargo xtask {name}: passed in {:.0} s",
            started.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
