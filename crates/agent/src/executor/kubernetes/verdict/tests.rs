//! On what a real cluster (Kubernetes 1.20, containerd) said of each fault, with the containers named as ours are.

mod waiting;

use serde_json::{Value, json};

use super::*;
use crate::executor::kubernetes::view::sample::{NOW, pod, view};

const DEADLINES: Deadlines = Deadlines {
    schedule: Duration::from_secs(600),
    image_pull: Duration::from_secs(120),
    node_lost: Duration::from_secs(300),
    start: Duration::from_secs(1800),
};

fn conditions(ready: &str) -> Value {
    json!([
        { "status": "True", "type": "Initialized" },
        { "message": "containers with unready status: [job]", "reason": "ContainersNotReady", "status": ready, "type": "Ready" },
        { "message": "containers with unready status: [job]", "reason": "ContainersNotReady", "status": ready, "type": "ContainersReady" },
        { "lastTransitionTime": "2026-11-21T15:00:00Z", "status": "True", "type": "PodScheduled" },
    ])
}

fn container(name: &str, state: Value) -> Value {
    json!({ "image": "docker.io/library/busybox:1", "imageID": "", "lastState": {}, "name": name, "ready": false,
        "restartCount": 0, "started": false, "state": state })
}

fn running() -> Value {
    json!({ "running": { "startedAt": "2026-11-21T15:04:11Z" } })
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "waiting": { "message": message, "reason": reason } })
}

fn ended(exit_code: i32, reason: &str, message: &str) -> Value {
    json!({ "terminated": { "exitCode": exit_code, "finishedAt": "2026-11-21T15:04:12Z", "reason": reason, "message": message,
        "startedAt": "2026-11-21T15:04:11Z" } })
}

fn status(phase: &str, courier: Value, job: Value) -> Value {
    json!({
        "phase": phase,
        "conditions": conditions("False"),
        "initContainerStatuses": [container("install", ended(0, "Completed", ""))],
        "containerStatuses": [container("courier", courier), container("job", job)],
    })
}

fn pending(job: Value) -> Value {
    status("Pending", running(), job)
}

fn ends(status: Value) -> Ended {
    let later = Timestamp(NOW.0 + 2000 * 1000);
    match judge(&view(status.clone()), later, &DEADLINES) {
        Verdict::Ended(ended) => match judge(&view(status.clone()), NOW, &DEADLINES) {
            Verdict::Ended(_) | Verdict::Waiting { .. } => ended,
            verdict => panic!("{status}: at first {verdict:?}"),
        },
        verdict => panic!("{status}: {verdict:?}"),
    }
}

const NOT_FOUND: &str = "rpc error: code = NotFound desc = failed to pull and unpack image \"docker.io/nothing/none:1\": failed to \
    resolve reference \"docker.io/nothing/none:1\": docker.io/nothing/none:1: not found";
const UNAUTHORIZED: &str = "rpc error: code = Unknown desc = failed to pull and unpack image \
    \"registry.tombolo.test:5001/busybox:1\": failed to resolve reference: pulling from host registry.tombolo.test:5001 failed with \
    status code [manifests 1]: 401 Unauthorized";
const NO_COMMAND: &str = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: \
    unable to start container process: exec: \"/not/there\": stat /not/there: no such file or directory: unknown";
