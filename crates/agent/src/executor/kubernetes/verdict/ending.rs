//! Pods that have come to an end.

use std::ops::RangeInclusive;

use super::{Ended, Kind, is_over};
use crate::executor::kubernetes::pod;
use crate::executor::kubernetes::view::{ContainerView, PodPhase, PodView};

/// What a container's exit code is when a signal ended it.
const CODES_OF_SIGNALS: RangeInclusive<i32> = 129..=192;

/// What the pod as a whole says. An evicted pod has lost all that was known of its containers.
pub(super) fn of_pod(view: &PodView) -> Option<Ended> {
    if view.phase != PodPhase::Failed || view.reason.is_empty() {
        return None;
    }
    let said = if view.message.is_empty() {
        &view.reason
    } else {
        &view.message
    };
    let ended = match view.reason.as_str() {
        "Evicted" if is_own_storage(said) => Ended::new(
            Kind::StorageExceeded,
            format!("the job wrote more to the disk than it may: {said} Write less, or ask for more ephemeral storage"),
        ),
        "Evicted" => Ended::new(
            Kind::Evicted,
            format!("the node `{}` had to evict the job: {said} Run it again", node(view)),
        ),
        "DeadlineExceeded" => Ended::new(
            Kind::DeadlineExceeded,
            format!("the pod was ended at its last deadline, long after the job's own timeout: {said}"),
        ),
        "NodeLost" => super::node_lost(view),
        "Shutdown" | "NodeShutdown" | "Terminated" | "Preempting" => Ended::new(
            Kind::Evicted,
            format!("the node `{}` gave the job up: {said}; run it again", node(view)),
        ),
        // OutOfcpu, OutOfmemory, OutOfpods, NodeAffinity, UnexpectedAdmissionError: scheduler and kubelet disagreed.
        reason => Ended::new(
            Kind::NodeRefused,
            format!(
                "the node `{}` refused the job's pod ({reason}): {said}; run it again",
                node(view)
            ),
        ),
    };
    Some(ended)
}

/// Whether it was the pod's own use of the disk, and not that of the whole node.
fn is_own_storage(message: &str) -> bool {
    [
        "ephemeral local storage usage exceeds",
        "exceeded its local ephemeral storage limit",
        "Usage of EmptyDir volume",
    ]
    .iter()
    .any(|words| message.contains(words))
}

/// What the containers say.
pub(super) fn of_containers(view: &PodView) -> Option<Ended> {
    let own = [(pod::INSTALL, &view.install), (pod::COURIER, &view.courier)];
    let failed = own.into_iter().find_map(|(name, container)| match container {
        ContainerView::Ended {
            exit_code,
            reason,
            message,
            ..
        } if *exit_code != 0 => Some(own_failed(name, *exit_code, reason, message)),
        _ => None,
    });
    let ended = of_job(view).or(failed)?;
    // What is removed gets signals, and dies of them: that is not why it ended.
    let removed = view.deleted_at.is_some() && matches!(ended.kind, Kind::SupervisorDied | Kind::SystemFailed);
    Some(if removed {
        Ended::new(Kind::Deleted, leaving(view))
    } else {
        ended
    })
}

fn of_job(view: &PodView) -> Option<Ended> {
    let ContainerView::Ended {
        exit_code,
        signal,
        reason,
        message,
    } = &view.job
    else {
        // Kubernetes has given the pod up and no longer knows what became of it.
        let unknown = is_over(view) && view.reason.is_empty() && view.job == ContainerView::Untold;
        return unknown.then(|| {
            Ended::new(
                Kind::SupervisorDied,
                "the pod has ended, and Kubernetes does not say how; run the job again",
            )
        });
    };
    if matches!(reason.as_str(), "StartError" | "ContainerCannotRun") {
        return Some(Ended::new(
            Kind::CannotStart,
            format!(
                "the job's container cannot be started: {message}; is the image made for the processors of this cluster's nodes?"
            ),
        ));
    }
    if *exit_code == 0 {
        // Whether it has told everything, the courier knows as long as it lives.
        let alone = matches!(view.courier, ContainerView::Ended { .. });
        return alone.then(|| {
            Ended::new(
                Kind::SupervisorDied,
                "the pod has ended without telling how the command went; run the job again",
            )
        });
    }
    if reason == "OOMKilled" {
        return Some(out_of_memory());
    }
    // 255 is said of a container whose end nobody saw, after its node began anew.
    let died_of = || CODES_OF_SIGNALS.contains(exit_code).then(|| exit_code - 128);
    let how = match signal.or_else(died_of) {
        Some(signal) => format!("killed by signal {signal}"),
        None => format!("exit code {exit_code}"),
    };
    let said = if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    };
    Some(Ended::new(
        Kind::SupervisorDied,
        format!("the supervisor of the command died ({how}){said}; run the job again"),
    ))
}

fn out_of_memory() -> Ended {
    Ended::new(
        Kind::OutOfMemory,
        "the job was killed because it used more memory than it asked for; have it use less, or give it more in `resources`",
    )
}

fn own_failed(name: &str, exit_code: i32, reason: &str, message: &str) -> Ended {
    let said = if message.is_empty() { reason } else { message };
    Ended::new(
        Kind::SystemFailed,
        format!("the pod's container `{name}` failed (exit code {exit_code}): {said}; look at the agent's log"),
    )
}

/// What is said of a pod that somebody else removes.
pub(super) fn leaving(view: &PodView) -> String {
    match &view.disruption {
        Some(words) => format!(
            "the job's pod was removed from the node `{}`: {words}; run the job again",
            node(view)
        ),
        None => format!(
            "the job's pod was removed from the node `{}` by somebody else: by hand, or because the node was drained; run the job again",
            node(view)
        ),
    }
}

fn node(view: &PodView) -> &str {
    view.node.as_deref().unwrap_or("unknown")
}
