//! Labels of clusters, as administrators change them.

use http::Method;
use serde_json::{Value, json};
use tombolo_api::{Cluster, Code};

use crate::agent::Agent;
use crate::setting::Master;

const FILE: &str = r#"{"version": 1, "jobs": [
    {"type": "docker-image", "name": "gpu", "image": "i", "cluster": {"selector": ["gpu=8"]}}
]}"#;

#[tokio::test]
async fn labels_are_changed_while_a_cluster_is_connected_and_stay_over_a_restart() {
    let master = Master::start().await;
    let _: Value = master.user.post("/api/v1/projects", json!({"name": "shop"})).await;
    let east = Agent::join(&master, "east", &["AWS", "old=1"]).await;
    let mut session = east.connect(Vec::new()).await;
    let file = json!({"job_file": {"name": "tombolo.json", "text": FILE}});
    let _: Value = master.user.post("/api/v1/projects/shop/builds", file).await;
    let path = "/api/v1/clusters/east/labels";
    let changed: Cluster = master.user.patch(path, json!({"labels": ["gpu=8", "old-"]})).await;
    let labels = |cluster: &Cluster| {
        let own = cluster.labels.iter().filter(|(key, _)| !key.starts_with("node."));
        own.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(labels(&changed), ["AWS=", "cluster=east", "gpu=8"]);
    assert!(changed.capabilities.is_some(), "{changed:?}");
    assert_eq!(
        session.assignment().await.attempt.epoch.0,
        1,
        "who waited is placed at once"
    );
    for (request, words) in [
        (json!({"labels": ["cluster=west"]}), "body: label `cluster` is reserved"),
        (json!({"labels": ["a=1", "a-"]}), "body: label `a` is given twice"),
        (json!({"labels": ["a b"]}), "body: `a b` is not a valid label key"),
        (json!({}), "body: missing field `labels`"),
    ] {
        let refused = master.user.refused(Method::PATCH, path, Some(request)).await;
        assert_eq!(refused.code, Code::InvalidRequest);
        assert!(refused.detail.starts_with(words), "{refused:?}");
    }
    let unknown = master
        .user
        .refused(
            Method::PATCH,
            "/api/v1/clusters/south/labels",
            Some(json!({"labels": ["a"]})),
        )
        .await;
    assert_eq!(
        (unknown.code, unknown.hint.as_str()),
        (Code::NotFound, "the clusters are: east")
    );
    let master = master.restart().await;
    let kept: Cluster = master.user.get("/api/v1/clusters/east").await;
    assert_eq!(labels(&kept), ["AWS=", "cluster=east", "gpu=8"]);
    assert_eq!(kept.capabilities, None, "its agent has not said so to this master");
}
