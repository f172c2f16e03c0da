//! Secrets: who sets them, who is given them, and with which keys they are kept.

use std::fs;

use http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tombolo_api::Code;
use tombolo_core::build::TerminalState;
use tombolo_core::id::AttemptId;
use tombolo_core::session::Capability;
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::bulk_client::BulkClient;
use tonic::Status;

use crate::agent::{Agent, ended};
use crate::setting::Master;

const VALUE: &str = "hunter2-and-more";
const PATH: &str = "/api/v1/projects/shop/secrets";
const FILE: &str = r#"{"version": 1, "jobs": [
    {"type": "docker-image", "name": "a", "image": "i", "environment": {"X": {"$secret": "token"}, "Y": "plain"}}
]}"#;

async fn find(agent: &Agent, attempt: AttemptId) -> Result<Vec<(String, String)>, Status> {
    let request = wire::FindSecretsRequest {
        attempt: Some(attempt.into()),
    };
    let answer = BulkClient::new(agent.channel.clone()).find_secrets(request).await?;
    Ok(answer.into_inner().variables.into_iter().collect())
}

async fn submit(master: &Master) -> Value {
    let body = json!({"job_file": {"name": "tombolo.json", "text": FILE}});
    master.user.post("/api/v1/projects/shop/builds", body).await
}

async fn set(master: &Master, name: &str, value: &str) {
    let path = format!("{PATH}/{name}");
    let set = master
        .user
        .send(Method::PUT, &path, Some(json!({"value": value})))
        .await;
    assert_eq!(set.status(), 204, "{}", set.text().await.unwrap());
}

async fn with_project() -> Master {
    let master = Master::start().await;
    let _: Value = master.user.post("/api/v1/projects", json!({"name": "shop"})).await;
    master
}

#[tokio::test]
async fn admins_set_secrets_and_nobody_reads_them_back() {
    let master = with_project().await;
    set(&master, "token", VALUE).await;
    for (role, sets, lists) in [
        ("viewer", false, false),
        ("developer", false, true),
        ("admin", true, true),
    ] {
        let user = master.user_with(role, Some("shop")).await;
        let body = json!({"value": VALUE});
        let set = user.send(Method::PUT, &format!("{PATH}/token"), Some(body)).await;
        assert_eq!(set.status().is_success(), sets, "{role}");
        let listed = user.send(Method::GET, PATH, None).await;
        assert_eq!(listed.status().is_success(), lists, "{role}");
        let text = listed.text().await.unwrap();
        assert_eq!(text.contains("\"token\""), lists, "{text}");
        assert!(!text.contains(VALUE), "{text}");
        let read = user.send(Method::GET, &format!("{PATH}/token"), None).await;
        assert_eq!(read.status(), 405, "{role}");
    }
    for (name, body, word) in [
        ("no-dash", json!({"value": "x"}), "a-z, A-Z, 0-9 and `_`"),
        ("empty", json!({"value": ""}), "one byte at least"),
        ("nul", json!({"value": "a\0b"}), "NUL"),
        ("large", json!({"value": "x".repeat(65_537)}), "65537 bytes"),
        ("number", json!({"value": 8_675_309}), "is text"),
        ("more", json!({"value": "x", "unknown": 1}), "unknown"),
    ] {
        let refused = master
            .user
            .refused(Method::PUT, &format!("{PATH}/{name}"), Some(body))
            .await;
        assert_eq!(refused.code, Code::InvalidRequest, "{name}");
        assert!(
            refused.detail.contains(word) && !refused.detail.contains("8675309"),
            "{}",
            refused.detail
        );
    }
    assert_eq!(master.user.delete(&format!("{PATH}/token")).await, 204);
    assert_eq!(master.user.delete(&format!("{PATH}/token")).await, 404);
}

