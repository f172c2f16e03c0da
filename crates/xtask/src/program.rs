//! The program as it is released.

use std::path::{Path, PathBuf};

use anyhow::bail;
use xshell::{Shell, cmd};

use crate::{demo, plain};

/// The profile of what is released.
pub(crate) const RELEASE: &str = "release";

/// The program to run on this machine: the one of the image where that can be linked, so that one compilation serves both.
pub(crate) fn release(shell: &Shell) -> anyhow::Result<PathBuf> {
    if can_link_statically(shell) {
        return without_libraries(shell, RELEASE);
    }
    plain(cmd!(shell, "cargo build --release --package tombolo-cli --bin tombolo")).run()?;
    Ok(demo::target_folder(shell)?.join("release/tombolo"))
}

/// The program linked so that it runs without any library.
pub(crate) fn without_libraries(shell: &Shell, profile: &str) -> anyhow::Result<PathBuf> {
    if !can_link_statically(shell) {
        bail!("the C library cannot be linked statically here; hint: on Debian it is in `libc6-dev`, on Linux alone");
    }
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    // With a target named, the flags are for the program alone, not for what runs during the build.
    let command = cmd!(
        shell,
        "cargo build --profile {profile} --target {triple} --package tombolo-cli --bin tombolo"
    );
    plain(command)
        .env("RUSTFLAGS", "-C target-feature=+crt-static -C strip=debuginfo")
        .run()?;
    let folder = if profile == "dev" { "debug" } else { profile };
    let target = demo::target_folder(shell)?;
    Ok(target.join(triple).join(folder).join("tombolo"))
}

fn can_link_statically(shell: &Shell) -> bool {
    // A compiler that does not find the file repeats its name.
    let found = cmd!(shell, "cc -print-file-name=libc.a").quiet().ignore_stderr().read();
    cfg!(all(target_os = "linux", target_env = "gnu")) && found.is_ok_and(|path| Path::new(&path).is_absolute())
}
