//! An API server that is away for a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tombolo_agent::executor::kubernetes::names;
use tombolo_agent::executor::kubernetes::watch::{Health, Seen};

use crate::bench::{Bench, kubeconfig};

/// The way to an API server, which can be cut.
struct Way {
    address: SocketAddr,
    open: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Way {
    async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(AtomicBool::new(true));
        let is_open = Arc::clone(&open);
        let task = tokio::spawn(async move {
            let mut streams = JoinSet::new();
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (mut from, _) = accepted.unwrap();
                        if is_open.load(Ordering::SeqCst) {
                            let target = target.clone();
                            streams.spawn(async move {
                                let mut to = TcpStream::connect(target).await.unwrap();
                                let _ = copy_bidirectional(&mut from, &mut to).await;
                            });
                        }
                    }
                    _ = tick.tick() => if !is_open.load(Ordering::SeqCst) {
                        streams.shutdown().await;
                    },
                }
            }
        });
        Self { address, open, task }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_the_api_server_was_away_is_seen_afterwards() {
    let text = std::fs::read_to_string(kubeconfig()).unwrap();
    let mut file: Value = serde_yaml_ng::from_str(&text).unwrap();
    let server = file["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned();
    let target = server.trim_start_matches("https://").to_owned();
    let way = Way::to(target.clone()).await;
    file["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", way.address));
    file["clusters"][0]["cluster"]["tls-server-name"] = json!(target.split(':').next().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, file.to_string()).unwrap();

    let bench = Bench::by(&path).await;
    let (stays, goes) = (bench.pod("exec sleep 600", |_| {}), bench.pod("exec sleep 600", |_| {}));
    let (stays_attempt, goes_attempt) = (bench.start(&stays).await, bench.start(&goes).await);
    for attempt in [stays_attempt, goes_attempt] {
        bench.until(attempt, "it runs", |verdict| verdict == "running").await;
    }
    let mut health = bench.pods.health();
    health.wait_for(|health| *health == Health::Current).await.unwrap();

    way.open.store(false, Ordering::SeqCst);
    health
        .wait_for(|health| matches!(health, Health::Behind { .. }))
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(bench.admin(), &bench.namespace);
    let name = goes.metadata.name.clone().unwrap();
    pods.delete(&name, &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    // What asks meanwhile is patient.
    let third = bench.pod("exec sleep 600", |_| {});
    let creating = bench.cluster.create_pod(&third);
    let opened = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        way.open.store(true, Ordering::SeqCst);
    };
    let (created, ()) = tokio::join!(creating, opened);
    created.unwrap();
    assert!(matches!(
        bench.seen(goes_attempt, |seen| matches!(seen, Seen::Gone(_))).await,
        Seen::Gone(_)
    ));
    bench
        .seen(names::attempt_of(&third).unwrap(), |seen| matches!(seen, Seen::Here(_)))
        .await;
    assert!(matches!(&*bench.pods.follow(stays_attempt).borrow(), Seen::Here(_)));
    health.wait_for(|health| *health == Health::Current).await.unwrap();
}
