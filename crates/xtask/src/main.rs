//! Every developer command: `cargo xtask --help`.
#![allow(clippy::print_stdout, reason = "this program talks to a person at a terminal")]

mod checks;
mod demo;
mod tools;

use std::env;
use std::path::Path;

use anyhow::Context;
use clap::{Parser, Subcommand};
use xshell::{Cmd, Shell};

/// Developer commands of Tombolo.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds Tombolo and runs one build across two clusters on this machine.
    Demo(demo::Options),
    /// Runs all tests; installs what they need first.
    Test,
    /// Checks formatting, lints, and the licences and sources of the dependencies.
    Lint,
    /// Runs the simulation of master and agents over many seeds.
    Sim(checks::SimOptions),
    /// Everything that must pass before a change lands.
    Ci,
}

/// A command without the variables that `cargo xtask` itself brings: build scripts would take them for a change, and
/// compile again what a plain `cargo build` has compiled.
fn plain(command: Cmd<'_>) -> Cmd<'_> {
    env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        })
        .fold(command, |command, name| command.env_remove(name))
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let shell = Shell::new()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .context("the repository is gone")?;
    shell.change_dir(root);
    match arguments.command {
        Command::Demo(options) => demo::run(&shell, &options),
        Command::Test => checks::test(&shell),
        Command::Lint => checks::lint(&shell),
        Command::Sim(options) => checks::sim(&shell, &options),
        Command::Ci => checks::ci(&shell),
    }
}
