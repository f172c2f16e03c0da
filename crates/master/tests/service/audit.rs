//! The audit trail: who was refused, and who changed what.

use std::io;
use std::sync::Mutex;

use http::Method;
use serde_json::{Value, json};
use tombolo_core::id::{AttemptId, Epoch, JobId};
use tombolo_identity::key::PrivateKey;

use crate::agent::{Agent, invite, join};
use crate::setting::Master;

/// What all tests of this program have recorded.
static TRAIL: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Trail;

impl io::Write for Trail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TRAIL.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Records from now on. (A subscriber for this thread only would race with other tests for what tracing caches.)
pub(crate) fn install() {
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_thread_ids(true)
        .with_writer(|| Trail);
    subscriber.with_env_filter("off,audit=info").init();
}

/// What this test has recorded: its runtime has one thread, and so has its master.
fn own_lines() -> Vec<Value> {
    let own = json!(format!("{:?}", std::thread::current().id()));
    let text = String::from_utf8(TRAIL.lock().unwrap().clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["threadId"] == own).collect()
}

#[tokio::test]
async fn refused_and_changing_calls_are_recorded() {
    let master = Master::start().await;
    let viewer = master.user_with("viewer", Some("default")).await;
    let _: Value = master.user.post("/api/v1/projects", json!({"name": "p"})).await;
    let _: Value = master.user.get("/api/v1/projects").await;
    viewer
        .send(Method::POST, "/api/v1/projects/default/builds/1/cancel", None)
        .await;
    master
        .user
        .with_token(None)
        .send(Method::GET, "/api/v1/clusters", None)
        .await;
    let east = Agent::join(&master, "east", &[]).await;
    let mut wrong = invite(&master, "west", &[]).await;
    wrong.secret = vec![1; 32].into();
    join(&master, &wrong, &PrivateKey::generate().unwrap())
        .await
        .unwrap_err();
    east.push(
        AttemptId {
            job: JobId::from_u128(1),
            epoch: Epoch(1),
        },
        0,
        &[b"x"],
    )
    .await;

    let lines = own_lines();
    let user = |name: &str, method: &str, path: &str, status: u64, refused: bool| {
        let found = lines.iter().any(|line| {
            line["message"] == "request"
                && line["name"] == json!(name)
                && line["method"] == method
                && line["path"] == path
                && line["status"] == status
                && line["refused"] == refused
                && line["remote"].is_string()
        });
        assert!(found, "{name} {method} {path} {status}: {lines:#?}");
    };
    user("admin", "POST", "/api/v1/projects", 201, false);
    user(
        "viewer default",
        "POST",
        "/api/v1/projects/default/builds/1/cancel",
        403,
        true,
    );
    user("admin", "POST", "/api/v1/invites", 201, false);
    let some = |test: &dyn Fn(&Value) -> bool| assert!(lines.iter().any(test), "{lines:#?}");
    some(&|line| line["status"] == 401 && line["refused"] == true && line["name"].is_null());
    some(&|line| line["message"] == "join" && line["cluster"] == "east" && line["refused"] == false);
    some(&|line| line["message"] == "join" && line["refused"] == true);
    some(&|line| line["message"] == "logs" && line["cluster"] == "east" && line["refused"] == true);
    let reads = lines
        .iter()
        .filter(|line| line["method"] == "GET" && line["refused"] == false);
    assert_eq!(reads.count(), 0, "reading is nobody's business");
    let text = format!("{lines:?}");
    assert!(!text.contains("tombolo_") && !text.contains("tmb1."), "no secrets");
}
