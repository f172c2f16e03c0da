//! The logs of attempts: taking them in, keeping them, following them.
//!
//! Agents push numbered lines and repeat what was not acknowledged; acknowledged is what is durable. Lines of all attempts
//! that come within a moment are written in one transaction ([`Flusher`]), each attempt's as a compressed segment; when many
//! small segments of an attempt have piled up, a large one takes their place.
//!
//! Nothing of a log stays in memory: lines wait only for their transaction (a named limit), readers and followers read from
//! the store a piece at a time, and what wakes a follower carries no lines.

mod flush;
mod follow;
mod open;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tombolo_core::id::AttemptId;
use tombolo_core::log::{LINE_BYTES_MAX, LogLine};
use tombolo_store::{LogState, Store};

use crate::database::Database;
use crate::driver::Handle;
use open::OpenLogs;

pub use flush::Flusher;
pub use follow::Follow;

/// How many bytes of lines wait for their transaction at the most, over all attempts. More have to wait outside.
const PENDING_BYTES: usize = 8 * 1024 * 1024;

/// How many calls wait for their transaction at the most.
const PENDING_CALLS: usize = 1024;

/// Why lines were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Lines are missing before the first one.
    #[error("the log goes on at line {expected}, not at line {got}")]
    Gap {
        /// The line that comes next.
        expected: u64,
        /// The first line that came.
        got: u64,
    },
    /// The lines are not what a log consists of.
    #[error("line {line}: {reason}")]
    Invalid {
        /// Which.
        line: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The lines cannot be stored at the moment. They are to be sent again.
    #[error("logs cannot be stored at the moment")]
    Unavailable,
    /// The master stops. The lines are to be sent again.
    #[error("the master is stopping")]
    Stopping,
}

/// Lines on their way to the store, and who waits for them.
struct Pending {
    attempt: AttemptId,
    /// Which opening of the log they belong to; those of an earlier one are sent again.
    generation: u64,
    lines: Vec<LogLine>,
    /// No more come for now: bring the log into its final form.
    last: bool,
    done: oneshot::Sender<Result<u64, Error>>,
    /// Room, given back when they are written.
    _room: OwnedSemaphorePermit,
}

struct Inner<S> {
    store: Arc<S>,
    handle: Handle,
    open: OpenLogs,
    room: Arc<Semaphore>,
    sender: mpsc::Sender<Pending>,
}

/// The logs of all attempts. Cheap to clone.
pub struct Logs<S = Database> {
    inner: Arc<Inner<S>>,
}

impl<S> Clone for Logs<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<S> std::fmt::Debug for Logs<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Logs").finish_non_exhaustive()
    }
}

impl<S: Store> Logs<S> {
    /// The logs in `store`, and the task that writes them, to be run.
    pub fn start(store: Arc<S>, handle: Handle) -> (Self, Flusher<S>) {
        let (sender, receiver) = mpsc::channel(PENDING_CALLS);
        let inner = Arc::new(Inner {
            store,
            handle,
            open: OpenLogs::default(),
            room: Arc::new(Semaphore::new(PENDING_BYTES)),
            sender,
        });
        let flusher = Flusher::new(Arc::clone(&inner), receiver);
        (Self { inner }, flusher)
    }

    /// Takes consecutive lines of an attempt, waits until they are durable, and returns the number of the line that comes
    /// next. Lines that are there already are left out; no lines at all only ask for that number.
    ///
    /// Whether the attempt counts and belongs to who pushes is for the caller to check.
    pub async fn append(&self, attempt: AttemptId, lines: Vec<LogLine>) -> Result<u64, Error> {
        check(&lines)?;
        self.push(attempt, lines, false).await
    }

    /// Says that an attempt's log is whole (or that no more comes for now), so that it takes its final form. More may come
    /// all the same.
    pub async fn seal(&self, attempt: AttemptId) -> Result<u64, Error> {
        self.push(attempt, Vec::new(), true).await
    }

    /// Lines from `first` on: at most `limit`, fewer where they are long. None means that there are no more for now.
    pub async fn read(&self, attempt: AttemptId, first: u64, limit: u32) -> Result<Vec<LogLine>, tombolo_store::Error> {
        self.inner.store.read_log(attempt, first, limit).await
    }

    /// How much of a log is there.
    pub async fn state(&self, attempt: AttemptId) -> Result<LogState, tombolo_store::Error> {
        self.inner.store.log_state(attempt).await
    }

    /// The lines from `first` on, also those that are still to come, until the job is over and its log whole.
    pub fn follow(&self, attempt: AttemptId, first: u64) -> Follow<S> {
        Follow::new(self.clone(), attempt, first)
    }

    async fn push(&self, attempt: AttemptId, lines: Vec<LogLine>, last: bool) -> Result<u64, Error> {
        let inner = &self.inner;
        let weight = lines.iter().map(LogLine::weight).sum::<usize>().clamp(1, PENDING_BYTES);
        let weight = u32::try_from(weight).expect("the limit is far below");
        let room = Arc::clone(&inner.room).acquire_many_owned(weight).await;
        let room = room.expect("the semaphore is never closed");
        // Room in the queue first: once lines count as received, they must get there.
        let permit = inner.sender.reserve().await.map_err(|_| Error::Stopping)?;
        inner.open.load(&*inner.store, attempt).await?;
        let (done, answer) = oneshot::channel();
        inner.open.receive(attempt, lines, |generation, lines| {
            permit.send(Pending {
                attempt,
                generation,
                lines,
                last,
                done,
                _room: room,
            });
        })?;
        answer.await.map_err(|_| Error::Stopping)?
    }
}

fn check(lines: &[LogLine]) -> Result<(), Error> {
    let invalid = |line: u64, reason| Err(Error::Invalid { line, reason });
    let Some(first) = lines.first() else { return Ok(()) };
    // The store's numbers have a sign.
    if first.number > i64::MAX.cast_unsigned() - lines.len() as u64 {
        return invalid(first.number, "there cannot be so many");
    }
    for (expected, line) in (first.number..).zip(lines) {
        if line.number != expected {
            return invalid(line.number, "it does not follow the one before");
        }
        if line.text.len() > LINE_BYTES_MAX {
            return invalid(line.number, "it is too long");
        }
    }
    Ok(())
}
