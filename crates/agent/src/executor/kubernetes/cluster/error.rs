//! What the API server refuses, and why.

use std::time::Duration;

use kube::core::Status;

use super::rights::Right;

/// Why something cannot be had of the API server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way to talk to one.
    #[error("no Kubernetes cluster can be used: {0}; run the agent in a cluster, or name a kubeconfig")]
    Configuration(String),
    /// The agent has no right to.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The namespace's quota is used up. It may have room later.
    #[error("the quota of the namespace has no room for the job: {message}")]
    Quota {
        /// The API server's words.
        message: String,
    },
    /// What was asked for can never be.
    #[error("the cluster refuses to {right}: {message}")]
    Rejected {
        /// What was asked for.
        right: String,
        /// The API server's words.
        message: String,
    },
    /// The name belongs to something else.
    #[error("the name `{name}` is taken in the namespace `{namespace}`: {reason}")]
    Taken {
        /// The name.
        name: String,
        /// Where.
        namespace: String,
        /// By what.
        reason: &'static str,
    },
    /// There is no such thing.
    #[error("the {what} cannot be used: {reason}")]
    Missing {
        /// What.
        what: String,
        /// Why not.
        reason: String,
    },
    /// There is one of this name.
    #[error("it exists already")]
    Exists,
    /// The API server did not do it in time. It may do so later.
    #[error("cannot {right}: the API server did not answer well for {}: {reason}", humantime::format_duration(*waited))]
    Unavailable {
        /// What was asked for.
        right: String,
        /// For how long.
        waited: Duration,
        /// The last that was heard.
        reason: String,
    },
}

/// A right that the agent lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the agent has no right to {right}; add to its Role: {}. The API server says: {message}", right.as_rule())]
pub struct Denied {
    /// Which.
    pub right: Right,
    /// The API server's words.
    pub message: String,
}

/// What an answer means.
pub(super) enum Answer {
    /// It will not change.
    Final(Error),
    /// Another try may go better.
    Later {
        reason: String,
        /// When, if the API server says.
        pause: Option<Duration>,
    },
}

impl Answer {
    pub(super) fn new(error: kube::Error, right: &Right) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(*status, right),
            kube::Error::BuildRequest(_) | kube::Error::InferConfig(_) | kube::Error::InferKubeconfig(_) => {
                Self::Final(Error::Configuration(error.to_string()))
            }
            error => Self::later(error.to_string()),
        }
    }

    fn later(reason: String) -> Self {
        Self::Later { reason, pause: None }
    }

    fn of_status(status: Status, right: &Right) -> Self {
        let Status {
            code,
            message,
            reason,
            details,
            ..
        } = status;
        let rejected = |message| Error::Rejected {
            right: right.to_string(),
            message,
        };
        let ended = match code {
            409 if reason == "AlreadyExists" => Error::Exists,
            // Two of a quota's bookings have met, or a precondition does not hold: only the first can be tried again.
            409 if right.is_creation() => return Self::later(message),
            409 => Error::Exists,
            404 if right.is_creation() => rejected(format!(
                "{message}; create the namespace, or name another in `kubernetes.namespace`"
            )),
            404 => Error::Missing {
                what: right.to_string(),
                reason: message,
            },
            403 if message.contains("quota") => Error::Quota { message },
            // A namespace gets its service account a moment after its creation.
            403 if message.contains("error looking up service account") => return Self::later(message),
            403 if !message.contains("cannot ") => rejected(message),
            401 | 403 => Error::Denied(Denied {
                right: right.clone(),
                message,
            }),
            408 | 429 | 500.. => {
                let seconds = details.map_or(0, |details| details.retry_after_seconds);
                let pause = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
                return Self::Later { reason: message, pause };
            }
            _ => rejected(message),
        };
        Self::Final(ended)
    }
}
