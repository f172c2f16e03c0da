//! The logs that are being written: how far each is, and who waits for it to go on.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tombolo_core::id::AttemptId;
use tombolo_core::log::LogLine;
use tombolo_store::Store;

use super::Error;

/// From how many open logs on those that were not written for a while are forgotten. They are read from the store again.
const OPEN_MAX: usize = 4096;

/// How long a log counts as being written after its last line.
const IDLE: Duration = Duration::from_secs(60);

/// The small segments at the end of a log that a large one is still to take the place of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) first_line: u64,
    pub(super) bytes: usize,
    pub(super) segments: usize,
}

#[derive(Debug)]
struct Open {
    generation: u64,
    /// The line that comes next, counting those that wait for their transaction.
    received: u64,
    /// The line that comes next, counting those that are durable.
    durable: watch::Sender<u64>,
    tail: Tail,
    used: Instant,
}

#[derive(Debug, Default)]
struct State {
    logs: HashMap<AttemptId, Open>,
    generations: u64,
    sweep_at: usize,
}

/// All logs that are being written or followed.
#[derive(Debug, Default)]
pub(super) struct OpenLogs {
    state: Mutex<State>,
}

impl OpenLogs {
    /// Makes sure that the log is open.
    pub(super) async fn load<S: Store>(&self, store: &S, attempt: AttemptId) -> Result<(), Error> {
        if self.lock().logs.contains_key(&attempt) {
            return Ok(());
        }
        let stored = store.log_state(attempt).await.map_err(|error| {
            tracing::warn!(%attempt, %error, "a log cannot be read");
            Error::Unavailable
        })?;
        let mut state = self.lock();
        state.sweep();
        state.generations += 1;
        let generation = state.generations;
        state.logs.entry(attempt).or_insert_with(|| Open {
            generation,
            received: stored.next_line,
            durable: watch::Sender::new(stored.next_line),
            tail: Tail {
                first_line: stored.next_line,
                ..Tail::default()
            },
            used: Instant::now(),
        });
        Ok(())
    }

    /// Counts lines as received, and passes on those of them that are new, with the generation of the log: before any others of it.
    pub(super) fn receive(
        &self,
        attempt: AttemptId,
        mut lines: Vec<LogLine>,
        pass_on: impl FnOnce(u64, Vec<LogLine>),
    ) -> Result<(), Error> {
        let mut state = self.lock();
        // Forgotten since it was opened: its lines are sent again.
        let open = state.logs.get_mut(&attempt).ok_or(Error::Unavailable)?;
        open.used = Instant::now();
        if let Some(first) = lines.first()
            && first.number > open.received
        {
            return Err(Error::Gap {
                expected: open.received,
                got: first.number,
            });
        }
        lines.retain(|line| line.number >= open.received);
        open.received += lines.len() as u64;
        pass_on(open.generation, lines);
        Ok(())
    }

    /// The tail of the log; none if it is not open any more in that generation.
    pub(super) fn tail(&self, attempt: AttemptId, generation: u64) -> Option<Tail> {
        let state = self.lock();
        let open = state.logs.get(&attempt)?;
        (open.generation == generation).then_some(open.tail)
    }

    /// The lines before `next` are durable.
    pub(super) fn advance(&self, attempt: AttemptId, next: u64, tail: Tail) {
        if let Some(open) = self.lock().logs.get_mut(&attempt) {
            open.tail = tail;
            open.durable.send_replace(next);
        }
    }

    /// The line after the last one that is durable.
    pub(super) fn durable(&self, attempt: AttemptId) -> Option<u64> {
        self.lock().logs.get(&attempt).map(|open| *open.durable.borrow())
    }

    /// What was received is not durable and will not be: how far the log is has to be read again.
    pub(super) fn forget(&self, attempt: AttemptId) {
        self.lock().logs.remove(&attempt);
    }

    /// Changes when more of the log is durable, and ends when the log has to be opened again.
    pub(super) fn watch(&self, attempt: AttemptId) -> Option<watch::Receiver<u64>> {
        self.lock().logs.get(&attempt).map(|open| open.durable.subscribe())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sweep(&mut self) {
        if self.logs.len() < self.sweep_at.max(OPEN_MAX) {
            return;
        }
        self.logs.retain(|_, open| {
            let waiting = open.received != *open.durable.borrow();
            waiting || open.durable.receiver_count() > 0 || open.used.elapsed() < IDLE
        });
        self.sweep_at = self.logs.len() * 2;
    }
}
