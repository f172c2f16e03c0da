//! What an agent gets that may not do all it should, and a namespace that is full.

use k8s_openapi::api::core::v1::{ResourceQuota, ServiceAccount};
use kube::api::{Api, PostParams};
use serde_json::json;
use tombolo_agent::executor::kubernetes::cluster::{Cluster, Error, Others};

use crate::bench::{Bench, kubeconfig};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_named() {
    let bench = Bench::new().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(bench.admin(), &bench.namespace);
    let account = serde_json::from_value(json!({ "metadata": { "name": "nobody" } })).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    // As the administrator, who takes the account's place.
    let text = std::fs::read_to_string(kubeconfig()).unwrap();
    let account = format!("system:serviceaccount:{}:nobody", bench.namespace);
    let mut file: serde_json::Value = serde_yaml_ng::from_str(&text).unwrap();
    file["users"][0]["user"]["as"] = json!(account);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, file.to_string()).unwrap();
    let nobody = Cluster::connect(Some(&path)).await.unwrap();

    let denied = nobody.create_pod(&bench.pod("true", |_| {})).await.unwrap_err();
    println!("{denied}");
    let said = denied.to_string();
    assert!(matches!(denied, Error::Denied(_)), "{said}");
    for words in ["create pods", &bench.namespace, "verbs: [\"create\"]", "nobody"] {
        assert!(said.contains(words), "{said}");
    }
    let missing = nobody.missing_rights(&bench.settings).await.unwrap();
    let rules: Vec<_> = missing.iter().map(|denied| denied.right.as_rule()).collect();
    assert_eq!(rules.len(), 7, "{rules:?}");
    assert!(bench.cluster.missing_rights(&bench.settings).await.unwrap().is_empty());
    assert!(
        nobody
            .capacity(&bench.settings, &mut Others::default())
            .await
            .unwrap()
            .is_none()
    );
    let capacity = bench
        .cluster
        .capacity(&bench.settings, &mut Others::default())
        .await
        .unwrap()
        .unwrap();
    println!("{capacity:?}");
    assert!(capacity.nodes.count >= 1 && capacity.nodes.largest.memory_bytes > 1 << 29);
    assert_eq!(capacity.facts.get("os"), Some("linux"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_namespace_has_no_room_now() {
    let bench = Bench::new().await;
    let quotas: Api<ResourceQuota> = Api::namespaced(bench.admin(), &bench.namespace);
    let hard = json!({ "pods": "1", "requests.cpu": "1", "limits.cpu": "8", "requests.memory": "1Gi", "limits.memory": "4Gi",
        "requests.ephemeral-storage": "1Gi", "limits.ephemeral-storage": "1Gi" });
    let quota = serde_json::from_value(json!({ "metadata": { "name": "q" }, "spec": { "hard": hard } })).unwrap();
    quotas.create(&PostParams::default(), &quota).await.unwrap();
    bench
        .eventually("the quota counts", || async {
            let quota = quotas.get("q").await.unwrap();
            quota.status.is_some_and(|status| status.used.is_some())
        })
        .await;
    // A pod of ours says all that any quota may count.
    bench
        .cluster
        .create_pod(&bench.pod("exec sleep 60", |_| {}))
        .await
        .unwrap();
    let full = bench.cluster.create_pod(&bench.pod("true", |_| {})).await.unwrap_err();
    println!("{full}");
    assert!(
        matches!(&full, Error::Quota { message } if message.contains("exceeded quota: q")),
        "{full}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_not_there() {
    let bench = Bench::new().await;
    let pod = bench.pod("true", |settings| settings.namespace = "kube-test-none".to_owned());
    let error = bench.cluster.create_pod(&pod).await.unwrap_err();
    println!("{error}");
    assert!(
        matches!(&error, Error::Rejected { message, .. } if message.contains("kube-test-none")),
        "{error}"
    );
}
