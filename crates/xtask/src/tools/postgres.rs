//! Postgres, from the machine's own distribution: the server, whose programs are of little use without the libraries beside them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use xshell::{Shell, cmd};

/// Where Debian and what comes of it have the programs of each version.
const INSTALLED: &str = "/usr/lib/postgresql";
/// The oldest version that the store works with.
const OLDEST: u32 = 14;

/// The folder with `postgres`, `initdb` and `psql`. Installs them with `apt-get` if they are not there, without a server that runs
/// by itself.
pub(crate) fn postgres(shell: &Shell) -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os("TOMBOLO_POSTGRES") {
        return Ok(given.into());
    }
    if let Some(found) = newest() {
        return Ok(found);
    }
    eprintln!("installing Postgres with apt-get");
    // Keeps the package from making a cluster of its own, and from starting it.
    let hint =
        "install a Postgres server (version 14 or newer), and set TOMBOLO_POSTGRES to the folder of its programs";
    let policy = "/etc/postgresql-common/createcluster.conf";
    let install = || -> anyhow::Result<()> {
        cmd!(shell, "apt-get install --yes --quiet postgresql-common")
            .quiet()
            .run()?;
        let text = fs::read_to_string(policy).unwrap_or_default();
        fs::write(policy, format!("{text}\ncreate_main_cluster = false\n"))?;
        Ok(cmd!(shell, "apt-get install --yes --quiet postgresql").quiet().run()?)
    };
    install().context(hint)?;
    match newest() {
        Some(found) => Ok(found),
        None => bail!("the distribution has no Postgres of version {OLDEST} or newer; {hint}"),
    }
}

fn newest() -> Option<PathBuf> {
    let folders = fs::read_dir(INSTALLED).into_iter().flatten().filter_map(Result::ok);
    let versions = folders.filter_map(|folder| {
        let version: u32 = folder.file_name().to_str()?.parse().ok()?;
        let programs = folder.path().join("bin");
        (version >= OLDEST && programs.join("initdb").exists()).then_some((version, programs))
    });
    versions.max().map(|(_, programs)| programs)
}
