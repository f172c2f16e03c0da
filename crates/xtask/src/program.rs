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
    // A program without libraries moves its own addresses at its start, and reads the whole list of them for that. Packed, the list
    // is a hundredth as long: 2.6 MB less in the memory of each agent.
    let packed = packs_addresses(shell).then_some(["-C", "link-arg=-Wl,-z,pack-relative-relocs"]);
    plain(command.args(packed.into_iter().flatten())).run()?;
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

/// Whether the C library can read the packed form: glibc can since 2.36.
fn packs_addresses(shell: &Shell) -> bool {
    let version = cmd!(shell, "getconf GNU_LIBC_VERSION").quiet().ignore_stderr().read();
    version.is_ok_and(|version| reads_packed_addresses(&version))
}

fn reads_packed_addresses(version: &str) -> bool {
    let number = version
        .trim()
        .strip_prefix("glibc ")
        .and_then(|number| number.split_once('.'));
    number.is_some_and(|(major, minor)| match (major.parse::<u32>(), minor.parse::<u32>()) {
        (Ok(major), Ok(minor)) => (major, minor) >= (2, 36),
        _ => false,
    })
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

#[cfg(test)]
mod tests {
    use super::reads_packed_addresses;

    #[test]
    fn addresses_are_packed_where_the_c_library_reads_that() {
        for (version, expected) in [
            ("glibc 2.36", true),
            ("glibc 2.41\n", true),
            ("glibc 3.0", true),
            ("glibc 2.35", false),
            ("musl 1.2", false),
            ("", false),
        ] {
            assert_eq!(reads_packed_addresses(version), expected, "{version:?}");
        }
    }
}
