//! Following a log while it is written.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tombolo_core::control::record::AttemptLog;
use tombolo_core::id::{AttemptId, BuildId};
use tombolo_core::log::LogLine;
use tombolo_store::{Error, Store};

use super::Logs;
use crate::driver::Subscription;

/// How many lines come at once at the most.
const LINES: u32 = 4096;

/// After how long a follower looks again without having been woken. Wake-ups are hints and may be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long lines that an ended job has written and that are not here yet are waited for: its agent may still be sending
/// what it had to spool.
const LATE: Duration = Duration::from_secs(60);

/// The lines of a log, as they become durable. It reads from the store what it gives, so that a slow follower holds nothing up.
#[derive(Debug)]
pub struct Follow<S> {
    logs: Logs<S>,
    attempt: AttemptId,
    next: u64,
    missing: u64,
    /// Since when the job is over and lines are missing.
    late_since: Option<Instant>,
    grows: Option<watch::Receiver<u64>>,
    events: Option<Subscription>,
}

/// What is to come of a log.
enum Rest {
    /// Lines may come.
    Open { build: BuildId },
    /// As many lines are still to come; the job is over.
    Late { build: BuildId, lines: u64 },
    /// It is whole.
    None,
}

impl<S: Store> Follow<S> {
    pub(super) const fn new(logs: Logs<S>, attempt: AttemptId, first: u64) -> Self {
        Self {
            logs,
            attempt,
            next: first,
            missing: 0,
            late_since: None,
            grows: None,
            events: None,
        }
    }

    /// The next lines, as soon as there are some. None when the job (or its attempt) is over and no more come. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Vec<LogLine>>, Error> {
        loop {
            self.listen().await;
            let lines = self.logs.read(self.attempt, self.next, LINES).await?;
            if let Some(last) = lines.last() {
                self.next = last.number + 1;
                self.late_since = None;
                return Ok(Some(lines));
            }
            let (build, until) = match self.rest().await? {
                Rest::None => return Ok(None),
                Rest::Open { build } => (build, Instant::now() + LOOK_AGAIN),
                Rest::Late { build, lines } => {
                    let since = *self.late_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= LATE {
                        self.missing = lines;
                        return Ok(None);
                    }
                    (build, (since + LATE).min(Instant::now() + LOOK_AGAIN))
                }
            };
            if self.events.is_none() {
                // From now on the job's end wakes; it may have come just before, so look once more.
                self.events = self.logs.inner.handle.subscribe(build).await.ok();
                if self.events.is_some() {
                    continue;
                }
            }
            self.wait(until).await;
        }
    }

    /// How many lines the job has written that never came here, once [`next`](Self::next) has returned none.
    pub const fn missing(&self) -> u64 {
        self.missing
    }

    /// Makes sure that new lines wake.
    async fn listen(&mut self) {
        if let Some(grows) = &mut self.grows {
            grows.mark_unchanged();
            return;
        }
        let inner = &self.logs.inner;
        if inner.open.load(&*inner.store, self.attempt).await.is_ok() {
            self.grows = inner.open.watch(self.attempt);
        }
    }

    async fn rest(&self) -> Result<Rest, Error> {
        let Some(record) = self.logs.inner.store.job(self.attempt.job).await? else {
            return Ok(Rest::None);
        };
        let (status, build) = (record.status, record.build.id);
        Ok(match status.log_of(self.attempt.epoch) {
            AttemptLog::Lines(lines) if lines > self.next => Rest::Late {
                build,
                lines: lines - self.next,
            },
            AttemptLog::Lines(_) | AttemptLog::Over => Rest::None,
            AttemptLog::Grows => Rest::Open { build },
        })
    }

    async fn wait(&mut self, until: Instant) {
        let grows = async {
            match &mut self.grows {
                Some(grows) => grows.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let events = async {
            match &mut self.events {
                Some(events) => events.next().await.is_some(),
                None => std::future::pending().await,
            }
        };
        let (grows, events) = tokio::select! {
            open = grows => (open, true),
            open = events => (true, open),
            () = tokio::time::sleep_until(until) => (true, true),
        };
        if !grows {
            self.grows = None;
        }
        if !events {
            self.events = None;
        }
    }
}
