//! libfaketime, which gives a program a calendar of its own: from the machine's own distribution, without installing it.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use xshell::{Shell, cmd};

use super::cache::{self, once};

/// The library for programs with threads, wherever in its package the machine's architecture puts it.
const LIBRARY: &str = "libfaketimeMT.so.1";

/// The library to preload.
pub(crate) fn faketime(shell: &Shell) -> anyhow::Result<PathBuf> {
    let folder = cache::tool("libfaketime", "distribution")?;
    once(&folder, LIBRARY, |folder| {
        eprintln!("fetching libfaketime with apt-get");
        let unpacked = folder.join("package");
        fs::create_dir(&unpacked)?;
        let within = shell.push_dir(&unpacked);
        cmd!(shell, "apt-get download --quiet libfaketime")
            .quiet()
            .ignore_stdout()
            .ignore_stderr()
            .run()?;
        let packages = fs::read_dir(&unpacked)?
            .filter_map(Result::ok)
            .map(|entry| entry.path());
        let package = packages
            .into_iter()
            .find(|path| path.extension().is_some_and(|end| end == "deb"));
        let package = package.context("apt-get has fetched no package")?;
        cmd!(shell, "dpkg -x {package} .").quiet().run()?;
        drop(within);
        let found = cmd!(shell, "find {unpacked} -name {LIBRARY}").quiet().read()?;
        let library = found
            .lines()
            .next()
            .with_context(|| format!("the package has no {LIBRARY}"))?;
        fs::copy(library, folder.join(LIBRARY))?;
        Ok(fs::remove_dir_all(&unpacked)?)
    })
}
