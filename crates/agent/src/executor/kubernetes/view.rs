//! What is kept of a pod: the little that a verdict needs, bounded, for there may be thousands.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tombolo_core::id::AttemptId;
use tombolo_core::time::Timestamp;

use super::{names, pod};

/// How many characters of a message are kept.
const MESSAGE_LIMIT: usize = 600;
/// How many characters of a name or reason are kept.
const NAME_LIMIT: usize = 253;

/// A pod of an attempt, as Kubernetes last told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// The attempt that it is for.
    pub attempt: AttemptId,
    /// Its namespace.
    pub namespace: String,
    /// Its UID: another pod of the same name is another.
    pub uid: String,
    /// Where it is on its way.
    pub phase: PodPhase,
    /// Why the pod as a whole is as it is, in Kubernetes' word; empty if it does not say.
    pub reason: String,
    /// The same in a sentence.
    pub message: String,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// Since when it is to be removed.
    pub deleted_at: Option<Timestamp>,
    /// When it ended, as far as this process knows, if it has: an evicted pod does not say it.
    pub ended_at: Option<Timestamp>,
    /// Its node, if it has one.
    pub node: Option<String>,
    /// Since when it has a node.
    pub scheduled_at: Option<Timestamp>,
    /// What the scheduler says if it has none.
    pub unschedulable: Option<String>,
    /// Why somebody disrupts it, if Kubernetes says (from 1.26 on).
    pub disruption: Option<String>,
    /// Whether its node does not answer.
    pub node_silent: bool,
    /// The container that brings the supervisor.
    pub install: ContainerView,
    /// The container that speaks with the agent.
    pub courier: ContainerView,
    /// The job's container.
    pub job: ContainerView,
    /// Since when an image cannot be pulled, and the last that a registry said about it: Kubernetes itself soon forgets both.
    pub pull_failing: Option<PullFailing>,
}

/// The phases of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of Kubernetes")]
pub enum PodPhase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

/// A container, as its node's kubelet last told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerView {
    /// Nobody has told of it; also all containers of a pod that was evicted.
    Untold,
    /// It does not run yet.
    Waiting {
        /// Why, in Kubernetes' word.
        reason: String,
        /// The same in a sentence; may be empty.
        message: String,
    },
    /// It runs.
    Running,
    /// It has ended.
    Ended {
        /// The exit code of its first process.
        exit_code: i32,
        /// The signal that ended its first process, if the runtime says so.
        signal: Option<i32>,
        /// Why, in Kubernetes' word.
        reason: String,
        /// The same in a sentence; may be empty.
        message: String,
    },
}

/// An image that cannot be pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullFailing {
    /// Since when, as far as this process knows.
    pub since: Timestamp,
    /// What the registry said last; empty if nobody has heard it.
    pub words: String,
}

impl PodView {
    /// What is kept of `pod`; none if it is not one of ours. `before` is what was kept of it until `now`.
    pub fn new(pod: &Pod, before: Option<&Self>, now: Timestamp) -> Option<Self> {
        let attempt = names::attempt_of(pod)?;
        let metadata = &pod.metadata;
        let default = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&default);
        let uid = metadata.uid.clone().unwrap_or_default();
        let before = before.filter(|before| before.uid == uid);
        let containers = [
            container(status.init_container_statuses.as_deref(), pod::INSTALL),
            container(status.container_statuses.as_deref(), pod::COURIER),
            container(status.container_statuses.as_deref(), pod::JOB),
        ];
        let pull_failing = pull_failing(&containers, before, now);
        let ended_at = ended_at(status, before, now);
        let [install, courier, job] = containers;
        let scheduled = condition(status, "PodScheduled");
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        Some(Self {
            attempt,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            uid,
            phase: phase(status.phase.as_deref()),
            reason: cut(status.reason.as_deref(), NAME_LIMIT),
            message: cut(status.message.as_deref(), MESSAGE_LIMIT),
            created_at: timestamp(metadata.creation_timestamp.as_ref()),
            deleted_at: timestamp(metadata.deletion_timestamp.as_ref()),
            ended_at,
            node: node.map(|node| cut(Some(&node), NAME_LIMIT)),
            scheduled_at: scheduled.and_then(|condition| {
                let holds = condition.status == "True";
                timestamp(condition.last_transition_time.as_ref()).filter(|_| holds)
            }),
            unschedulable: scheduled.and_then(unschedulable),
            disruption: condition(status, "DisruptionTarget").and_then(disruption),
            node_silent: is_node_silent(status),
            install,
            courier,
            job,
            pull_failing,
        })
    }

    /// The three containers with their names, in the order in which they start.
    pub fn containers(&self) -> [(&'static str, &ContainerView); 3] {
        [
            (pod::INSTALL, &self.install),
            (pod::COURIER, &self.courier),
            (pod::JOB, &self.job),
        ]
    }

    /// Whether the kernel has killed a process of the job's container for its memory: its first, or any other. The exit code
    /// alone does not say so: a command that has lost a child may well end with 0.
    pub fn out_of_memory(&self) -> bool {
        matches!(&self.job, ContainerView::Ended { reason, .. } if reason == "OOMKilled")
    }
}

