//! Why one end closes the connection.

use std::time::Duration;

use crate::control::Refusal;
use crate::id::AttemptId;

/// Why one end closes the connection. The other end connects again and both resynchronise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The agent did not say hello in time.
    #[error("no hello within {0:?}")]
    HelloMissing(Duration),
    /// The master did not answer the hello in time.
    #[error("no welcome within {0:?}")]
    WelcomeMissing(Duration),
    /// Nothing was heard of the other end for too long.
    #[error("nothing heard for {0:?}")]
    Silent(Duration),
    /// A frame that has no place in the present state of the link.
    #[error("unexpected frame `{frame}`: {why}")]
    Unexpected {
        /// Its kind.
        frame: &'static str,
        /// What is wrong with it here.
        why: &'static str,
    },
    /// An attempt that is told of twice in one hello.
    #[error("the hello lists attempt {0} twice")]
    RepeatedAttempt(AttemptId),
    /// An agent that says it skipped a job.
    #[error("attempt {0} is reported as skipped, which no agent decides")]
    SkippedByAgent(AttemptId),
    /// A limit was passed.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The control plane did not take the hello, or the session is over there.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
}
