//! The beginning of a driver, its loop, and its beginning again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tombolo_core::control::restore;
use tombolo_core::control::{Control, Settings};
use tombolo_core::route::Costs;
use tombolo_core::time::{Now, Timestamp};
use tombolo_store::{AcquireError, LeaderEpoch, Sequence, Snapshot, Store};

use super::collect::Tick;
use super::handle::{self, ApplyError, Handle, Shared};
use super::heartbeats::Heartbeats;
use super::sessions::Sessions;
use super::watch::Watchers;
use super::{Driver, Grants, Report, Reports, batch};
use crate::clock::Clock;

/// How many messages wait for the driver. Each waiting caller holds one, so that this bounds memory, not speed: it is several
/// batches, so that the driver is never idle while there is work.
const QUEUE: usize = 4096;

/// The longest time between two attempts to use a database that is away.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What the driver goes by.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The control plane's limits and times.
    pub control: Settings,
    /// Where users see the master, without a trailing slash.
    pub public_url: String,
    /// What moving outputs costs.
    pub costs: Costs,
    /// Who is told how it stands.
    pub reports: Reports,
}

/// Why the driver ended (or could not start).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another master leads, now or already at the start.
    #[error("another master leads")]
    Deposed,
    /// The store cannot be led.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// The store cannot be read.
    #[error(transparent)]
    Load(#[from] tombolo_store::Error),
    /// What is stored contradicts itself.
    #[error("the stored state cannot be used: {0}")]
    Restore(#[from] restore::Error),
}

impl Error {
    /// Whether it is worth to try again.
    fn may_pass(&self) -> bool {
        let (Self::Acquire(AcquireError::Store(error)) | Self::Load(error)) = self else {
            return false;
        };
        // Deposed between the two calls: the next call tells whether another master leads.
        matches!(
            error,
            tombolo_store::Error::Unavailable(_) | tombolo_store::Error::Deposed
        )
    }
}

struct Beginning {
    epoch: LeaderEpoch,
    sequence: Sequence,
    control: Control,
}

async fn begin<S: Store>(store: &S, settings: &Settings, now: impl Fn() -> Now) -> Result<Beginning, Error> {
    let (epoch, snapshot) = lead(store).await?;
    restore(epoch, snapshot, settings, now())
}

async fn lead<S: Store>(store: &S) -> Result<(LeaderEpoch, Snapshot), Error> {
    let epoch = store.acquire().await?;
    Ok((epoch, store.load().await?))
}

fn restore(epoch: LeaderEpoch, snapshot: Snapshot, settings: &Settings, now: Now) -> Result<Beginning, Error> {
    let live = snapshot.live;
    let (builds, jobs, clusters) = (live.builds.len(), live.jobs.len(), live.clusters.len());
    let control = Control::restore(settings.clone(), live, now)?;
    tracing::info!(%epoch, builds, jobs, clusters, "leading");
    Ok(Beginning {
        epoch,
        sequence: snapshot.sequence,
        control,
    })
}

/// Of a database that was taken from a backup: waits until the leases are over that the lost master may have given out. What it gave to whom
/// is not known, so that until then nobody could say which commands still run.
async fn wait_out(snapshot: &Snapshot, options: &Options, clock: &dyn Clock) {
    let settings = &options.control;
    let restoration = snapshot.live.restoration;
    let pause = restoration.and_then(|restoration| restoration.pause(clock.now().wall, settings.longest_lease()));
    if let Some(pause) = pause {
        tracing::warn!(
            ?pause,
            "this database was taken from a backup not long ago: waiting for the end of the leases that may have been given out since"
        );
        let milliseconds = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let until = Timestamp(clock.now().wall.0.saturating_add(milliseconds));
        options.reports.tell(Report::Waits(until));
        tokio::time::sleep(pause).await;
        options.reports.tell(Report::Begins);
    }
}

impl<S: Store> Driver<S> {
    /// Begins a leadership, reads the state, and returns the driver, to be run, and the handle to it.
    pub async fn start(
        store: Arc<S>,
        options: Options,
        clock: Arc<dyn Clock>,
        grants: Arc<dyn Grants>,
    ) -> Result<(Handle, Self), Error> {
        let Beginning {
            epoch,
            sequence,
            control,
        } = {
            let (epoch, snapshot) = lead(&*store).await?;
            wait_out(&snapshot, &options, &*clock).await;
            restore(epoch, snapshot, &options.control, clock.now())?
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (heartbeat_sender, heartbeats) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        shared.lead(epoch);
        let handle = Handle::new(sender, heartbeat_sender, Arc::clone(&shared));
        let driver = Self {
            store,
            clock,
            grants,
            options,
            receiver,
            heartbeats: Heartbeats::new(heartbeats),
            shared,
            control,
            epoch,
            sequence,
            stop: CancellationToken::new(),
            pending: VecDeque::new(),
            batch_limit: batch::COMMANDS_MAX,
            suspects: 0,
            tick: Tick::default(),
            sessions: Sessions::default(),
            watchers: Watchers::new(handle::first_number(epoch)),
        };
        Ok((handle, driver))
    }

    /// Drives until `stop` is cancelled or all handles are gone (and everything that came before is done), or until it can
    /// lead no more.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        self.stop = stop;
        let result = self.drive().await;
        // Whoever still waits is told by the closed queue that the master stops.
        self.receiver.close();
        self.heartbeats.close();
        self.pending
            .drain(..)
            .for_each(|request| request.fail(ApplyError::Stopping));
        match result {
            Err(error) if self.stop.is_cancelled() => {
                tracing::warn!(%error, "the driver stopped while it could not lead");
                Ok(())
            }
            result => result,
        }
    }

    async fn drive(&mut self) -> Result<(), Error> {
        while self.collect().await {
            self.process().await?;
        }
        Ok(())
    }

    /// Drops everything in memory and begins again from the store, however long that takes. Meanwhile everyone who comes is
    /// told that the store is away.
    pub(super) async fn restart(&mut self) -> Result<(), Error> {
        self.sessions.close_all();
        self.watchers.close_all();
        let backoff = ExponentialBuilder::default().with_max_delay(RETRY_MAX).with_jitter();
        let mut delays = backoff.without_max_times().build();
        loop {
            let clock = &self.clock;
            match begin(&*self.store, &self.options.control, || clock.now()).await {
                Ok(beginning) => {
                    self.epoch = beginning.epoch;
                    self.sequence = beginning.sequence;
                    self.control = beginning.control;
                    self.shared.lead(self.epoch);
                    self.watchers = Watchers::new(handle::first_number(self.epoch));
                    self.options.reports.tell(Report::Works);
                    return Ok(());
                }
                Err(error) if error.may_pass() && !self.stop.is_cancelled() => {
                    tracing::error!(%error, "cannot lead");
                    self.options.reports.tell(Report::Stalls);
                }
                Err(error) => return Err(error),
            }
            self.refuse_for(delays.next().unwrap_or(RETRY_MAX)).await;
        }
    }

    /// Tells everyone who comes within `duration` that the store is away.
    async fn refuse_for(&mut self, duration: Duration) {
        let wait = tokio::time::sleep(duration);
        tokio::pin!(wait);
        loop {
            let message = tokio::select! {
                () = &mut wait => return,
                () = self.stop.cancelled() => return,
                message = self.receiver.recv() => message,
            };
            match message {
                // A dropped answer says the same as this one.
                Some(message) => message.fail(ApplyError::Unavailable),
                // All handles are gone; what is left is to end, and that the loop does once the store is back.
                None => return wait.await,
            }
        }
    }
}
