//! etcd, the API server, the controller manager and the scheduler.

use std::path::Path;
use std::time::Duration;

use xshell::{Shell, cmd};

use super::component::{self, Component};
use super::place::Cluster;
use super::words;

/// Switched on because every Kubernetes of today has them: volumes that live as long as a pod, and Jobs that go by themselves.
pub(super) const FEATURES: &str = "GenericEphemeralVolume=true,TTLAfterFinished=true";
/// How long the API server has on a machine that is busy with other things.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Starts etcd and the API server, and returns when it answers.
pub(super) fn start_server(shell: &Shell, cluster: &Cluster, programs: &Path, kubectl: &Path) -> anyhow::Result<()> {
    let etcd = words("etcd", "--data-dir etcd --logger zap --log-level warn");
    Component::launch(cluster, "etcd", etcd)?;
    let address = cluster.address();
    let options = format!(
        "--etcd-servers=http://127.0.0.1:2379 --secure-port=6443 --bind-address=0.0.0.0 --advertise-address={address}
         --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key --client-ca-file=pki/ca.crt
         --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key
         --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=10.96.0.0/16
         --authorization-mode=RBAC --allow-privileged=true --feature-gates={FEATURES}
         --kubelet-client-certificate=pki/admin.crt --kubelet-client-key=pki/admin.key
         --kubelet-preferred-address-types=InternalIP
         --default-not-ready-toleration-seconds=30 --default-unreachable-toleration-seconds=30"
    );
    Component::launch(cluster, "apiserver", program(programs, "kube-apiserver", &options))?;
    wait_for_server(shell, cluster, kubectl)
}

/// Returns when the API server answers.
pub(super) fn wait_for_server(shell: &Shell, cluster: &Cluster, kubectl: &Path) -> anyhow::Result<()> {
    component::wait(cluster, "apiserver", READY_WITHIN, || is_ready(shell, cluster, kubectl))
}

/// Whether the API server answers.
pub(super) fn is_ready(shell: &Shell, cluster: &Cluster, kubectl: &Path) -> bool {
    let config = cluster.kubeconfig();
    cmd!(
        shell,
        "{kubectl} --kubeconfig {config} --request-timeout 5s get --raw /readyz"
    )
    .quiet()
    .ignore_stdout()
    .ignore_stderr()
    .run()
    .is_ok()
}

/// Starts what works through the API server. A node that is silent is told after 20 s, not 40.
pub(super) fn start_controllers(cluster: &Cluster, programs: &Path) -> anyhow::Result<()> {
    let manager = format!(
        "--kubeconfig=kubeconfig --service-account-private-key-file=pki/sa.key --root-ca-file=pki/ca.crt
         --use-service-account-credentials=true --leader-elect=false --enable-hostpath-provisioner=true
         --flex-volume-plugin-dir={} --feature-gates={FEATURES}
         --node-monitor-period=2s --node-monitor-grace-period=20s",
        cluster.text("flex")
    );
    let manager = program(programs, "kube-controller-manager", &manager);
    Component::launch(cluster, "controller-manager", manager)?;
    let scheduler = format!("--kubeconfig=kubeconfig --leader-elect=false --feature-gates={FEATURES}");
    Component::launch(cluster, "scheduler", program(programs, "kube-scheduler", &scheduler))
}

/// The command of one of our programs.
pub(super) fn program(programs: &Path, name: &str, options: &str) -> Vec<String> {
    words(&programs.join(name).display().to_string(), options)
}
