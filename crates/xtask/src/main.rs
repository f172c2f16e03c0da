//! Every developer command: `cargo xtask --help`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program talks to a person at a terminal"
)]

mod bench;
mod chaos;
mod checks;
mod cluster;
mod demo;
mod e2e;
mod image;
mod program;
mod sim;
mod tools;
mod versions;

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
    /// Searches for faults: simulates masters and agents over many seeds, or plants mistakes that have to be found.
    Sim(sim::Options),
    /// Builds the version before this one, and runs both beside each other while they are replaced by one another.
    Versions(versions::Options),
    /// Breaks real masters, agents, networks, databases and stores under load, and judges what became of the work.
    Chaos(chaos::Options),
    /// Installs the charts on two real clusters, and runs jobs and faults on them.
    E2e(e2e::Options),
    /// Measures Tombolo beside what people would use without it; nothing fails for being slow.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Everything that must pass before a change lands.
    Ci,
    /// Runs real Kubernetes clusters on this machine, side by side.
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Makes the image of Tombolo; wants neither Docker nor a registry.
    Image(image::Options),
    /// Prints where a tool is, installed if need be: `$(cargo xtask tool kubectl) get pods`.
    Tool { name: tools::Name },
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
        Command::Sim(options) => sim::run(&shell, &options),
        Command::Versions(options) => versions::run(&shell, &options),
        Command::Chaos(options) => chaos::run(&shell, &options),
        Command::E2e(options) => e2e::run(&shell, &options),
        Command::Bench(bench) => bench::run(&shell, &bench),
        Command::Ci => checks::ci(&shell),
        Command::Cluster(command) => cluster::run(&shell, command),
        Command::Tool { name } => {
            println!("{}", tools::find(&shell, name)?.display());
            Ok(())
        }
        Command::Image(options) => image::run(&shell, &options),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Arguments;

    #[test]
    fn commands_are_read_as_documented() {
        Arguments::command().debug_assert();
        for (line, good) in [
            ("cluster up", true),
            ("cluster up north --node-label disk=ssd --state /tmp/n", true),
            ("cluster up NORTH", false),
            ("cluster down", true),
            ("cluster list", true),
            ("cluster kubeconfig east", true),
            ("cluster kubeconfig", false),
            ("cluster cut east west --except-port 30443 --except-port 1", true),
            ("cluster cut east west --except-port 70000", false),
            ("cluster cut east", false),
            ("cluster heal", true),
            ("cluster heal east west", true),
            ("cluster heal east", false),
            ("cluster stop west kubelet", true),
            ("cluster pause west apiserver --state /tmp/n", true),
            ("cluster resume west apiserver", true),
            ("cluster kill west", false),
            ("cluster load west image.tar", true),
            ("cluster load west", false),
            ("cluster run west -- curl -s http://10.200.0.2:30080", true),
            ("image --load --tag tombolo.test/tombolo:1 --output /tmp/t.tar", true),
            ("e2e", true),
            ("e2e --keep --no-image crossing", true),
            ("e2e one two", false),
            ("bench kubernetes --keep", true),
            ("bench transfer", true),
            ("bench transfer --keep", false),
            ("bench placement", true),
            ("bench", false),
            ("sim", true),
            ("sim --seeds 100", true),
            ("sim --seed 7", true),
            ("sim --seed 7 --seeds 100", false),
            ("sim --planted", true),
            ("sim --planted --seed 7", false),
            ("versions", true),
            ("versions --previous v0.1.0", true),
            ("sim --turmoil", true),
            ("sim --turmoil 20", true),
            ("sim --turmoil --seed 7", true),
            ("sim --turmoil --seeds 7", false),
            ("sim --turmoil --planted", false),
            ("chaos", true),
            (
                "chaos --minutes 5 --events 40 --seed 7 --report /tmp/verdict.html",
                true,
            ),
            ("chaos --history target/chaos/history.jsonl", true),
            ("chaos --history history.jsonl --seed 7", false),
            ("chaos --events 0", false),
            ("chaos --kubernetes --keep --no-image --events 60", true),
            ("chaos --no-image", false),
            ("chaos --kubernetes --history history.jsonl", false),
            ("chaos --planted SelectorForgotten --events 20", true),
            ("tool kubectl", true),
            ("tool docker", false),
        ] {
            let words = std::iter::once("xtask").chain(line.split(' '));
            assert_eq!(Arguments::try_parse_from(words).is_ok(), good, "{line}");
        }
    }
}
