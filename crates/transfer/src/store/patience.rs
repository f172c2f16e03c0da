//! How long a store is given, and what is worth trying again.

use std::fmt::Write;
use std::io::ErrorKind;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use http::StatusCode;
use tokio::time::{Instant, sleep, timeout};

use super::pace::Pace;
use super::{Error, Inner};

/// How long to wait for a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For one request: a chunk of the longest kind at 200 KiB/s, by default.
    pub request: Duration,
    /// For one operation with all its repetitions.
    pub operation: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(80),
            operation: Duration::from_secs(120),
        }
    }
}

/// The pauses between attempts: with jitter, so that agents that lost the same store do not come back as one.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(10))
    .without_max_times()
    .with_jitter();

impl Inner {
    /// Repeats `attempt` until it succeeds, fails for good, or the patience is over.
    pub(super) async fn retry<T, Attempt>(
        &self,
        operation: &'static str,
        attempt: impl Fn() -> Attempt,
    ) -> Result<T, Error>
    where
        Attempt: Future<Output = object_store::Result<T>>,
    {
        let began = Instant::now();
        let mut pauses = PAUSES.build();
        loop {
            let left = self.patience.operation.saturating_sub(began.elapsed());
            // Somebody else's request was told to wait: this one waits too.
            sleep(self.pace.pause().min(left / 2)).await;
            let left = self.patience.operation.saturating_sub(began.elapsed());
            let limit = self.patience.request.min(left);
            let (answer, refusal) = Pace::listen(timeout(limit, attempt())).await;
            let reason = match answer {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) if !is_transient(&error, refusal) => {
                    return Err(Error::Refused {
                        place: self.place.clone(),
                        operation,
                        reason: describe(&error),
                        status: status_of(&error).or(refusal).map(|status| status.as_u16()),
                    });
                }
                Ok(Err(error)) => describe(&error),
                Err(_) => format!("no answer within {} s", limit.as_secs_f32()),
            };
            let waited = began.elapsed();
            let left = self.patience.operation.saturating_sub(waited);
            let Some(pause) = pauses.next().and_then(|next| pause(next, self.pace.pause(), left)) else {
                return Err(Error::Unreachable {
                    place: self.place.clone(),
                    operation,
                    reason,
                    waited,
                });
            };
            tracing::warn!(place = %self.place, operation, reason, ?pause, "the store did not answer as it should; trying again");
            sleep(pause).await;
        }
    }
}

/// What is left of the patience after the last attempt.
const LEAST: Duration = Duration::from_millis(250);

/// How long to wait before the next attempt; nothing if the patience is over. Where the usual pause would go beyond that, there is still an attempt
/// within what is left: a store is given all the time that it was promised. `asked` is how long the store itself wants to be left alone.
fn pause(usual: Duration, asked: Duration, left: Duration) -> Option<Duration> {
    (left > LEAST && asked < left).then(|| usual.min(left / 2).max(asked))
}

/// `refusal`: how the store has answered, where it has.
fn is_transient(error: &object_store::Error, refusal: Option<StatusCode>) -> bool {
    use object_store::Error as E;
    match error {
        E::NotFound { .. }
        | E::InvalidPath { .. }
        | E::NotSupported { .. }
        | E::AlreadyExists { .. }
        | E::Precondition { .. }
        | E::NotModified { .. }
        | E::NotImplemented { .. }
        | E::PermissionDenied { .. }
        | E::Unauthenticated { .. }
        | E::UnknownConfigurationKey { .. } => false,
        // The library tells some refusals from faults (of reading and writing) and not others (of listing and signing).
        E::Generic { .. } if refusal.is_some_and(is_final) => false,
        // Neither does it tell what a file system refuses.
        E::Generic { .. } if is_refused_by_system(error) => false,
        // Whatever else: a store that restarts, a full disk, a network that comes back.
        _ => true,
    }
}

/// Whether it lies in the rights of a folder, which only a person changes.
fn is_refused_by_system(error: &dyn std::error::Error) -> bool {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let mut kinds = causes.filter_map(|cause| cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind));
    kinds.any(|kind| matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem))
}

/// With which status an error came, if that follows from its kind.
const fn status_of(error: &object_store::Error) -> Option<StatusCode> {
    use object_store::Error as E;
    match error {
        E::PermissionDenied { .. } => Some(StatusCode::FORBIDDEN),
        E::Unauthenticated { .. } => Some(StatusCode::UNAUTHORIZED),
        E::NotFound { .. } => Some(StatusCode::NOT_FOUND),
        _ => None,
    }
}

/// Whether the same request would be answered so again.
fn is_final(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_IMPLEMENTED
    )
}

/// The error with its causes, as far as they say something new.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// With pauses that grow to twenty seconds, an operation that was given thirty was given up after thirteen.
    #[test]
    fn a_store_is_tried_until_its_time_is_over() {
        for operation in [1, 20, 30, 120, 300].map(seconds) {
            for worst in [false, true] {
                let mut usual = Duration::from_millis(100);
                let (mut waited, mut attempts) = (Duration::ZERO, 1);
                while let Some(pause) = pause(usual, Duration::ZERO, operation - waited) {
                    (waited, attempts) = (waited + pause, attempts + 1);
                    // What chance adds is as much again at the most.
                    usual = (usual * 2).min(seconds(if worst { 20 } else { 10 }));
                }
                assert!(
                    operation - waited <= LEAST,
                    "{operation:?} were promised, and {waited:?} given"
                );
                assert!(attempts < 50, "{attempts} attempts within {operation:?}");
            }
        }
    }

    #[test]
    fn a_store_is_left_alone_for_as_long_as_it_asks() {
        for (usual, asked, left, expected) in [
            (1, 0, 60, Some(1)),
            (10, 0, 10, Some(5)),
            (1, 7, 60, Some(7)),
            (1, 7, 10, Some(7)),
            (1, 10, 10, None),
            (1, 30, 10, None),
            (1, 0, 0, None),
        ] {
            let found = pause(seconds(usual), seconds(asked), seconds(left));
            assert_eq!(found, expected.map(seconds), "{usual} {asked} {left}");
        }
    }

    fn generic(kind: ErrorKind) -> object_store::Error {
        // As the library does: an error of its own around the system's.
        #[derive(Debug, thiserror::Error)]
        #[error("cannot copy data to the file")]
        struct Unable(#[source] io::Error);
        object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(Unable(io::Error::from(kind))),
        }
    }

    #[test]
    fn what_only_a_person_mends_is_not_tried_again() {
        for (kind, transient) in [
            (ErrorKind::PermissionDenied, false),
            (ErrorKind::ReadOnlyFilesystem, false),
            // Room may be made, and disks come back.
            (ErrorKind::StorageFull, true),
            (ErrorKind::Other, true),
        ] {
            assert_eq!(is_transient(&generic(kind), None), transient, "{kind:?}");
        }
    }
}
