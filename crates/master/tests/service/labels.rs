//! Labels of clusters, as administrators change them.

use http::Method;
use serde_json::{Value, json};
use tombolo_api::{Cluster, Code, LabelledCluster};

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
    let master = master.restart().await;
    let kept: Cluster = master.user.get("/api/v1/clusters/east").await;
    assert_eq!(labels(&kept), ["AWS=", "cluster=east", "gpu=8"]);
    assert_eq!(kept.capabilities, None, "its agent has not said so to this master");
}

#[tokio::test]
async fn labels_that_cannot_be_are_refused_with_what_to_give_instead() {
    let master = Master::start().await;
    Agent::join(&master, "east", &["AWS"]).await;
    let path = "/api/v1/clusters/east/labels";
    for (labels, words, way_out) in [
        (
            json!(["cluster=west"]),
            "body: label `cluster` is reserved",
            "take another key",
        ),
        (
            json!(["node.os-"]),
            "body: label `node.os` is reserved",
            "does not begin with `node.`",
        ),
        (json!(["a=1", "a-"]), "body: label `a` is given twice", "give `a` once"),
        (json!(["a b"]), "body: `a b` is not a valid label key", "`gpu=8`"),
        (
            json!(["a=b-"]),
            "body: `b-` is not a valid value",
            "`KEY-` takes a label away",
        ),
    ] {
        let refused = master
            .user
            .refused(Method::PATCH, path, Some(json!({"labels": labels})))
            .await;
        assert_eq!(refused.code, Code::InvalidRequest);
        assert!(refused.detail.starts_with(words), "{refused:?}");
        assert!(refused.hint.contains(way_out), "{refused:?}");
    }
    let refused = master.user.refused(Method::PATCH, path, Some(json!({}))).await;
    assert!(
        refused.detail.starts_with("body: missing field `labels`"),
        "{refused:?}"
    );
    let many: Vec<String> = (0..64).map(|number| format!("k{number}")).collect();
    let refused = master
        .user
        .refused(Method::PATCH, path, Some(json!({"labels": many})))
        .await;
    assert_eq!(refused.code, Code::LimitReached);
    assert!(refused.hint.contains("`KEY-`"), "{refused:?}");
    let unwanted = json!({"name": "west", "labels": ["a-"]});
    let refused = master
        .user
        .refused(Method::POST, "/api/v1/invites", Some(unwanted))
        .await;
    assert!(
        refused.hint.contains("`gpu=8`") && !refused.hint.contains("KEY-"),
        "{refused:?}"
    );
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
}

#[tokio::test]
async fn whoever_changes_labels_is_told_which_projects_that_lets_in_and_keeps_out() {
    let master = Master::start().await;
    for (project, clusters) in [
        ("free", json!([])),
        ("inside", json!(["region=eu"])),
        ("outside", json!(["!GCP"])),
    ] {
        let _: Value = master.user.post("/api/v1/projects", json!({"name": project})).await;
        let share = json!({"weight": 1, "clusters": clusters});
        let path = format!("/api/v1/projects/{project}/share");
        let set = master.user.send(Method::PUT, &path, Some(share)).await;
        assert!(set.status().is_success(), "{project}");
    }
    let _east = Agent::join(&master, "east", &[]).await;
    let path = "/api/v1/clusters/east/labels";
    let label = async |labels: Value| -> (Vec<String>, Vec<String>) {
        let changed: LabelledCluster = master.user.patch(path, json!({"labels": labels})).await;
        let names = |projects: Vec<tombolo_core::name::ProjectName>| projects.iter().map(ToString::to_string).collect();
        (names(changed.lets_in), names(changed.keeps_out))
    };
    let (inside, outside, none) = (vec!["inside".to_owned()], vec!["outside".to_owned()], Vec::new());
    assert_eq!(label(json!(["zone=1"])).await, (none.clone(), none.clone()));
    assert_eq!(
        label(json!(["region=eu", "GCP"])).await,
        (inside.clone(), outside.clone())
    );
    assert_eq!(label(json!(["region-", "GCP-"])).await, (outside, inside));
}
