//! containerd, one per cluster: two kubelets on one containerd would remove each other's pods.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use xshell::{Shell, cmd};

use super::component::{self, Component};
use super::images;
use super::place::Cluster;
use super::registry;
use super::words;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// Starts containerd, and returns when it answers and can make pods.
pub(super) fn start(shell: &Shell, cluster: &Cluster) -> anyhow::Result<()> {
    let write = |entry: &str, text: &str| {
        let path = cluster.path(entry);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write("containerd.toml", &configuration(cluster))?;
    write("cni/10-pods.conflist", &pod_network(cluster))?;
    registry::write_hosts(cluster)?;
    Component::launch(cluster, "containerd", words("containerd", "--config containerd.toml"))?;
    component::wait(cluster, "containerd", READY_WITHIN, || {
        ctr(shell, cluster, &["version"]).is_ok()
    })?;
    load(shell, cluster, &images::pause(cluster))
}

/// Makes the images in an archive known to the cluster's node.
pub(super) fn load(shell: &Shell, cluster: &Cluster, archive: &Path) -> anyhow::Result<()> {
    let archive_text = archive.display().to_string();
    ctr(shell, cluster, &["images", "import", &archive_text])
        .with_context(|| format!("cannot load {} into the cluster `{}`", archive.display(), cluster.name))
}

/// Runs `ctr` on the cluster's containerd, in the cluster's network and mounts.
pub(super) fn ctr(shell: &Shell, cluster: &Cluster, arguments: &[&str]) -> anyhow::Result<()> {
    let socket = cluster.containerd_socket();
    let inside = super::inside(cluster)?;
    let output = cmd!(
        shell,
        "nsenter {inside...} ctr --address {socket} --namespace k8s.io {arguments...}"
    )
    .quiet()
    .ignore_status()
    .output()?;
    ensure!(
        output.status.success(),
        "`ctr {}`: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// A sandbox asks for an OOM score that only a machine's first root may give: `restrict_oom_score_adj` takes the best there is.
fn configuration(cluster: &Cluster) -> String {
    format!(
        r#"version = 2
root = "{root}"
state = "{run}"
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stats_collect_period = 5
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{registries}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
"#,
        root = cluster.text("containerd/root"),
        run = cluster.text("containerd/run"),
        socket = cluster.containerd_socket().display(),
        pause = images::PAUSE,
        registries = cluster.text("registries"),
        cni = cluster.text("cni"),
    )
}

fn pod_network(cluster: &Cluster) -> String {
    format!(
        r#"{{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {{"type": "bridge", "bridge": "pods", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "{}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}]}}
"#,
        cluster.pod_network()
    )
}
