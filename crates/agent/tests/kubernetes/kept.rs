//! Pods that stay after their end.

use std::collections::HashSet;
use std::time::Duration;

use tombolo_agent::executor::Executor;
use tombolo_agent::executor::kubernetes::watch::Seen;
use tombolo_agent::executor::kubernetes::{names, orphans};
use tombolo_agent::folder::AttemptFolder;
use tombolo_core::time::Timestamp;

use crate::bench::Bench;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_stays_after_its_end_and_its_token_does_not() {
    let mut bench = Bench::new().await;
    bench.settings.keep_finished = Duration::from_secs(3600);
    let data = tempfile::tempdir().unwrap();
    let executor = bench.executor(data.path()).await;
    let records = tempfile::tempdir().unwrap();
    let folder = AttemptFolder::new(records.path());
    std::fs::write(folder.ended(), "{}").unwrap();

    let mut pod = bench.pod("exit 7", |_| {});
    pod.spec.as_mut().unwrap().containers[0].command = Some(vec!["true".to_owned()]);
    let ended = bench.start(&pod).await;
    let failed = |seen: &Seen| matches!(seen, Seen::Here(view) if view.ended_at.is_some());
    // Only one of its containers ends by itself.
    let running = bench.start(&bench.pod("exec sleep 600", |_| {})).await;
    bench.until(running, "it runs", |verdict| verdict == "running").await;
    executor.clear(&folder, running).await.unwrap();
    bench.gone(running).await;

    bench.seen(ended, failed).await;
    executor.clear(&folder, ended).await.unwrap();
    let name = names::pod_name(ended);
    assert!(bench.secret(&name).await.is_none());
    assert!(bench.cluster.find_pod(&bench.namespace, &name).await.unwrap().is_some());
    // Again, as after a crash in between.
    executor.clear(&folder, ended).await.unwrap();

    // As an agent that comes back finds it: it knows the pod from the watch alone.
    let keep = bench.settings.keep_finished;
    let none = HashSet::new();
    let soon = Timestamp(tombolo_runtime::clock::now().wall_milliseconds + 120_000);
    let remove = |now| orphans::remove(&bench.cluster, &bench.pods, &none, keep, now);
    assert_eq!(remove(soon).await.unwrap(), 0);
    assert_eq!(remove(Timestamp(soon.0 + 3_600_000)).await.unwrap(), 1);
    bench.gone(ended).await;
}