const NO_HOST: &str = "rpc error: code = Unknown desc = failed to do request: Head \"https://nowhere/v2/a/manifests/1\": dial tcp: lookup \
    nowhere: host not found";

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_fault_has_its_kind_state_and_words() {
    use Kind::*;
    use TerminalState::{Error, Failure};
    for (status, kind, state, words) in [
        (
            status("Running", running(), ended(137, "OOMKilled", "")),
            OutOfMemory,
            Failure,
            "memory",
        ),
        (
            status("Running", running(), ended(137, "Error", "")),
            SupervisorDied,
            Error,
            "signal 9",
        ),
        (
            status("Running", running(), ended(255, "Unknown", "")),
            SupervisorDied,
            Error,
            "exit code 255",
        ),
        (
            status("Running", running(), ended(3, "Error", "it says")),
            SupervisorDied,
            Error,
            "exit code 3): it says",
        ),
        (
            status("Succeeded", ended(0, "Completed", ""), ended(0, "Completed", "")),
            SupervisorDied,
            Error,
            "without telling",
        ),
        (
            status("Running", ended(1, "Error", "no agent"), running()),
            SystemFailed,
            Error,
            "`courier` failed (exit code 1): no agent",
        ),
        (
            status("Running", ended(137, "OOMKilled", ""), running()),
            SystemFailed,
            Error,
            "`courier`",
        ),
        (
            json!({ "phase": "Failed", "reason": "Evicted", "conditions": [],
                "message": "Pod ephemeral local storage usage exceeds the total limit of containers 50Mi. " }),
            StorageExceeded,
            Failure,
            "50Mi",
        ),
        (
            json!({ "phase": "Failed", "reason": "Evicted", "conditions": [],
                "message": "Usage of EmptyDir volume \"sandbox\" exceeds the limit \"50Mi\". " }),
            StorageExceeded,
            Failure,
            "sandbox",
        ),
        (
            json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. " }),
            Evicted,
            Error,
            "low on resource: memory",
        ),
        (
            json!({ "phase": "Failed", "reason": "DeadlineExceeded", "conditions": [],
                "message": "Pod was active on the node longer than the specified deadline",
                "containerStatuses": [container("job", running())] }),
            DeadlineExceeded,
            Error,
            "longer than the specified deadline",
        ),
        (
            json!({ "phase": "Failed", "reason": "OutOfcpu", "message": "Pod Node didn't have enough resource: cpu" }),
            NodeRefused,
            Error,
            "OutOfcpu",
        ),
        (
            json!({ "phase": "Failed", "reason": "NodeLost" }),
            NodeLost,
            Error,
            "`east` was lost",
        ),
        (json!({ "phase": "Failed" }), SupervisorDied, Error, "does not say"),
        (
            pending(waiting("ErrImagePull", NOT_FOUND)),
            ImageMissing,
            Failure,
            "docker.io/nothing/none:1: not found",
        ),
        (
            pending(waiting("ErrImagePull", UNAUTHORIZED)),
            ImageRefused,
            Error,
            "image_pull_secrets",
        ),
        (
            pending(waiting("ErrImagePull", NO_HOST)),
            ImageRefused,
            Error,
            "reach the registry",
        ),
        (
            pending(waiting("ImagePullBackOff", "Back-off pulling image \"a\"")),
            ImageRefused,
            Error,
            "does not say why",
        ),
        (
            pending(waiting(
                "InvalidImageName",
                "couldn't parse image reference \"UPPER:1\"",
            )),
            InvalidImage,
            Failure,
            "UPPER:1",
        ),
        (
            pending(waiting(
                "ErrImageNeverPull",
                "Container image \"a:1\" is not present with pull policy of Never",
            )),
            ImageNeverPulled,
            Error,
            "pull policy of Never",
        ),
        (
            pending(waiting("CreateContainerConfigError", "configmap \"none\" not found")),
            ContainerRefused,
            Error,
            "configmap \"none\" not found",
        ),
        (
            pending(waiting(
                "CreateContainerConfigError",
                "container has runAsNonRoot and image will run as root (pod: \"a\", container: job)",
            )),
            ImageUser,
            Failure,
            "run_as_user",
        ),
        (
            status("Failed", running(), ended(128, "StartError", NO_COMMAND)),
            CannotStart,
            Error,
            "no such file or directory",
        ),
        (
            pending(waiting("RunContainerError", "no runtime")),
            CannotStart,
            Error,
            "no runtime",
        ),
        (
            json!({ "phase": "Failed", "conditions": conditions("False"),
                "initContainerStatuses": [container("install", ended(4, "Error", ""))],
                "containerStatuses": [container("job", json!({ "waiting": { "reason": "PodInitializing" } }))] }),
            SystemFailed,
            Error,
            "`install` failed (exit code 4)",
        ),
        (
            json!({ "phase": "Pending", "conditions": conditions("False"),
                "initContainerStatuses": [container("install", waiting("ErrImagePull", NOT_FOUND))],
                "containerStatuses": [container("job", json!({ "waiting": { "reason": "PodInitializing" } }))] }),
            ImageRefused,
            Error,
            "`kubernetes.image`",
        ),
        (
            json!({ "phase": "Pending", "conditions": [{ "message": "0/1 nodes are available: 1 Insufficient cpu.",
                "reason": "Unschedulable", "status": "False", "type": "PodScheduled" }] }),
            Unschedulable,
            Error,
            "0/1 nodes are available: 1 Insufficient cpu.",
        ),
        (
            pending(json!({ "waiting": { "reason": "ContainerCreating" } })),
            StartTimedOut,
            Error,
            "(ContainerCreating)",
        ),
        (
            json!({ "phase": "Pending" }),
            StartTimedOut,
            Error,
            "waits for its node",
        ),
    ] {
        let ended = ends(status.clone());
        assert_eq!((ended.kind, ended.state), (kind, state), "{status}: {}", ended.message);
        assert!(ended.message.contains(words), "{status}: {}", ended.message);
    }
}

