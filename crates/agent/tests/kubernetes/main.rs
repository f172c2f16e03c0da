//! On a real cluster: every pod that is made here is one that the API server and a kubelet took.
//!
//! `TOMBOLO_TEST_KUBECONFIG` names a cluster's administrator; its nodes have the image `docker.io/library/busybox:1`.
//! `TOMBOLO_TEST_REGISTRY` is the address of an open registry without TLS that has `greeter:1`, and `TOMBOLO_TEST_PULL_REGISTRY`
//! that of one with the user `puller`.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on says why"
)]

mod bench;
mod faults;
mod kept;
mod link;
mod registries;
mod rights;
mod volumes;

use std::time::Duration;

use bench::Bench;
use tombolo_agent::executor::kubernetes::cluster::Created;
use tombolo_agent::executor::kubernetes::pod::token_secret;
use tombolo_agent::executor::kubernetes::watch::Seen;
use tombolo_agent::executor::kubernetes::{names, orphans};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_from_its_creation_to_nothing() {
    let bench = Bench::new().await;
    let before = bench.cluster.requests();
    let pod = bench.pod(
        "test -w /tombolo && test -w /infrabox && touch /tombolo/output && exec sleep 600",
        |_| {},
    );
    let created = bench.cluster.create_pod(&pod).await.unwrap();
    assert!(matches!(created, Created::New(_)));
    let secret = token_secret(created.pod(), &"the token".into()).unwrap();
    bench.cluster.create_secret(&secret, &created).await.unwrap();
    let again = bench.cluster.create_pod(&pod).await.unwrap();
    assert!(matches!(again, Created::Adopted(_)));
    bench.cluster.create_secret(&secret, &again).await.unwrap();
    let attempt = names::attempt_of(&pod).unwrap();
    bench.until(attempt, "it runs", |verdict| verdict == "running").await;
    let token = bench
        .exec(&pod, "courier", &["cat", "/var/run/secrets/tombolo/token"])
        .await;
    assert_eq!(token, "the token");
    let job = bench
        .exec(&pod, "job", &["sh", "-c", "id -u; env; ls /var/run/secrets || true"])
        .await;
    assert!(job.starts_with("1000\n"), "{job}");
    assert!(
        !job.contains("KUBERNETES_SERVICE") || !job.contains("TOMBOLO_TEST"),
        "{job}"
    );
    assert!(!job.contains("serviceaccount") && !job.contains("the token"), "{job}");

    // Nobody but a crashed agent knows of it: it is old enough to be removed in a minute.
    let later = tombolo_core::time::Timestamp(u64::MAX / 2);
    let known = std::collections::HashSet::from([attempt]);
    assert_eq!(
        orphans::remove(&bench.cluster, &bench.pods, &known, Duration::ZERO, later)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        orphans::remove(
            &bench.cluster,
            &bench.pods,
            &std::collections::HashSet::new(),
            Duration::ZERO,
            later
        )
        .await
        .unwrap(),
        1
    );
    let gone = bench.seen(attempt, |seen| matches!(seen, Seen::Gone(_))).await;
    assert!(matches!(gone, Seen::Gone(_)));
    let name = names::pod_name(attempt);
    bench
        .cluster
        .delete_pod(&bench.namespace, &name, None, None)
        .await
        .unwrap();
    bench
        .eventually("the secret goes with its pod", || async {
            bench.secret(&name).await.is_none()
        })
        .await;
    println!(
        "requests, those of the watch included: {}",
        bench.cluster.requests() - before
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_jobs_cost_three_requests_each() {
    let bench = Bench::new().await;
    let before = bench.cluster.requests();
    const JOBS: u64 = 20;
    let mut attempts = Vec::new();
    for _ in 0..JOBS {
        let pod = bench.pod("exit 0", |settings| settings.default_resources.cpu_milli = 10);
        let created = bench.cluster.create_pod(&pod).await.unwrap();
        let secret = token_secret(created.pod(), &"t".into()).unwrap();
        bench.cluster.create_secret(&secret, &created).await.unwrap();
        attempts.push((
            names::attempt_of(&pod).unwrap(),
            created.pod().metadata.uid.clone().unwrap(),
        ));
    }
    for (attempt, uid) in &attempts {
        bench.until(*attempt, "it ends", |verdict| verdict == "finishing").await;
        let name = names::pod_name(*attempt);
        bench
            .cluster
            .delete_pod(&bench.namespace, &name, Some(uid), Some(Duration::from_secs(1)))
            .await
            .unwrap();
    }
    for (attempt, _) in &attempts {
        bench.seen(*attempt, |seen| matches!(seen, Seen::Gone(_))).await;
    }
    let requests = bench.cluster.requests() - before;
    println!("{requests} requests for {JOBS} jobs");
    assert!(requests <= 4 * JOBS, "{requests}");
}
