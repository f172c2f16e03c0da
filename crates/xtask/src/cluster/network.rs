//! A cluster's network: a namespace with a cable to the machine, over which all clusters reach each other.

use std::fs;
use std::path::Path;

use anyhow::Context;
use xshell::{Shell, cmd};

use super::firewall;
use super::place::{Cluster, Name, interface};

pub(super) fn create(shell: &Shell, cluster: &Cluster) -> anyhow::Result<()> {
    let namespace = cluster.namespace();
    let namespace_file = cluster.namespace_file();
    let cable = cluster.interface();
    let (address, gateway) = (cluster.address(), cluster.gateway());
    let quiet = |command: xshell::Cmd<'_>| command.quiet().run();
    quiet(cmd!(shell, "ip netns add {namespace}"))?;
    quiet(cmd!(
        shell,
        "ip link add {cable} type veth peer name eth0 netns {namespace}"
    ))?;
    quiet(cmd!(shell, "ip addr add {gateway}/24 dev {cable}"))?;
    quiet(cmd!(shell, "ip link set {cable} up"))?;
    for step in [
        format!("addr add {address}/24 dev eth0"),
        "link set eth0 up".to_owned(),
        "link set lo up".to_owned(),
        format!("route add default via {gateway}"),
    ] {
        let words = step.split(' ');
        quiet(cmd!(shell, "ip -netns {namespace} {words...}"))?;
    }
    let forward = Path::new("/proc/sys/net/ipv4/ip_forward");
    fs::write(forward, "1").with_context(|| format!("cannot write {}", forward.display()))?;
    quiet(cmd!(
        shell,
        "nsenter --net={namespace_file} sysctl -qw net.ipv4.ip_forward=1"
    ))?;
    // Pods on one bridge reach each other's Services only so. Where it is built into the kernel there is nothing to load.
    drop(cmd!(shell, "modprobe br_netfilter").quiet().ignore_stderr().run());
    firewall::admit(shell, cluster)
}

/// Removes what is there of a cluster's network, also when its folder is lost.
pub(super) fn remove(shell: &Shell, name: &Name) -> anyhow::Result<()> {
    firewall::forget(shell, name)?;
    let cable = interface(name);
    if Path::new("/sys/class/net").join(&cable).exists() {
        cmd!(shell, "ip link del {cable}").quiet().run()?;
    }
    let namespace = format!("tombolo-{name}");
    if Path::new("/run/netns").join(&namespace).exists() {
        cmd!(shell, "ip netns del {namespace}").quiet().run()?;
    }
    Ok(())
}

/// Whether the machine itself has this address.
pub(super) fn has_address(shell: &Shell, address: &str) -> anyhow::Result<bool> {
    let addresses = cmd!(shell, "ip -oneline -4 addr").quiet().read()?;
    Ok(addresses.contains(&format!(" {address}/")))
}
