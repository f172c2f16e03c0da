//! This version beside an earlier one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use xshell::{Shell, cmd};

use crate::{demo, plain};

/// The version before this one: what users have while they upgrade. To be moved on with each version.
const PREVIOUS: &str = "f971ca4fc627cd9269e31663d0d103cfbd77d526";

#[derive(Args)]
pub(crate) struct Options {
    /// The earlier version: a tag or commit of this repository.
    #[arg(long, default_value = PREVIOUS)]
    previous: String,
    /// Runs only the tests whose name has this in it.
    filter: Option<String>,
}

pub(crate) fn run(shell: &Shell, options: &Options) -> anyhow::Result<()> {
    let previous = previous(shell, &options.previous)?;
    let filter = options.filter.iter();
    plain(cmd!(shell, "cargo test --workspace --test versions -- {filter...}"))
        .env("TOMBOLO_PREVIOUS", previous)
        .run()?;
    Ok(())
}

/// The program of an earlier version, made of its own sources.
fn previous(shell: &Shell, version: &str) -> anyhow::Result<PathBuf> {
    let wanted = format!("{version}^{{commit}}");
    let commit = cmd!(shell, "git rev-parse --verify --quiet {wanted}").read();
    let commit = commit.with_context(|| {
        format!("this repository has no version `{version}`\nhint: a shallow clone has no earlier ones; `git fetch --unshallow` gets them")
    })?;
    let target = demo::target_folder(shell)?;
    let folder = target.join("previous");
    let sources = folder.join(&commit);
    if !sources.exists() {
        let whole = folder.join(format!("{commit}.part"));
        shell.remove_path(&whole)?;
        shell.create_dir(&whole)?;
        let archive = folder.join("sources.tar");
        cmd!(shell, "git archive --format tar --output {archive} {commit}").run()?;
        cmd!(shell, "tar --extract --file {archive} --directory {whole}").run()?;
        shell.remove_path(&archive)?;
        // Whoever finds the folder finds all of it.
        fs::rename(&whole, &sources).context("cannot rename what was unpacked")?;
    }
    build(shell, &sources, &folder)
}

fn build(shell: &Shell, sources: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let target = folder.join("target");
    let _there = shell.push_dir(sources);
    plain(cmd!(shell, "cargo build --locked --package tombolo-cli --bin tombolo"))
        .env("CARGO_TARGET_DIR", &target)
        .run()?;
    let program = target.join("debug/tombolo");
    ensure!(program.exists(), "{} was not built", program.display());
    Ok(program)
}
