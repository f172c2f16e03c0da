//! Pods that do not run yet, and those that never will.

use std::time::Duration;

use tombolo_core::time::Timestamp;

use super::{Ended, Kind, Verdict, after, patience};
use crate::executor::kubernetes::pod;
use crate::executor::kubernetes::settings::Deadlines;
use crate::executor::kubernetes::view::{ContainerView, PodView};

/// How long an answer that will hardly change is doubted: a parent job may just have pushed the image.
const DOUBT: Duration = Duration::from_secs(20);

/// How long a pod goes without being judged again while it starts.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

pub(super) fn judge(view: &PodView, now: Timestamp, deadlines: &Deadlines) -> Verdict {
    let start = view.created_at.unwrap_or(now);
    if let Some(words) = view
        .unschedulable
        .as_ref()
        .filter(|_| view.node.is_none() || view.scheduled_at.is_none())
    {
        return wait_or(
            now,
            after(start, deadlines.schedule),
            format!(
                "waits for a node: {}; {}",
                words.trim_end_matches('.'),
                patience(deadlines.schedule)
            ),
            || unschedulable(words, deadlines),
        );
    }
    for (name, container) in view.containers() {
        if let ContainerView::Waiting { reason, message } = container
            && let Some(ended) = hopeless(name, reason, message)
        {
            return Verdict::Ended(ended);
        }
    }
    if let Some(failing) = &view.pull_failing {
        let definite = is_missing(&failing.words) || is_forbidden(&failing.words);
        let lasts = if definite {
            deadlines.image_pull.min(DOUBT)
        } else {
            deadlines.image_pull
        };
        let said = match failing.words.as_str() {
            "" => "the node does not say why",
            said => said,
        };
        let words = format!("cannot pull an image: {said}; {}", patience(lasts));
        return wait_or(now, after(failing.since, lasts), words, || {
            pull_failed(view, &failing.words)
        });
    }
    let placed = view.scheduled_at.unwrap_or(start);
    let words = format!("{}; {}", step(view), patience(deadlines.start));
    wait_or(now, after(placed, deadlines.start), words, || {
        start_timed_out(view, deadlines)
    })
}

/// Waiting until `deadline`, and then what `end` says.
fn wait_or(now: Timestamp, deadline: Timestamp, words: String, end: impl FnOnce() -> Ended) -> Verdict {
    if now >= deadline {
        return Verdict::Ended(end());
    }
    let until = deadline.min(after(now, LOOK_AGAIN));
    Verdict::Waiting { words, until }
}

fn unschedulable(words: &str, deadlines: &Deadlines) -> Ended {
    let waited = humantime::format_duration(deadlines.schedule);
    Ended::new(
        Kind::Unschedulable,
        format!("no node took the job within {waited}: {words} Ask for less, or give the cluster nodes that fit"),
    )
}

/// What waiting will not mend.
fn hopeless(name: &str, reason: &str, message: &str) -> Option<Ended> {
    let ended = match reason {
        // Ours is set by whoever runs the cluster.
        "InvalidImageName" if name == pod::JOB => Ended::new(
            Kind::InvalidImage,
            format!("the job's image is not a valid reference: {message}; mend `image` in the job file"),
        ),
        "InvalidImageName" => Ended::new(
            Kind::ImageRefused,
            format!("`kubernetes.image` is not a valid reference: {message}"),
        ),
        "ErrImageNeverPull" => Ended::new(
            Kind::ImageNeverPulled,
            format!(
                "{message}: put it on the nodes, or set the pull policy of the agent's configuration to `if_not_present`"
            ),
        ),
        "CreateContainerConfigError" if message.contains("runAsNonRoot") => Ended::new(
            Kind::ImageUser,
            format!(
                "{message}: build the image with a numeric USER, set `kubernetes.run_as_user`, or allow the project \
                 `pod_security = \"baseline\"`"
            ),
        ),
        "CreateContainerConfigError" => Ended::new(
            Kind::ContainerRefused,
            format!("the node cannot make the container `{name}`: {message}"),
        ),
        "CreateContainerError" | "RunContainerError" | "PreCreateHookError" | "PreStartHookError" => Ended::new(
            Kind::CannotStart,
            format!("the container `{name}` cannot be started: {message}"),
        ),
        _ => return None,
    };
    Some(ended)
}

/// The end of a pod whose image cannot be pulled. `words`: what the registry says.
pub(super) fn pull_failed(view: &PodView, words: &str) -> Ended {
    let own = |container: &ContainerView| matches!(container, ContainerView::Waiting { reason, .. } if reason.starts_with("ErrImage") || reason == "ImagePullBackOff");
    if own(&view.install) || own(&view.courier) {
        return Ended::new(
            Kind::ImageRefused,
            format!("the image of tombolo itself (`kubernetes.image`) cannot be pulled: {words}"),
        );
    }
    if is_missing(words) {
        return Ended::new(
            Kind::ImageMissing,
            format!("the job's image does not exist: {words}; mend `image` in the job file, or push the image"),
        );
    }
    let hint = if is_forbidden(words) {
        "give the cluster credentials for the registry in `kubernetes.image_pull_secrets`"
    } else {
        "can the nodes reach the registry?"
    };
    let said = if words.is_empty() {
        "the node does not say why"
    } else {
        words
    };
    Ended::new(
        Kind::ImageRefused,
        format!("the job's image cannot be pulled: {said}; {hint}"),
    )
}

/// Whether a registry says that there is no such image. Some say the same of what one must not see; then they add that.
fn is_missing(words: &str) -> bool {
    ["not found", "manifest unknown", "name unknown", "does not exist"]
        .iter()
        .any(|said| words.contains(said))
        && !is_network(words)
}

/// `host not found` is nothing that the registry has said.
fn is_network(words: &str) -> bool {
    ["no such host", "dial tcp", "lookup ", "x509", "tls:"]
        .iter()
        .any(|said| words.contains(said))
}

fn is_forbidden(words: &str) -> bool {
    [
        "401",
        "403",
        "nauthorized",
        "denied",
        "orbidden",
        "authentication required",
    ]
    .iter()
    .any(|said| words.contains(said))
}

fn start_timed_out(view: &PodView, deadlines: &Deadlines) -> Ended {
    let waited = humantime::format_duration(deadlines.start);
    Ended::new(
        Kind::StartTimedOut,
        format!("the pod did not start within {waited}: it {}", step(view)),
    )
}

/// How far a pod is on its way to running.
fn step(view: &PodView) -> String {
    let waiting = view
        .containers()
        .into_iter()
        .find_map(|(name, container)| match container {
            ContainerView::Waiting { reason, message } => Some((name, reason, message)),
            _ => None,
        });
    match waiting {
        None if view.node.is_none() => "waits for a node".to_owned(),
        None => "waits for its node to take it".to_owned(),
        Some((pod::JOB, reason, _)) if reason == "PodInitializing" => "gets its supervisor".to_owned(),
        Some((name, reason, message)) if message.is_empty() => format!("waits for its container `{name}` ({reason})"),
        Some((name, _, message)) => format!("waits for its container `{name}`: {message}"),
    }
}
