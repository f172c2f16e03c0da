//! Making a batch durable, whatever the database says.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tombolo_core::control::Change;
use tombolo_core::planted::{Bug, planted};
use tombolo_store::{CommitError, Sequence, Store};

use super::{Driver, Error, Report};

/// How long one call of the store may take before its outcome counts as unknown.
const CALL_MAX: Duration = Duration::from_secs(10);

/// How long a batch is tried before its callers are told that the store is away. Below the lease: agents are heard again
/// before theirs end.
const COMMIT_MAX: Duration = Duration::from_secs(15);

/// How a commit ended.
#[derive(Debug)]
pub(super) enum Written {
    /// It is durable.
    Durable,
    /// The database will not have it. Nothing was written.
    Rejected(String),
    /// The store is away. It may have been written.
    Unavailable,
}

impl<S: Store> Driver<S> {
    /// Writes `changes` as the next commit, or finds out that this cannot be done.
    pub(super) async fn commit(&mut self, changes: &Arc<Vec<Change>>) -> Result<Written, Error> {
        if changes.is_empty() {
            return Ok(Written::Durable);
        }
        let written = self.try_commit(changes).await?;
        self.options.reports.tell(match written {
            Written::Unavailable => Report::Stalls,
            Written::Durable | Written::Rejected(_) => Report::Works,
        });
        Ok(written)
    }

    async fn try_commit(&mut self, changes: &Arc<Vec<Change>>) -> Result<Written, Error> {
        let sequence = self.sequence.next();
        let until = tokio::time::Instant::now() + COMMIT_MAX;
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(20))
            .with_jitter();
        let mut delays = backoff
            .with_max_delay(Duration::from_secs(2))
            .without_max_times()
            .build();
        loop {
            let commit = self.store.commit(self.epoch, sequence, Arc::clone(changes));
            let result = tokio::time::timeout(CALL_MAX, commit).await;
            match result.unwrap_or_else(|_| Err(CommitError::Unknown("the call took too long".to_owned()))) {
                Ok(()) => {
                    self.sequence = sequence;
                    return Ok(Written::Durable);
                }
                Err(CommitError::Deposed) => return Err(Error::Deposed),
                Err(CommitError::Unavailable(reason)) => tracing::warn!(reason, "a commit has to wait"),
                Err(CommitError::Unknown(reason)) => {
                    tracing::warn!(reason, "the outcome of a commit is unknown");
                    if planted(Bug::FailedCommitTaken) || self.is_committed(sequence).await? {
                        return Ok(Written::Durable);
                    }
                }
                Err(CommitError::Rejected(reason)) => {
                    // An earlier try whose outcome was unknown may have arrived after all; then this one was one too many.
                    return match self.is_committed(sequence).await? {
                        true => Ok(Written::Durable),
                        false => Ok(Written::Rejected(reason)),
                    };
                }
            }
            if tokio::time::Instant::now() >= until || self.stop.is_cancelled() {
                return Ok(Written::Unavailable);
            }
            self.options.reports.tell(Report::Stalls);
            tokio::time::sleep(delays.next().unwrap_or_default()).await;
        }
    }

    /// Whether the commit is there. If that cannot be found out, no: then it is tried again, and found to be there.
    async fn is_committed(&mut self, sequence: Sequence) -> Result<bool, Error> {
        match tokio::time::timeout(CALL_MAX, self.store.committed(self.epoch)).await {
            Ok(Ok(last)) if last >= sequence => {
                self.sequence = sequence;
                Ok(true)
            }
            Ok(Ok(_)) => Ok(false),
            Ok(Err(tombolo_store::Error::Deposed)) => Err(Error::Deposed),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the last commit cannot be read back");
                Ok(false)
            }
            Err(_) => Ok(false),
        }
    }
}
