//! Volumes of pods.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::Api;
use tombolo_agent::executor::kubernetes::names;
use tombolo_agent::executor::kubernetes::settings::SandboxVolume;
use tombolo_core::attempt::{InputReference, OutputReference};
use tombolo_core::digest::Digest;
use tombolo_core::id::JobId;
use tombolo_core::name::JobName;

use crate::bench::{BUSYBOX, Bench, assignment};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_inputs_are_worked_on_in_a_claim_that_goes_with_its_pod() {
    let bench = Bench::new().await;
    let mut assignment = assignment(BUSYBOX);
    assignment.inputs.push(InputReference {
        index: None,
        job: JobId::from_u128(1),
        name: JobName::new("a").unwrap(),
        output: OutputReference {
            manifest: Digest::new([0; 32]),
            bytes: 40 << 20,
            files: 1,
        },
        sources: Vec::new(),
        grant: Vec::new(),
    });
    // More than the pod may write on its node's disk.
    let fill = "id -G; dd if=/dev/zero of=/tombolo/file bs=1M count=80 && touch /infrabox/written && exec sleep 600";
    let pod = bench.pod_of(&assignment, fill, |settings| {
        settings.sandbox_volume = Some(SandboxVolume {
            storage_class: None,
            maximum_bytes: 1 << 30,
        });
    });
    let attempt = bench.start(&pod).await;
    bench.until(attempt, "it runs", |verdict| verdict == "running").await;
    bench
        .eventually("the file is written", || async {
            let said = bench.exec(&pod, "job", &["ls", "/tombolo"]).await;
            said.contains("written") && said.contains("file")
        })
        .await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(bench.admin(), &bench.namespace);
    let name = format!("{}-sandbox", names::pod_name(attempt));
    let claim = claims.get(&name).await.unwrap();
    let requests = claim.spec.unwrap().resources.unwrap().requests.unwrap();
    assert_eq!(requests["storage"].0, "90Mi");
    // The kubelet looks every ten seconds: it does not count what is in a claim.
    tokio::time::sleep(std::time::Duration::from_secs(25)).await;
    bench
        .until(attempt, "it runs still", |verdict| verdict == "running")
        .await;

    let pod_name = names::pod_name(attempt);
    bench
        .cluster
        .delete_pod(&bench.namespace, &pod_name, None, None)
        .await
        .unwrap();
    bench
        .eventually("the claim goes with its pod", || async {
            claims.get_opt(&name).await.unwrap().is_none()
        })
        .await;
}
