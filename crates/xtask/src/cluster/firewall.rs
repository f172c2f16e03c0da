//! What passes between clusters: everything, unless they are cut apart. All rules are in chains of our own.

use anyhow::ensure;
use xshell::{Shell, cmd};

use super::place::{Cluster, Name, interface};

/// The chain that all traffic of clusters goes through.
const CHAIN: &str = "TOMBOLO";

/// How what is cut off ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// In silence, as at most firewalls and when a cable is out.
    Drop,
    /// With a clear no.
    Reject,
}

/// Lets a cluster's traffic through, whatever the machine's policy for forwarding is.
pub(super) fn admit(shell: &Shell, cluster: &Cluster) -> anyhow::Result<()> {
    if !rules(shell)?.iter().any(|rule| rule == &format!("-N {CHAIN}")) {
        iptables(shell, &format!("-N {CHAIN}"))?;
        iptables(shell, &format!("-I FORWARD 1 -j {CHAIN}"))?;
    }
    let cable = cluster.interface();
    iptables(shell, &format!("-A {CHAIN} -i {cable} -j ACCEPT"))?;
    iptables(shell, &format!("-A {CHAIN} -o {cable} -j ACCEPT"))
}

/// Cuts two clusters apart, both ways, established connections included; what was cut between them before is replaced.
/// Connections to an excepted port go on, whichever side it is on.
pub(super) fn cut(shell: &Shell, one: &Cluster, other: &Cluster, cut: Cut, except_ports: &[u16]) -> anyhow::Result<()> {
    ensure!(one.name != other.name, "a cluster cannot be cut from itself");
    heal(shell, one, other)?;
    let chain = chain(one, other);
    iptables(shell, &format!("-N {chain}"))?;
    for port in except_ports {
        iptables(shell, &format!("-A {chain} -p tcp --dport {port} -j ACCEPT"))?;
        iptables(shell, &format!("-A {chain} -p tcp --sport {port} -j ACCEPT"))?;
    }
    match cut {
        Cut::Drop => iptables(shell, &format!("-A {chain} -j DROP"))?,
        Cut::Reject => {
            iptables(shell, &format!("-A {chain} -p tcp -j REJECT --reject-with tcp-reset"))?;
            iptables(shell, &format!("-A {chain} -j REJECT"))?;
        }
    }
    for (from, to) in [(one, other), (other, one)] {
        let (from, to) = (from.interface(), to.interface());
        iptables(shell, &format!("-I {CHAIN} 1 -i {from} -o {to} -j {chain}"))?;
    }
    Ok(())
}

/// Joins two clusters again; nothing happens when they are not cut apart.
pub(super) fn heal(shell: &Shell, one: &Cluster, other: &Cluster) -> anyhow::Result<()> {
    let chain = chain(one, other);
    let rules = rules(shell)?;
    for rule in rules.iter().filter(|rule| jumps_to(rule, &chain)) {
        delete(shell, rule)?;
    }
    if rules.iter().any(|rule| rule == &format!("-N {chain}")) {
        iptables(shell, &format!("-F {chain}"))?;
        iptables(shell, &format!("-X {chain}"))?;
    }
    Ok(())
}

/// The names of the clusters that are cut from this one.
pub(super) fn cut_from(shell: &Shell, cluster: &Cluster, all: &[Cluster]) -> anyhow::Result<Vec<String>> {
    let rules = rules(shell)?;
    Ok(all
        .iter()
        .filter(|other| {
            rules
                .iter()
                .any(|rule| rule == &format!("-N {}", chain(cluster, other)))
        })
        .map(|other| other.name.to_string())
        .collect())
}

/// Removes every rule about a cluster, and our chain with the last of them.
pub(super) fn forget(shell: &Shell, name: &Name) -> anyhow::Result<()> {
    let cable = interface(name);
    let (mine, others): (Vec<_>, Vec<_>) = rules(shell)?
        .into_iter()
        .filter(|rule| rule.starts_with(&format!("-A {CHAIN} ")))
        .partition(|rule| rule.split(' ').any(|word| word == cable));
    for rule in &mine {
        delete(shell, rule)?;
        if let Some(chain) = rule
            .split(' ')
            .next_back()
            .filter(|target| target.starts_with("TOMBOLO-"))
        {
            // The second of the two rules that lead there finds it gone.
            for action in ["-F", "-X"] {
                drop(
                    cmd!(shell, "iptables -w {action} {chain}")
                        .quiet()
                        .ignore_stderr()
                        .run(),
                );
            }
        }
    }
    if others.is_empty() && rules(shell)?.iter().any(|rule| rule == &format!("-N {CHAIN}")) {
        iptables(shell, &format!("-D FORWARD -j {CHAIN}"))?;
        iptables(shell, &format!("-X {CHAIN}"))?;
    }
    Ok(())
}

fn chain(one: &Cluster, other: &Cluster) -> String {
    let (low, high) = (one.index.min(other.index), one.index.max(other.index));
    format!("TOMBOLO-CUT-{low}-{high}")
}

fn jumps_to(rule: &str, chain: &str) -> bool {
    rule.starts_with("-A ") && rule.ends_with(&format!(" -j {chain}"))
}

/// All rules of the machine's filter, as commands that would make them.
fn rules(shell: &Shell) -> anyhow::Result<Vec<String>> {
    // Without the package there can be no rules.
    if cmd!(shell, "sh -c 'command -v iptables'")
        .quiet()
        .ignore_stdout()
        .run()
        .is_err()
    {
        return Ok(Vec::new());
    }
    let text = cmd!(shell, "iptables -w -S").quiet().ignore_stderr().read()?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn delete(shell: &Shell, rule: &str) -> anyhow::Result<()> {
    iptables(shell, &rule.replacen("-A ", "-D ", 1))
}

fn iptables(shell: &Shell, rule: &str) -> anyhow::Result<()> {
    let words = rule.split(' ');
    cmd!(shell, "iptables -w {words...}").quiet().run()?;
    Ok(())
}
