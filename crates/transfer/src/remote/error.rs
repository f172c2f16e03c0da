use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};

use crate::flow::Interrupted;

/// Why an artifact was not read or handed over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was tried again and again, in vain.
    #[error("the agent did not {what} (tried for {} s): {reason}", .waited.as_secs())]
    Unreachable {
        /// What was asked of it.
        what: &'static str,
        /// What the last attempt said.
        reason: String,
        /// How long it was tried.
        waited: Duration,
    },
    /// It says no, and would say so again.
    #[error("the agent does not {what}: {reason}")]
    Refused {
        /// What was asked of it.
        what: &'static str,
        /// The kind of its answer.
        code: Code,
        /// What it said.
        reason: String,
    },
    /// What came is not what was asked for.
    #[error("the agent sent what was not asked for: {0}")]
    Damaged(String),
    /// The folder cannot be packed.
    #[error(transparent)]
    Pack(#[from] tombolo_artifact::pack::Error),
    /// The artifact cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] tombolo_artifact::unpack::Error),
    /// Packing or unpacking was ended by a fault of this program, or by its end.
    #[error("{0} was interrupted")]
    Interrupted(&'static str),
}

impl From<Interrupted> for Error {
    fn from(Interrupted(what): Interrupted) -> Self {
        Self::Interrupted(what)
    }
}

/// How long an agent is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For one call.
    pub call: Duration,
    /// For one thing with all its repetitions.
    pub operation: Duration,
}

impl Default for Patience {
    /// Two minutes for a call, an hour for all: an agent that is upgraded, or whose node is replaced, is back before.
    fn default() -> Self {
        Self {
            call: Duration::from_secs(120),
            operation: Duration::from_secs(60 * 60),
        }
    }
}

/// The pauses between attempts: with jitter, so that the pods of an agent that was away do not come back as one.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_secs(5))
    .without_max_times()
    .with_jitter();

impl Patience {
    /// Repeats `call` until it succeeds, is refused for good, or the patience is over. `what` completes "did not ...".
    pub async fn spend<T, Call>(&self, what: &'static str, call: impl Fn() -> Call) -> Result<T, Error>
    where
        Call: Future<Output = Result<T, Status>>,
    {
        let began = Instant::now();
        let mut pauses = PAUSES.build();
        loop {
            let left = self.operation.saturating_sub(began.elapsed());
            let status = match timeout(self.call.min(left), call()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            if is_final(status.code()) {
                return Err(Error::Refused {
                    what,
                    code: status.code(),
                    reason: words(&status),
                });
            }
            let pause = pauses.next().unwrap_or(Duration::from_secs(5));
            let waited = began.elapsed();
            if waited + pause >= self.operation {
                let reason = words(&status);
                return Err(Error::Unreachable { what, reason, waited });
            }
            tracing::debug!(code = %status.code(), reason = status.message(), ?pause, "the agent did not {what}");
            sleep(pause).await;
        }
    }
}

/// Whether the same call would get the same answer. A connection that breaks shows as several others, and
/// `FAILED_PRECONDITION` means "not yet".
const fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
            | Code::OutOfRange
            | Code::DataLoss
    )
}

fn words(status: &Status) -> String {
    if status.message().is_empty() {
        status.code().to_string()
    } else {
        status.message().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const PATIENCE: Patience = Patience {
        call: Duration::from_secs(10),
        operation: Duration::from_secs(60),
    };

    /// The answer, and how often was asked, of an agent that says `code` `failures` times.
    async fn ask(code: Code, failures: u32) -> (Result<(), Error>, u32) {
        let asked = Cell::new(0);
        let call = || {
            asked.set(asked.get() + 1);
            let failing = asked.get() <= failures;
            async move { if failing { Err(Status::new(code, "no")) } else { Ok(()) } }
        };
        (PATIENCE.spend("do it", call).await, asked.get())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_asked_again_and_what_may_not_is_not() {
        for code in [
            Code::Unavailable,
            Code::Unknown,
            Code::Internal,
            Code::Cancelled,
            Code::FailedPrecondition,
        ] {
            let (answer, asked) = ask(code, 3).await;
            assert!(answer.is_ok() && asked == 4, "{code:?}: {answer:?} after {asked}");
        }
        for code in [Code::Unauthenticated, Code::InvalidArgument, Code::NotFound] {
            let (answer, asked) = ask(code, 3).await;
            assert!(matches!(answer, Err(Error::Refused { .. })) && asked == 1, "{code:?}");
        }
        let began = Instant::now();
        let (answer, _) = ask(Code::Unavailable, u32::MAX).await;
        assert!(matches!(answer, Err(Error::Unreachable { .. })), "{answer:?}");
        assert!(began.elapsed() <= PATIENCE.operation);
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_says_nothing_is_given_up() {
        let answer = PATIENCE
            .spend("speak", std::future::pending::<Result<(), Status>>)
            .await;
        assert!(answer.unwrap_err().to_string().contains("no answer in time"));
    }
}
