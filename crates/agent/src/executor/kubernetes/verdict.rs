//! What the state of a pod means for its attempt: pure, from what was seen of the pod.
//!
//! A courier that speaks knows better: a verdict counts where the courier cannot tell. Infrastructure faults are `error`,
//! faults of whoever wrote the job are `failure`:
//!
//! | kind | state | because |
//! |---|---|---|
//! | [`Kind::OutOfMemory`] | failure | the job used more memory than it asked for |
//! | [`Kind::StorageExceeded`] | failure | the job wrote more than its limit |
//! | [`Kind::ImageMissing`] | failure | the registry says that there is no such image: the job names it |
//! | [`Kind::InvalidImage`] | failure | what the job names is not the reference of an image |
//! | [`Kind::ImageUser`] | failure | the job's image runs as root, or as a user without a number, where that is not allowed |
//! | [`Kind::ImageRefused`] | error | the registry does not answer, or does not let this cluster in |
//! | [`Kind::ImageNeverPulled`] | error | this cluster is set to pull nothing, and the node does not have it |
//! | [`Kind::Unschedulable`] | error | no node took the pod in time |
//! | [`Kind::ContainerRefused`], [`Kind::CannotStart`], [`Kind::StartTimedOut`] | error | the node could not start a container |
//! | [`Kind::Evicted`], [`Kind::NodeRefused`], [`Kind::NodeLost`] | error | the node could not keep the pod |
//! | [`Kind::Deleted`] | error | somebody removed the pod |
//! | [`Kind::DeadlineExceeded`] | error | the supervisor, which keeps the job's own timeout, did not end the pod |
//! | [`Kind::SystemFailed`], [`Kind::SupervisorDied`] | error | one of our own programs ended |

mod ending;
mod starting;

use std::time::Duration;

use tombolo_core::build::TerminalState;
use tombolo_core::time::Timestamp;

use super::settings::Deadlines;
use super::view::{ContainerView, PodPhase, PodView};

/// What a pod's state means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not everything runs yet.
    Waiting {
        /// What it waits for, for people.
        words: String,
        /// When to judge again even if nothing is heard of the pod.
        until: Timestamp,
    },
    /// The job's container runs.
    Running,
    /// The job's container has ended well, and the courier still has something to do.
    Finishing,
    /// Its node does not answer. It may come back, and the pod with it: how long to wait is not Kubernetes' to say, which after
    /// a while only notes that the pod is to go.
    Unreachable {
        /// For people.
        words: String,
    },
    /// Somebody else removes it. It may still ship what it has; [`judge_deleted`] when it is gone.
    Leaving {
        /// For people.
        words: String,
    },
    /// It will not do anything any more.
    Ended(Ended),
}

impl Verdict {
    /// Why the pod's job does not go on; empty if nothing holds it up.
    pub fn words(&self) -> String {
        match self {
            Self::Waiting { words, .. } | Self::Unreachable { words } | Self::Leaving { words } => words.clone(),
            Self::Running | Self::Finishing | Self::Ended(_) => String::new(),
        }
    }
}

/// What becomes of a job that waits for too long.
pub fn patience(limit: Duration) -> String {
    format!("given up after {}", humantime::format_duration(limit))
}

/// How a pod came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What happened.
    pub kind: Kind,
    /// What it means for the attempt.
    pub state: TerminalState,
    /// For people: what, why and what to do about it.
    pub message: String,
}

/// What ended a pod. See the table of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the table above")]
pub enum Kind {
    OutOfMemory,
    StorageExceeded,
    ImageMissing,
    InvalidImage,
    ImageUser,
    ImageRefused,
    ImageNeverPulled,
    Unschedulable,
    ContainerRefused,
    CannotStart,
    StartTimedOut,
    Evicted,
    NodeRefused,
    NodeLost,
    Deleted,
    DeadlineExceeded,
    SystemFailed,
    SupervisorDied,
}

