//! Persistent volumes: folders of the machine, made by the controller manager for claims of the default StorageClass.

use xshell::{Shell, cmd};

use super::component::Component;
use super::mounts;
use super::place::Cluster;

const STORAGE_CLASS: &str = r#"
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/host-path
reclaimPolicy: Delete
"#;

/// Makes the default StorageClass. The kubelet does not hand volumes of this kind over to a pod's `fsGroup`, as it does with those
/// of clouds: so that pods without root can write, each is open to all before its pod can be there.
pub(super) fn start(shell: &Shell, cluster: &Cluster, kubectl: &std::path::Path) -> anyhow::Result<()> {
    let config = cluster.kubeconfig();
    cmd!(
        shell,
        "{kubectl} --kubeconfig {config} create --validate=false --filename -"
    )
    .stdin(STORAGE_CLASS)
    .quiet()
    .ignore_stdout()
    .run()?;
    let open = format!(
        "while sleep 0.3; do find {} -mindepth 1 -maxdepth 1 -perm 0750 -exec chmod 0777 {{}} +; done",
        mounts::VOLUMES
    );
    Component::launch(cluster, "volumes", ["sh", "-c", &open].map(str::to_owned).to_vec())
}