fn phase(phase: Option<&str>) -> PodPhase {
    match phase {
        None | Some("Pending") => PodPhase::Pending,
        Some("Running") => PodPhase::Running,
        Some("Succeeded") => PodPhase::Succeeded,
        Some("Failed") => PodPhase::Failed,
        Some(_) => PodPhase::Unknown,
    }
}

fn container(statuses: Option<&[ContainerStatus]>, name: &str) -> ContainerView {
    let status = statuses.into_iter().flatten().find(|status| status.name == name);
    match status.and_then(|status| status.state.as_ref()) {
        None => ContainerView::Untold,
        Some(ContainerState {
            terminated: Some(ended),
            ..
        }) => ContainerView::Ended {
            exit_code: ended.exit_code,
            signal: ended.signal,
            reason: cut(ended.reason.as_deref(), NAME_LIMIT),
            message: cut(ended.message.as_deref(), MESSAGE_LIMIT),
        },
        Some(ContainerState { running: Some(_), .. }) => ContainerView::Running,
        Some(ContainerState { waiting, .. }) => {
            let waiting = waiting.as_ref();
            ContainerView::Waiting {
                reason: cut(waiting.and_then(|waiting| waiting.reason.as_deref()), NAME_LIMIT),
                message: cut(waiting.and_then(|waiting| waiting.message.as_deref()), MESSAGE_LIMIT),
            }
        }
    }
}

fn pull_failing(containers: &[ContainerView], before: Option<&PodView>, now: Timestamp) -> Option<PullFailing> {
    let before = before.and_then(|before| before.pull_failing.as_ref());
    let failing = containers.iter().find_map(|container| match container {
        ContainerView::Waiting { reason, message } if is_pull_failure(reason) => Some((reason, message)),
        _ => None,
    });
    let Some((reason, message)) = failing else {
        // Between two tries it looks like any container that is being created.
        let created = containers
            .iter()
            .all(|container| matches!(container, ContainerView::Running | ContainerView::Ended { .. }));
        return before.cloned().filter(|_| !created);
    };
    // Backing off, Kubernetes no longer says why.
    let words = if reason == "ImagePullBackOff" { "" } else { message };
    let known = before.map(|before| before.words.clone()).unwrap_or_default();
    Some(PullFailing {
        since: before.map_or(now, |before| before.since),
        words: if words.is_empty() { known } else { words.to_owned() },
    })
}

/// When the last container of a pod that has ended did so.
fn ended_at(status: &PodStatus, before: Option<&PodView>, now: Timestamp) -> Option<Timestamp> {
    let over = matches!(phase(status.phase.as_deref()), PodPhase::Succeeded | PodPhase::Failed);
    let containers = status.container_statuses.iter().flatten();
    let ends = containers.filter_map(|status| {
        let ended = status.state.as_ref()?.terminated.as_ref()?;
        timestamp(ended.finished_at.as_ref())
    });
    let known = || before.and_then(|before| before.ended_at);
    over.then(|| ends.max().or_else(known).unwrap_or(now))
}

fn is_pull_failure(reason: &str) -> bool {
    matches!(
        reason,
        "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" | "ImageInspectError"
    )
}

fn condition<'status>(status: &'status PodStatus, kind: &str) -> Option<&'status PodCondition> {
    status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == kind)
}

fn unschedulable(condition: &PodCondition) -> Option<String> {
    let waits = condition.status == "False";
    waits.then(|| {
        cut(
            condition.message.as_deref().or(condition.reason.as_deref()),
            MESSAGE_LIMIT,
        )
    })
}

fn disruption(condition: &PodCondition) -> Option<String> {
    let holds = condition.status == "True";
    holds.then(|| {
        cut(
            condition.message.as_deref().or(condition.reason.as_deref()),
            MESSAGE_LIMIT,
        )
    })
}

/// Kubernetes marks all pods of a node that does not answer as not ready, and gives no reason, while their containers count as
/// ready still. A kubelet that says itself that a pod is not ready gives one.
fn is_node_silent(status: &PodStatus) -> bool {
    let is = |kind, value| condition(status, kind).is_some_and(|condition| condition.status == value);
    let reasoned = condition(status, "Ready").is_some_and(|condition| condition.reason.is_some());
    status.reason.as_deref() == Some("NodeLost") || (is("Ready", "False") && is("ContainersReady", "True") && !reasoned)
}

fn timestamp(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|Time(time)| Timestamp(u64::try_from(time.as_millisecond()).unwrap_or(0)))
}