impl Kind {
    /// What it means for the attempt.
    pub const fn state(self) -> TerminalState {
        match self {
            Self::OutOfMemory | Self::StorageExceeded | Self::ImageMissing | Self::InvalidImage | Self::ImageUser => {
                TerminalState::Failure
            }
            _ => TerminalState::Error,
        }
    }
}

impl Ended {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            state: kind.state(),
            message: message.into(),
        }
    }

    /// Whether the pod's events may say more: the status of a pod does not keep everything.
    pub const fn wants_events(&self) -> bool {
        matches!(
            self.kind,
            Kind::ImageRefused | Kind::StartTimedOut | Kind::Unschedulable
        )
    }

    /// The same with what the pod's events say (latest last) where its status does not. May turn a refused image into a
    /// missing one.
    #[must_use]
    pub fn with_events(self, view: &PodView, events: &[String]) -> Self {
        match self.kind {
            Kind::ImageRefused
                if view
                    .pull_failing
                    .as_ref()
                    .is_none_or(|failing| failing.words.is_empty()) =>
            {
                let pull = |event: &&String| event.starts_with("Failed to pull image");
                events
                    .iter()
                    .rev()
                    .find(pull)
                    .map_or(self, |words| starting::pull_failed(view, words))
            }
            Kind::StartTimedOut => match events.last() {
                Some(words) => Self {
                    message: format!("{}; its last event: {words}", self.message),
                    ..self
                },
                None => self,
            },
            _ => self,
        }
    }
}

/// What a pod's state means at `now`, of which a pod that nobody here removes was seen.
pub fn judge(view: &PodView, now: Timestamp, deadlines: &Deadlines) -> Verdict {
    if let Some(ended) = ending::of_pod(view) {
        return Verdict::Ended(ended);
    }
    if let Some(ended) = ending::of_containers(view) {
        return Verdict::Ended(ended);
    }
    if view.node_silent {
        let node = view.node.as_deref().unwrap_or("unknown");
        return Verdict::Unreachable {
            words: format!("the node `{node}` does not answer; {}", patience(deadlines.node_lost)),
        };
    }
    if view.deleted_at.is_some() {
        return Verdict::Leaving {
            words: ending::leaving(view),
        };
    }
    match (&view.job, &view.courier) {
        (ContainerView::Ended { .. }, _) => Verdict::Finishing,
        (ContainerView::Running, _) => Verdict::Running,
        _ => starting::judge(view, now, deadlines),
    }
}

/// What keeps a pod from running that is not just on its way, for people; none if nothing does.
pub fn trouble(view: &PodView) -> Option<String> {
    match (&view.unschedulable, &view.pull_failing) {
        (Some(words), _) if view.node.is_none() => Some(format!("waits for a node: {words}")),
        (_, Some(failing)) if !failing.words.is_empty() => Some(format!("cannot pull an image: {}", failing.words)),
        _ => None,
    }
}

/// What it means that a pod that nobody here removed is gone. `view`: what was last seen of it.
pub fn judge_deleted(view: &PodView) -> Ended {
    ending::of_pod(view)
        .or_else(|| ending::of_containers(view))
        .unwrap_or_else(|| {
            if view.node_silent {
                node_lost(view)
            } else {
                Ended::new(Kind::Deleted, ending::leaving(view))
            }
        })
}

/// The end of a pod whose node has not answered for longer than anybody wants to wait.
pub fn node_lost(view: &PodView) -> Ended {
    let node = view.node.as_deref().unwrap_or("unknown");
    Ended::new(
        Kind::NodeLost,
        format!(
            "the node `{node}` was lost while the job ran on it; look at the node (`kubectl describe node {node}`), and run the job again"
        ),
    )
}

fn after(start: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(
        start
            .0
            .saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
    )
}

fn is_over(view: &PodView) -> bool {
    matches!(view.phase, PodPhase::Failed | PodPhase::Succeeded)
}

#[cfg(test)]
mod tests;