#[test]
fn while_all_is_well_nothing_ends() {
    for (status, verdict) in [
        (status("Running", running(), running()), Verdict::Running),
        // A command that has lost a child to the kernel, and a supervisor that goes on.
        (
            status("Running", running(), ended(0, "OOMKilled", "")),
            Verdict::Finishing,
        ),
        (
            status("Running", running(), ended(0, "Completed", "")),
            Verdict::Finishing,
        ),
    ] {
        assert_eq!(judge(&view(status.clone()), NOW, &DEADLINES), verdict, "{status}");
    }
}

#[test]
fn waiting_is_told_in_words() {
    for (status, words) in [
        (json!({}), "node to take it"),
        (
            pending(json!({ "waiting": { "reason": "PodInitializing" } })),
            "supervisor",
        ),
        (pending(waiting("ErrImagePull", UNAUTHORIZED)), "401 Unauthorized"),
        (
            json!({ "conditions": [{ "message": "0/1 nodes are available", "status": "False", "type": "PodScheduled" }] }),
            "waits for a node: 0/1 nodes are available",
        ),
    ] {
        match judge(&view(status.clone()), NOW, &DEADLINES) {
            Verdict::Waiting { words: said, until } => {
                assert!(said.contains(words) && until > NOW, "{status}: {said}");
            }
            verdict => panic!("{status}: {verdict:?}"),
        }
    }
}

#[test]
fn answers_that_will_not_change_are_doubted_for_a_shorter_time() {
    for (words, seconds) in [(NOT_FOUND, 20), (UNAUTHORIZED, 20), (NO_HOST, 120)] {
        let view = view(pending(waiting("ErrImagePull", words)));
        let is_over = |after: u64| {
            matches!(
                judge(&view, Timestamp(NOW.0 + after * 1000), &DEADLINES),
                Verdict::Ended(_)
            )
        };
        assert!(!is_over(seconds - 1) && is_over(seconds), "{words}");
    }
}

#[test]
fn a_pod_that_somebody_removes() {
    let mut leaving = pod(status("Running", running(), running()));
    leaving.metadata.deletion_timestamp = leaving.metadata.creation_timestamp.clone();
    let leaving = PodView::new(&leaving, None, NOW).unwrap();
    assert!(matches!(judge(&leaving, NOW, &DEADLINES), Verdict::Leaving { .. }));
    // Its processes die of being removed, and of nothing else.
    let mut killed = pod(status("Running", ended(143, "Error", ""), ended(137, "Error", "")));
    killed.metadata.deletion_timestamp = killed.metadata.creation_timestamp.clone();
    let killed = PodView::new(&killed, None, NOW).unwrap();
    assert!(matches!(judge(&killed, NOW, &DEADLINES), Verdict::Ended(ended) if ended.kind == Kind::Deleted));
    let gone = judge_deleted(&leaving);
    assert_eq!((gone.kind, gone.state), (Kind::Deleted, TerminalState::Error));
    assert!(gone.message.contains("drained"), "{}", gone.message);
    let evicted = json!({ "phase": "Running", "conditions": [{ "type": "DisruptionTarget", "status": "True",
        "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting" }] });
    assert!(judge_deleted(&view(evicted)).message.contains("Eviction API: evicting"));
    // What was known of its end is not forgotten with it.
    assert_eq!(
        judge_deleted(&view(status("Running", running(), ended(137, "OOMKilled", "")))).kind,
        Kind::OutOfMemory
    );
}

#[test]
fn events_say_what_the_status_forgot() {
    let backing_off = view(pending(waiting("ImagePullBackOff", "Back-off pulling image \"a\"")));
    let later = Timestamp(NOW.0 + 2000 * 1000);
    let Verdict::Ended(ended) = judge(&backing_off, later, &DEADLINES) else {
        panic!()
    };
    assert!(ended.wants_events());
    let events = [
        "Pulling image \"a\"".to_owned(),
        format!("Failed to pull image \"a\": {NOT_FOUND}"),
        "Error: ErrImagePull".to_owned(),
    ];
    let explained = ended.clone().with_events(&backing_off, &events);
    assert_eq!(
        (explained.kind, explained.state),
        (Kind::ImageMissing, TerminalState::Failure)
    );
    assert_eq!(ended.clone().with_events(&backing_off, &[]), ended);

    let creating = view(pending(json!({ "waiting": { "reason": "ContainerCreating" } })));
    let Verdict::Ended(ended) = judge(&creating, later, &DEADLINES) else {
        panic!()
    };
    let events = ["MountVolume.SetUp failed for volume \"v\" : secret \"none\" not found".to_owned()];
    assert!(
        ended
            .with_events(&creating, &events)
            .message
            .ends_with("secret \"none\" not found")
    );
}
