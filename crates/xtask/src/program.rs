//! The program as it is released.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
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
    built(shell, RELEASE)
}

/// The program linked so that it runs without any library.
pub(crate) fn without_libraries(shell: &Shell, profile: &str) -> anyhow::Result<PathBuf> {
    // The C library is chosen when the program is linked, so that everything below is the same as in a usual build.
    let command = cmd!(
        shell,
        "cargo rustc --profile {profile} --package tombolo-cli --bin tombolo -- -C target-feature=+crt-static -C strip=symbols"
    );
    plain(command).run()?;
    let program = built(shell, profile)?;
    ensure_static(&program)?;
    Ok(program)
}

fn built(shell: &Shell, profile: &str) -> anyhow::Result<PathBuf> {
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(demo::target_folder(shell)?.join(folder).join("tombolo"))
}

fn can_link_statically(shell: &Shell) -> bool {
    // A compiler that does not find the file repeats its name.
    let found = cmd!(shell, "cc -print-file-name=libc.a").quiet().ignore_stderr().read();
    cfg!(all(target_os = "linux", target_env = "gnu")) && found.is_ok_and(|path| Path::new(&path).is_absolute())
}

/// The image has no library that a program could load.
fn ensure_static(program: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let loader: &[u8] = b"/ld-linux";
    ensure!(
        !bytes.windows(loader.len()).any(|window| window == loader),
        "{} asks for shared libraries\nhint: the C library's static form comes with Debian's `libc6-dev`",
        program.display()
    );
    Ok(())
}
