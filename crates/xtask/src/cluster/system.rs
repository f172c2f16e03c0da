//! What a machine needs before clusters can run on it.

use std::fs;

use anyhow::{Context, bail};
use xshell::{Shell, cmd};

use crate::tools;

/// Variables that name the kubeconfigs of two clusters made by other means.
const INSTEAD: &str = "hint: the same tests run on any two clusters: name their kubeconfigs in \
    TOMBOLO_E2E_EAST_KUBECONFIG and TOMBOLO_E2E_WEST_KUBECONFIG (docs/guide/test-clusters.md)";

/// Debian packages, and a file of each that tells whether it is there.
const PACKAGES: [(&str, &str); 12] = [
    ("busybox-static", "/bin/busybox"),
    ("conntrack", "/usr/sbin/conntrack"),
    ("containerd", "/usr/bin/containerd"),
    ("containernetworking-plugins", "/usr/lib/cni/bridge"),
    ("dnsmasq-base", "/usr/sbin/dnsmasq"),
    ("docker-registry", "/usr/bin/docker-registry"),
    ("etcd-server", "/usr/bin/etcd"),
    ("iproute2", "/usr/sbin/ip"),
    ("iptables", "/usr/sbin/iptables"),
    ("procps", "/usr/sbin/sysctl"),
    ("runc", "/usr/sbin/runc"),
    ("socat", "/usr/bin/socat"),
];
/// What the build of Kubernetes needs besides.
const BUILD_PACKAGES: [(&str, &str); 3] = [
    ("dpkg-dev", "/usr/bin/dpkg-source"),
    ("golang-github-modern-go-reflect2-dev", tools::REFLECTION),
    ("golang-go", "/usr/bin/go"),
];

/// Refuses machines on which clusters cannot run, with what can be done instead.
pub(super) fn require() -> anyhow::Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("clusters run on Linux only: they are made of its namespaces\n{INSTEAD}");
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !is_debian(&release) {
        bail!("clusters are made of Debian's packages, and /etc/os-release tells of none\n{INSTEAD}");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("clusters need namespaces, mounts and a firewall: only root may make them\n{INSTEAD}");
    }
    Ok(())
}

fn is_debian(release: &str) -> bool {
    release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .any(|ids| ids.trim_matches('"').split(' ').any(|id| id == "debian"))
}

/// Installs the packages that clusters are made of, if any is missing.
pub(super) fn install(shell: &Shell) -> anyhow::Result<()> {
    install_missing(shell, &PACKAGES)
}

/// Installs what the build of Kubernetes needs.
pub(super) fn install_for_build(shell: &Shell) -> anyhow::Result<()> {
    install_missing(shell, &BUILD_PACKAGES)
}

fn install_missing(shell: &Shell, packages: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<_> = packages
        .iter()
        .filter(|(_, file)| !shell.path_exists(file))
        .map(|&(package, _)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(", ");
    println!("installing {names}");
    cmd!(shell, "apt-get update -qq").quiet().run()?;
    cmd!(shell, "apt-get install -y -qq --no-install-recommends {missing...}")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .quiet()
        .ignore_stdout()
        .run()
        .with_context(|| format!("cannot install {names}\n{INSTEAD}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_debian;

    #[test]
    fn debian_and_what_is_made_of_it_are_told() {
        for (release, expected) in [
            ("NAME=x\nID=debian\n", true),
            ("ID=ubuntu\nID_LIKE=debian\n", true),
            ("ID=pop\nID_LIKE=\"ubuntu debian\"\n", true),
            ("ID=fedora\n", false),
            ("ID=\"rhel\"\nID_LIKE=\"fedora\"\n", false),
            ("", false),
        ] {
            assert_eq!(is_debian(release), expected, "{release:?}");
        }
    }
}