#[tokio::test]
async fn the_cluster_of_the_attempt_is_given_the_values_and_no_other() {
    let master = with_project().await;
    let missing = json!({"job_file": {"name": "tombolo.json", "text": FILE}});
    let east = Agent::join(&master, "east", &[]).await;
    let west = Agent::join(&master, "west", &["elsewhere"]).await;
    let mut session = east.connect_with(Vec::new(), vec![Capability::Secrets]).await;
    let refused = master
        .user
        .refused(Method::POST, "/api/v1/projects/shop/builds", Some(missing))
        .await;
    assert_eq!(refused.code, Code::MissingSecret);
    set(&master, "token", VALUE).await;
    submit(&master).await;
    let assignment = session.assignment().await;
    let attempt = assignment.attempt;
    assert!(
        !format!("{assignment:?}").contains(VALUE),
        "the assignment has the name only"
    );
    assert_eq!(
        find(&east, attempt).await.unwrap(),
        [("X".to_owned(), VALUE.to_owned())]
    );
    let stranger = find(&west, attempt).await.unwrap_err();
    assert_eq!(stranger.code(), tonic::Code::PermissionDenied);
    let next = AttemptId {
        epoch: tombolo_core::id::Epoch(attempt.epoch.0 + 1),
        ..attempt
    };
    assert_eq!(
        find(&east, next).await.unwrap_err().code(),
        tonic::Code::PermissionDenied
    );

    // A job that runs has what it has; one that has not begun learns what is missing.
    assert_eq!(master.user.delete(&format!("{PATH}/token")).await, 204);
    let gone = find(&east, attempt).await.unwrap_err();
    assert_eq!(gone.code(), tonic::Code::FailedPrecondition);
    assert!(
        gone.message()
            .contains("project `shop` has no secret `token` (for the variable `X`)"),
        "{gone:?}"
    );
    set(&master, "token", "another").await;
    assert_eq!(find(&east, attempt).await.unwrap()[0].1, "another");
    session.run(attempt).await;
    session.report(attempt, ended(TerminalState::Finished, 0, None)).await;
    assert_eq!(session.forget_order().await, attempt);
    assert_eq!(
        find(&east, attempt).await.unwrap_err().code(),
        tonic::Code::PermissionDenied
    );
}

#[tokio::test]
async fn values_are_encrypted_and_a_master_without_their_key_does_not_start() {
    let mut master = with_project().await;
    set(&master, "token", VALUE).await;
    let before: Value = master.user.get(PATH).await;
    let data = master.configuration.data_folder.clone();
    let key_file = data.join("secrets.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&key_file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    master.stop().await;
    for entry in fs::read_dir(&data).unwrap().map(Result::unwrap) {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        let found = bytes.windows(VALUE.len()).any(|window| window == VALUE.as_bytes());
        assert!(!found, "{}", entry.path().display());
    }
    let refused = async |master: &Master| {
        let started = tombolo_master::start(master.configuration.clone(), CancellationToken::new()).await;
        started.err().expect("it does not start").to_string()
    };
    let kept = fs::read_to_string(&key_file).unwrap();
    fs::remove_file(&key_file).unwrap();
    let error = refused(&master).await;
    assert!(
        error.contains("secrets.key` does not have") && error.contains("were encrypted with the key"),
        "{error}"
    );
    assert!(!key_file.exists(), "no other key is made in its place");
    fs::write(&key_file, format!("{}\n", "A".repeat(43) + "=")).unwrap();
    let error = refused(&master).await;
    assert!(error.contains("does not have"), "{error}");
    fs::write(&key_file, "not a key\n").unwrap();
    let error = refused(&master).await;
    assert!(
        error.contains("line 1") && error.contains("openssl rand -base64 32"),
        "{error}"
    );

    // A new key in front: what was sealed before is opened once more, and sealed anew. Then the old key can go.
    fs::write(&key_file, format!("{}=\n{kept}", "A".repeat(43))).unwrap();
    let mut master = master.restart().await;
    let listed: Value = master.user.get(PATH).await;
    assert_eq!(listed, before, "it is as old as it was");
    master.stop().await;
    fs::write(&key_file, format!("{}=\n", "A".repeat(43))).unwrap();
    let master = master.restart().await;
    let east = Agent::join(&master, "east", &[]).await;
    let mut session = east.connect_with(Vec::new(), vec![Capability::Secrets]).await;
    submit(&master).await;
    let attempt = session.assignment().await.attempt;
    assert_eq!(
        find(&east, attempt).await.unwrap(),
        [("X".to_owned(), VALUE.to_owned())]
    );
}
