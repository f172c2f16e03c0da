//! Masters that have gone back in time, and wait until all that was granted since is over.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use http::Method;
use reqwest::{Client, StatusCode};
use tokio_util::sync::CancellationToken;
use tombolo_api::Code;
use tombolo_master::backup::note_database_went_back;
use tonic::Code as Refusal;

use crate::agent::{Agent, channel};
use crate::setting::{DEADLINE, Master, problem};

/// What a probe is answered; none if nobody answers.
async fn probe(address: SocketAddr, path: &str) -> Option<(StatusCode, String)> {
    let client = Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("http://{address}/{path}")).send().await.ok()?;
    Some((answer.status(), answer.text().await.ok()?))
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn all_are_told_at_once_until_when_a_restored_master_waits() {
    let (users, probes) = (free_address(), free_address());
    let mut master = Master::start_changed(|configuration| {
        configuration.leases.handover = Duration::from_secs(8);
        configuration.users.listen = users;
    })
    .await;
    let mut agent = Agent::join(&master, "east", &[]).await;
    master.stop().await;
    let mut configuration = master.configuration.clone();
    configuration.agents.listen = master.agents;
    configuration.health.listen = Some(probes);
    note_database_went_back(&configuration).await.unwrap();
    let stopping = CancellationToken::new();
    let mut starting = tokio::spawn(tombolo_master::start(configuration, stopping.clone()));
    let answered = async {
        loop {
            match probe(probes, "readyz").await {
                Some((status, text)) if text != "about to lead\n" => return (status, text),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let (status, words) = tokio::select! {
        first = answered => first,
        started = &mut starting => panic!("nobody answered before it had started: {:?}", started.map(drop)),
    };
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let words = words.trim_end();
    assert!(
        words.starts_with("this master was restored from a backup and leads from 20"),
        "{words}"
    );
    let alive = Some((StatusCode::OK, "ok\n".to_owned()));
    assert_eq!(probe(probes, "healthz").await, alive);
    // Users and agents hear the same.
    let refused = master.user.send(Method::GET, "/api/v1/projects", None).await;
    let retry_after: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=8).contains(&retry_after), "{retry_after}");
    let refused = problem(refused).await;
    assert_eq!((refused.code, refused.detail.as_str()), (Code::Unavailable, words));
    agent.channel = channel(&master, &agent.identity).await;
    let refused = agent.try_connect().await.map(drop).unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Refusal::Unavailable, words));
    assert!(!starting.is_finished(), "it waits");
    let running = tokio::time::timeout(DEADLINE, starting)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let leads = Some((StatusCode::OK, "leader\n".to_owned()));
    assert_eq!(probe(probes, "readyz").await, leads);
    master.user.get::<serde_json::Value>("/api/v1/projects").await;
    agent.channel = channel(&master, &agent.identity).await;
    agent.connect(Vec::new()).await;
    stopping.cancel();
    tokio::time::timeout(DEADLINE, running.wait()).await.unwrap().unwrap();
}
