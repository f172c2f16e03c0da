//! The node: cgroups, kubelet and kube-proxy.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use xshell::{Shell, cmd};

use super::component::{self, Component};
use super::control_plane::{FEATURES, program};
use super::place::Cluster;

const CGROUPS: &str = "/sys/fs/cgroup";
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Starts the kubelet and kube-proxy; returns when the node is ready.
pub(super) fn start(
    shell: &Shell,
    cluster: &Cluster,
    programs: &Path,
    kubectl: &Path,
    labels: &[String],
) -> anyhow::Result<()> {
    for cgroup in cgroups(cluster) {
        fs::create_dir_all(&cgroup).with_context(|| format!("cannot make {}", cgroup.display()))?;
    }
    let (name, address) = (&cluster.name, cluster.address());
    let proxy = format!(
        "--kubeconfig=kubeconfig --hostname-override={name} --conntrack-max-per-core=0
         --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0"
    );
    Component::launch(cluster, "kube-proxy", program(programs, "kube-proxy", &proxy))?;

    let configuration = cluster.path("kubelet.yaml");
    fs::write(&configuration, kubelet_configuration(cluster))
        .with_context(|| format!("cannot write {}", configuration.display()))?;
    fs::write(cluster.path("resolv.conf"), format!("nameserver {address}\n")).context("cannot write resolv.conf")?;
    let zone = [
        format!("topology.kubernetes.io/region={name}"),
        format!("topology.kubernetes.io/zone={name}-a"),
    ];
    let labels = [&zone, labels].concat().join(",");
    let kubelet = format!(
        "--config=kubelet.yaml --kubeconfig=kubeconfig --root-dir={} --hostname-override={name} --node-ip={address}
         --container-runtime=remote --container-runtime-endpoint=unix://{} --node-labels={labels}
         --housekeeping-interval=5s",
        cluster.text("kubelet"),
        cluster.containerd_socket().display()
    );
    Component::launch(cluster, "kubelet", program(programs, "kubelet", &kubelet))?;
    wait_for_node(shell, cluster, kubectl)
}

/// Returns when the node is ready.
pub(super) fn wait_for_node(shell: &Shell, cluster: &Cluster, kubectl: &Path) -> anyhow::Result<()> {
    component::wait(cluster, "kubelet", READY_WITHIN, || is_ready(shell, cluster, kubectl))
}

/// Whether the node is ready, as the API server knows it.
pub(super) fn is_ready(shell: &Shell, cluster: &Cluster, kubectl: &Path) -> bool {
    let (config, name) = (cluster.kubeconfig(), cluster.name.to_string());
    let condition = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
    let answer = cmd!(
        shell,
        "{kubectl} --kubeconfig {config} --request-timeout 5s get node {name} --output {condition}"
    )
    .quiet()
    .ignore_stderr()
    .read();
    answer.is_ok_and(|answer| answer == "True")
}

/// Sizes of folders are told every 5 s, so that a pod that writes too much is evicted within 20 s. Disk is evicted for late: the machine is a
/// developer's, and others fill it.
fn kubelet_configuration(cluster: &Cluster) -> String {
    let features = FEATURES.replace('=', ": ").replace(',', ", ");
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {authority}}}
authorization: {{mode: Webhook}}
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
enforceNodeAllocatable: []
failSwapOn: false
serializeImagePulls: false
clusterDNS: [{address}]
clusterDomain: cluster.local
resolvConf: {resolver}
volumePluginDir: {flex}
volumeStatsAggPeriod: 5s
nodeStatusUpdateFrequency: 4s
evictionHard: {{nodefs.available: "1%", imagefs.available: "1%", memory.available: "50Mi"}}
imageGCHighThresholdPercent: 100
featureGates: {{{features}}}
"#,
        authority = cluster.text("pki/ca.crt"),
        cgroup = cluster.namespace(),
        address = cluster.address(),
        resolver = cluster.text("resolv.conf"),
        flex = cluster.text("flex"),
    )
}

/// The cluster's cgroup in each hierarchy of the machine, whether it is there or not.
pub(super) fn cgroups(cluster: &Cluster) -> Vec<PathBuf> {
    let root = Path::new(CGROUPS);
    let hierarchies = match root.join("cgroup.controllers").exists() {
        true => vec![root.to_owned()],
        false => fs::read_dir(root)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.join("cgroup.procs").exists() && !path.is_symlink())
            .collect(),
    };
    let name = cluster.namespace();
    hierarchies.into_iter().map(|hierarchy| hierarchy.join(&name)).collect()
}
