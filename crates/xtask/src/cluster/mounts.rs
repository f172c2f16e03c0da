//! A cluster's mount namespace. Programs of Kubernetes have places that no option moves, and two clusters would clear up
//! each other's: each cluster has such places for itself. All of it goes with the last process in the namespace.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::component::{self, Component};
use super::place::Cluster;
use super::registry;

/// The component that does nothing but keep the namespace.
pub(super) const HOLDER: &str = "mounts";

/// Where the controller manager makes volumes on host paths.
pub(super) const VOLUMES: &str = "/tmp/hostpath_pv";

/// Folders of the machine that each cluster sees as its own, and what they are called in the cluster's folder.
pub(super) const PRIVATE: [(&str, &str); 7] = [
    ("/var/log/pods", "pod-logs"),
    ("/var/log/containers", "container-logs"),
    ("/var/lib/cni", "cni-state"),
    ("/var/lib/kubelet", "kubelet-state"),
    ("/run/netns", "pod-networks"),
    ("/run/containerd", "shims"),
    (VOLUMES, "volumes"),
];

pub(super) fn enter(cluster: &Cluster) -> anyhow::Result<()> {
    let mut script = "set -e\n".to_owned();
    for (place, name) in PRIVATE {
        let own = cluster.path("private").join(name);
        for folder in [Path::new(place), &own] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        script.push_str(&format!("mount --bind '{}' {place}\n", own.display()));
    }
    let hosts = cluster.path("etc-hosts");
    let text = format!("127.0.0.1 localhost\n{} {}\n", cluster.address(), registry::HOST);
    fs::write(&hosts, text).with_context(|| format!("cannot write {}", hosts.display()))?;
    script.push_str(&format!("mount --bind '{}' /etc/hosts\n", hosts.display()));
    // Nothing of etcd needs to outlast the machine, and a disk that others keep busy makes it miss its deadlines.
    script.push_str(&format!("mount -t tmpfs tombolo-etcd '{}'\n", cluster.text("etcd")));
    let ready = cluster.path("private/ready");
    script.push_str(&format!("touch '{}'\nexec sleep infinity\n", ready.display()));

    let command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script];
    Component::launch(cluster, HOLDER, command.map(str::to_owned).to_vec())?;
    component::wait(cluster, HOLDER, Duration::from_secs(10), || ready.exists())
}
