//! How clusters are.

use std::path::Path;

use xshell::Shell;

use super::component::Component;
use super::place::Cluster;
use super::{control_plane, firewall, node};
use crate::tools;

/// Prints one line for each cluster.
pub(super) fn list(shell: &Shell, state: &Path) -> anyhow::Result<()> {
    let clusters = Cluster::all(state)?;
    if clusters.is_empty() {
        eprintln!(
            "no clusters in {}; `cargo xtask cluster up` starts two",
            state.display()
        );
        return Ok(());
    }
    let kubectl = tools::kubectl(shell)?;
    println!(
        "{:<10}  {:<11}  {:<9}  {:<8}  KUBECONFIG",
        "NAME", "ADDRESS", "STATE", "NODE"
    );
    for cluster in &clusters {
        let components = Component::all(cluster)?;
        let (alive, dead): (Vec<_>, Vec<_>) = components.into_iter().partition(Component::is_alive);
        let (state, node) = if alive.is_empty() {
            ("stopped", "-")
        } else if !control_plane::is_ready(shell, cluster, &kubectl) {
            ("broken", "unknown")
        } else {
            let node = if node::is_ready(shell, cluster, &kubectl) {
                "ready"
            } else {
                "notready"
            };
            (if dead.is_empty() { "running" } else { "broken" }, node)
        };
        println!(
            "{:<10}  {:<11}  {state:<9}  {node:<8}  {}",
            cluster.name,
            cluster.address(),
            cluster.kubeconfig().display()
        );
        if !dead.is_empty() && !alive.is_empty() {
            let names: Vec<_> = dead.iter().map(|component| component.name.as_str()).collect();
            println!("{:<10}  does not run: {}", "", names.join(", "));
        }
        let cut_from = firewall::cut_from(shell, cluster, &clusters)?;
        if !cut_from.is_empty() {
            println!("{:<10}  cut from: {}", "", cut_from.join(", "));
        }
    }
    Ok(())
}
