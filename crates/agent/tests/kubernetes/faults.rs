//! Each fault as the real parts bring it about.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use tombolo_agent::executor::kubernetes::settings::{PodSecurity, Settings};
use tombolo_agent::executor::kubernetes::verdict::Kind;
use tombolo_core::build::TerminalState::{self, Error, Failure};
use tombolo_core::resources::Resources;

use crate::bench::Bench;

/// Changes a pod that is about to be created.
type Change = fn(&mut Pod);

fn image(pod: &mut Pod, name: &str) {
    pod.spec.as_mut().unwrap().containers[1].image = Some(name.to_owned());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_told_apart() {
    let bench = Bench::new().await;
    let fill = "dd if=/dev/zero of=/tombolo/file bs=1M count=80; exec sleep 600";
    let cases: [(&str, Change, Kind, TerminalState, &str); 9] = [
        ("exec tail /dev/zero", |_| {}, Kind::OutOfMemory, Failure, "more memory"),
        ("exit 7", |_| {}, Kind::SupervisorDied, Error, "exit code 7"),
        (fill, |_| {}, Kind::StorageExceeded, Failure, "50Mi"),
        (
            "true",
            |pod| image(pod, "registry.tombolo.test:5000/none:1"),
            Kind::ImageMissing,
            Failure,
            "not found",
        ),
        (
            "true",
            |pod| image(pod, "registry.tombolo.test:5001/none:1"),
            Kind::ImageRefused,
            Error,
            "401 Unauthorized",
        ),
        (
            "true",
            |pod| image(pod, "UPPER:1"),
            Kind::InvalidImage,
            Failure,
            "UPPER:1",
        ),
        (
            "true",
            |pod| {
                let spec = pod.spec.as_mut().unwrap();
                spec.containers[1].security_context.as_mut().unwrap().run_as_user = None;
            },
            Kind::ImageUser,
            Failure,
            "run_as_user",
        ),
        (
            "true",
            |pod| pod.spec.as_mut().unwrap().containers[1].command = Some(vec!["/not/there".to_owned()]),
            Kind::CannotStart,
            Error,
            "no such file",
        ),
        (
            "true",
            |pod| {
                pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[0].command = Some(vec!["false".to_owned()])
            },
            Kind::SystemFailed,
            Error,
            "`install`",
        ),
    ];
    let mut attempts = Vec::new();
    for (command, change, ..) in &cases {
        let mut pod = bench.pod(command, |_| {});
        change(&mut pod);
        attempts.push(bench.start(&pod).await);
    }
    for (attempt, (command, _, kind, state, words)) in attempts.into_iter().zip(cases) {
        let ended = bench.end(attempt).await;
        println!("{kind:?}: {}: {}", ended.state, ended.message);
        assert_eq!((ended.kind, ended.state), (kind, state), "{command}: {}", ended.message);
        assert!(ended.message.contains(words), "{command}: {}", ended.message);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_fits_nowhere() {
    let mut bench = Bench::new().await;
    bench.settings.deadlines.schedule = std::time::Duration::from_secs(3);
    let large = |settings: &mut Settings| {
        settings.default_resources = Resources {
            cpu_milli: 1000,
            memory_bytes: 1 << 50,
        };
    };
    let attempt = bench.start(&bench.pod("true", large)).await;
    let ended = bench.end(attempt).await;
    println!("{}", ended.message);
    assert_eq!((ended.kind, ended.state), (Kind::Unschedulable, Error));
    assert!(ended.message.contains("Insufficient memory"), "{}", ended.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_missing_is_told_by_the_events() {
    let mut bench = Bench::new().await;
    bench.settings.deadlines.start = std::time::Duration::from_secs(60);
    let pod = bench.pod("true", |_| {});
    bench.cluster.create_pod(&pod).await.unwrap();
    let attempt = tombolo_agent::executor::kubernetes::names::attempt_of(&pod).unwrap();
    let ended = bench.end(attempt).await;
    println!("{}", ended.message);
    assert_eq!((ended.kind, ended.state), (Kind::StartTimedOut, Error));
    assert!(ended.message.contains("not found"), "{}", ended.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_somebody_deletes() {
    let bench = Bench::new().await;
    let pod = bench.pod("exec sleep 600", |_| {});
    let attempt = bench.start(&pod).await;
    bench.until(attempt, "it runs", |verdict| verdict == "running").await;
    let pods: Api<Pod> = Api::namespaced(bench.admin(), &bench.namespace);
    pods.delete(pod.metadata.name.as_ref().unwrap(), &DeleteParams::default())
        .await
        .unwrap();
    let ended = bench.end(attempt).await;
    println!("{:?}: {}", ended.kind, ended.message);
    // Whatever came first: its end by a signal, or that it is gone.
    assert!(
        matches!(ended.kind, Kind::Deleted | Kind::SupervisorDied | Kind::SystemFailed),
        "{ended:?}"
    );
    assert_eq!(ended.state, Error);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_baseline_job_may_be_root() {
    let bench = Bench::new().await;
    let root = |settings: &mut Settings| {
        settings.pod_security = PodSecurity::Baseline;
        settings.run_as_user = None;
    };
    let pod = bench.pod("test $(id -u) = 0", root);
    let attempt = bench.start(&pod).await;
    bench
        .until(attempt, "it was root", |verdict| verdict == "finishing")
        .await;
}
