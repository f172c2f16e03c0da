//! Ships the logs of attempts to the master, from their spools on disk: numbered, acknowledged, resumed.
//!
//! All attempts share one stream. What was sent and not acknowledged is on the disk still, so that nothing of a log has to be
//! held here: after a broken stream each attempt goes on from the last line that was acknowledged. The first batch of an
//! attempt on a stream goes alone; its answer says from which line the master wants it.

pub(crate) mod reading;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tombolo_core::id::AttemptId;
use tonic::transport::Channel;

use self::reading::{Reading, Spool};
use self::stream::{Acknowledgement, Stream};
use crate::pauses::Pauses;

/// The text of one batch. A master reads batches of up to 4 MiB; small ones share the stream fairly between attempts.
const BATCH_BYTES: usize = 256 * 1024;
/// How long lines gather before they are sent. A person who follows a log sees no delay.
const GATHER: Duration = Duration::from_millis(50);
/// How often spools are looked at without a hint.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The pauses before a stream that broke is opened again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What became of a log that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drained {
    /// The master has all of its lines.
    Acknowledged {
        /// How many.
        lines: u64,
    },
    /// The master wants no more of it: the attempt does not count any more.
    Refused,
    /// The spool cannot be read.
    Unreadable(String),
    /// It is not being shipped (any more).
    Stopped,
}

/// Ships the logs of attempts. Cheap to clone; clones are one shipper. [`Shipper::run`] does the work.
#[derive(Debug, Clone, Default)]
pub struct Shipper {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    spools: Mutex<BTreeMap<AttemptId, Arc<Spool>>>,
    /// Something may be there to be sent.
    wake: Notify,
}

/// The last reason that was told. What goes on for hours is said once.
#[derive(Debug, Default)]
struct Told(Option<String>);

impl Told {
    /// Whether this one is another.
    fn is_new(&mut self, reason: &str) -> bool {
        let is_new = self.0.as_deref() != Some(reason);
        if is_new {
            self.0 = Some(reason.to_owned());
        }
        is_new
    }
}

/// What is read, by attempt.
type Readings = BTreeMap<AttemptId, Reading>;

impl Shipper {
    /// A shipper without any work.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ships the spool at `path`, which need not be there yet. Nothing happens if the attempt's log is being shipped already.
    pub fn ship(&self, attempt: AttemptId, path: PathBuf) {
        self.spools()
            .entry(attempt)
            .or_insert_with(|| Arc::new(Spool::new(path)));
        self.shared.wake.notify_one();
    }

    /// Says that there may be new lines.
    pub fn hint(&self, attempt: AttemptId) {
        if self.spools().contains_key(&attempt) {
            self.shared.wake.notify_one();
        }
    }

    /// Says that nothing more will be written, and waits until the master has all lines, or wants no more of them. How long
    /// that may take is for the caller to decide; dropping the future loses nothing.
    pub async fn drained(&self, attempt: AttemptId) -> Drained {
        let Some(spool) = self.spools().get(&attempt).cloned() else {
            return Drained::Stopped;
        };
        spool.complete();
        self.shared.wake.notify_one();
        spool.drained().await
    }

    /// Ships no more of an attempt, and forgets it.
    pub fn stop(&self, attempt: AttemptId) {
        if let Some(spool) = self.spools().remove(&attempt) {
            spool.end(Drained::Stopped);
        }
        self.shared.wake.notify_one();
    }

    /// Does the work until `stop`. `master` is a bulk connection, which connects again by itself.
    pub async fn run(&self, master: Channel, stop: CancellationToken) {
        stop.run_until_cancelled(self.shipping(master)).await;
    }

    async fn shipping(&self, master: Channel) {
        let mut readings = Readings::new();
        let mut pauses = Pauses::new(PAUSES);
        let mut told = Told::default();
        loop {
            self.work(&mut readings).await;
            let error = match Stream::open(master.clone()).await {
                Ok(mut stream) => {
                    readings.values_mut().for_each(Reading::restart);
                    let ended = self.ship_on(&mut stream, &mut readings).await;
                    if stream.was_of_use() {
                        pauses.reset();
                        told = Told::default();
                    }
                    match ended {
                        Ok(()) => continue,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            let pause = pauses.next();
            match told.is_new(&error.to_string()) {
                true => tracing::warn!(%error, "logs cannot be shipped; trying again"),
                false => tracing::debug!(%error, ?pause, "logs cannot be shipped"),
            }
            sleep(pause).await;
        }
    }

    /// Waits until there is an attempt to ship.
    async fn work(&self, readings: &mut Readings) {
        loop {
            self.refresh(readings);
            if !readings.is_empty() {
                return;
            }
            self.shared.wake.notified().await;
        }
    }

    /// Brings what is read in line with what is to be shipped.
    fn refresh(&self, readings: &mut Readings) {
        let spools = self.spools();
        readings.retain(|attempt, reading| {
            spools.get(attempt).is_some_and(|spool| reading.is_of(spool)) && !reading.is_over()
        });
        for (attempt, spool) in spools.iter().filter(|(_, spool)| !spool.is_over()) {
            readings.entry(*attempt).or_insert_with(|| Reading::new(spool.clone()));
        }
    }

    /// Ships on one stream until there is nothing left to ship.
    async fn ship_on(&self, stream: &mut Stream, readings: &mut Readings) -> Result<(), stream::Error> {
        loop {
            self.refresh(readings);
            if readings.is_empty() {
                return Ok(());
            }
            let looked_at = Instant::now();
            let mut more = false;
            for (attempt, reading) in readings.iter_mut() {
                if let Some(batch) = reading.next_batch().await {
                    more |= batch.is_full();
                    stream.send(*attempt, batch).await?;
                }
            }
            let due = if more { looked_at } else { looked_at + LOOK_AGAIN };
            self.listen(stream, readings, looked_at, due).await?;
        }
    }

    /// Takes acknowledgements until it is time to look at the spools again: at `due`, or when something has happened.
    async fn listen(
        &self,
        stream: &mut Stream,
        readings: &mut Readings,
        looked_at: Instant,
        mut due: Instant,
    ) -> Result<(), stream::Error> {
        loop {
            tokio::select! {
                biased;
                acknowledgement = stream.receive() => {
                    let Acknowledgement { attempt, next_line, refused } = acknowledgement?;
                    let Some(reading) = readings.get_mut(&attempt) else { continue };
                    if refused {
                        tracing::info!(%attempt, "the master wants no more of this log");
                        reading.refused();
                    } else if reading.acknowledged(next_line) {
                        due = Instant::now();
                    }
                }
                () = self.shared.wake.notified() => due = due.min(looked_at + GATHER),
                () = sleep_until(due) => break,
            }
        }
        let oldest = readings.values().filter_map(Reading::waiting_since).min();
        stream.check(oldest)
    }

    fn spools(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Arc<Spool>>> {
        self.shared.spools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
