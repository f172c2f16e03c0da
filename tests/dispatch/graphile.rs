//! graphile-worker: a job queue in Postgres, with an executor that does nothing either.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::postgres::{PASSWORD, Server};

/// Where `cargo xtask bench dispatch` has installed it.
const VARIABLE: &str = "TOMBOLO_GRAPHILE_WORKER";
/// Adds jobs by a hundred, as our builds have them, from as many submitters as ours, and works on them meanwhile.
const SCRIPT: &str = include_str!("graphile.mjs");

/// How many jobs a second it adds, runs and removes.
pub(crate) fn run(server: &Server, folder: &Path, seconds: u64) -> anyhow::Result<f64> {
    let installed = std::env::var_os(VARIABLE);
    let installed =
        installed.with_context(|| format!("{VARIABLE} is not set: run this by `cargo xtask bench dispatch`"))?;
    server.sql("postgres", "CREATE DATABASE graphile");
    let script = Path::new(&installed).join("bench.mjs");
    std::fs::write(&script, SCRIPT)?;
    let url = format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/graphile", server.port());
    let output = Command::new("node")
        .arg(script)
        .current_dir(folder)
        .env("DATABASE_URL", url)
        .env("NO_LOG_SUCCESS", "1")
        .args([
            super::load::SUBMITTERS.to_string(),
            super::load::JOBS.to_string(),
            seconds.to_string(),
        ])
        .output()
        .context("cannot run node")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "graphile-worker: {error}");
    let text = String::from_utf8(output.stdout)?;
    let line = text
        .lines()
        .rev()
        .find(|line| line.starts_with('{'))
        .context("its result")?;
    let result: Value = serde_json::from_str(line)?;
    result["jobs_per_second"].as_f64().context("`jobs_per_second`")
}
