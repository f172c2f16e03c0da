//! Masters that have gone back in time, and wait until all that was granted since is over.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use reqwest::Client;
use tokio_util::sync::CancellationToken;
use tombolo_master::backup::note_database_went_back;

use crate::setting::{DEADLINE, Master};

/// What a probe is answered; none if nobody answers.
async fn probe(address: SocketAddr, path: &str) -> Option<String> {
    let client = Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("http://{address}/{path}")).send().await.ok()?;
    assert!(answer.status().is_success(), "{answer:?}");
    answer.text().await.ok()
}

#[tokio::test]
async fn probes_are_answered_while_a_restored_master_waits() {
    let mut master = Master::start_changed(|configuration| {
        configuration.leases.handover = Duration::from_secs(6);
    })
    .await;
    master.stop().await;
    let mut configuration = master.configuration.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    configuration.health.listen = Some(address);
    note_database_went_back(&configuration).await.unwrap();
    let stopping = CancellationToken::new();
    let mut starting = tokio::spawn(tombolo_master::start(configuration, stopping.clone()));
    let answered = async {
        loop {
            if let Some(text) = probe(address, "readyz").await {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let first = tokio::select! {
        first = answered => first,
        started = &mut starting => panic!("nobody answered before it had started: {:?}", started.map(drop)),
    };
    assert_eq!(first, "about to lead\n");
    assert_eq!(probe(address, "healthz").await.as_deref(), Some("ok\n"));
    assert!(!starting.is_finished(), "it waits");
    let running = tokio::time::timeout(DEADLINE, starting)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(probe(address, "readyz").await.as_deref(), Some("leader\n"));
    stopping.cancel();
    tokio::time::timeout(DEADLINE, running.wait()).await.unwrap().unwrap();
}