/// One line of at most `limit` characters.
fn cut(text: Option<&str>, limit: usize) -> String {
    let text = text.unwrap_or_default();
    let line: Vec<_> = text.split_whitespace().collect();
    line.join(" ").chars().take(limit).collect()
}

#[cfg(test)]
pub(crate) mod sample {
    use serde_json::{Value, json};

    use super::*;

    /// A pod of ours with a status as the API server has it.
    pub(crate) fn pod(status: Value) -> Pod {
        let assignment = pod::sample::assignment();
        let labels = names::labels(&pod::sample::cluster(), &assignment);
        serde_json::from_value(json!({
            "metadata": {
                "name": names::pod_name(assignment.attempt),
                "namespace": "jobs",
                "uid": "7-7",
                "labels": labels,
                "creationTimestamp": "2026-11-21T15:00:00Z",
            },
            "spec": { "containers": [], "nodeName": "east" },
            "status": status,
        }))
        .unwrap()
    }

    pub(crate) fn view(status: Value) -> PodView {
        PodView::new(&pod(status), None, NOW).unwrap()
    }

    /// Two seconds after the pod was created.
    pub(crate) const NOW: Timestamp = Timestamp(1_795_273_202_000);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::sample::{NOW, pod, view};
    use super::*;

    #[test]
    fn a_pod_of_somebody_else_is_not_kept() {
        assert_eq!(PodView::new(&Pod::default(), None, NOW), None);
    }

    #[test]
    fn the_registrys_words_outlive_the_back_off() {
        let waiting = |reason: &str, message: &str| {
            pod(
                json!({ "containerStatuses": [{ "name": "job", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "waiting": { "reason": reason, "message": message } } }] }),
            )
        };
        let later = |seconds: u64| Timestamp(NOW.0 + seconds * 1000);
        let first = PodView::new(&waiting("ErrImagePull", "none:1:\n not found"), None, NOW).unwrap();
        let second = PodView::new(&waiting("ImagePullBackOff", "Back-off pulling"), Some(&first), later(5)).unwrap();
        let third = PodView::new(&waiting("ContainerCreating", ""), Some(&second), later(9)).unwrap();
        for view in [&first, &second, &third] {
            let failing = view.pull_failing.as_ref().unwrap();
            assert_eq!((failing.since, failing.words.as_str()), (NOW, "none:1: not found"));
        }
        // Another pod of the same name begins anew.
        let mut other = waiting("ImagePullBackOff", "Back-off pulling");
        other.metadata.uid = Some("8-8".to_owned());
        let other = PodView::new(&other, Some(&third), later(9))
            .unwrap()
            .pull_failing
            .unwrap();
        assert_eq!((other.since, other.words.as_str()), (later(9), ""));
    }

    #[test]
    fn a_silent_node_is_told_from_a_pod_that_is_not_ready() {
        let conditions = |ready: serde_json::Value, containers: &str| {
            view(
                json!({ "phase": "Running", "conditions": [ready, { "type": "ContainersReady", "status": containers }] }),
            )
        };
        let silent = json!({ "type": "Ready", "status": "False" });
        let told = json!({ "type": "Ready", "status": "False", "reason": "ContainersNotReady" });
        assert!(conditions(silent.clone(), "True").node_silent);
        assert!(!conditions(silent, "False").node_silent);
        assert!(!conditions(told, "True").node_silent);
        assert!(!conditions(json!({ "type": "Ready", "status": "True" }), "True").node_silent);
    }

    #[test]
    fn when_a_pod_ended_is_told_or_remembered() {
        let ended = |name: &str, at: &str| {
            json!({ "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "terminated": { "exitCode": 0, "finishedAt": at } } })
        };
        let statuses = json!([
            ended("courier", "2026-11-21T15:00:01Z"),
            ended("job", "2026-11-21T15:00:00Z")
        ]);
        let told = view(json!({ "phase": "Succeeded", "containerStatuses": statuses }));
        assert_eq!(told.ended_at, Some(Timestamp(NOW.0 - 1000)));
        let running = view(json!({ "phase": "Running", "containerStatuses": statuses }));
        assert_eq!(running.ended_at, None);
        let evicted = pod(json!({ "phase": "Failed", "reason": "Evicted" }));
        let first = PodView::new(&evicted, Some(&running), NOW).unwrap();
        let second = PodView::new(&evicted, Some(&first), Timestamp(NOW.0 + 5000)).unwrap();
        assert_eq!((first.ended_at, second.ended_at), (Some(NOW), Some(NOW)));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let view = view(json!({ "reason": "r".repeat(9999), "message": format!("a\n{}", "m ".repeat(9999)) }));
        assert_eq!((view.reason.len(), view.message.len()), (NAME_LIMIT, MESSAGE_LIMIT));
        assert!(!view.message.contains('\n'));
    }
}
