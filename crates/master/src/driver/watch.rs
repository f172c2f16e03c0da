//! Who watches which build.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tombolo_core::control::Event;
use tombolo_core::id::BuildId;

/// How many events wait for a slow watcher before it loses some and has to read the present state again. A build of a
/// hundred jobs makes some six hundred in all.
const WATCH_BUFFER: usize = 1024;

/// An event and its place among all events.
#[derive(Debug)]
pub struct Numbered {
    /// Grows with each event, also over restarts of the master.
    pub sequence: u64,
    /// What happened.
    pub event: Event,
}

/// What a watcher sees.
#[derive(Debug, Clone)]
pub enum Watched {
    /// Something happened.
    Event(Arc<Numbered>),
    /// The watcher was too slow and has missed something: read the present state, then go on.
    Lagged,
}

/// The events of one build. It ends when the driver stops or had to start again from the store: subscribe again and read the
/// present state. It does not end with the build: whoever sees the build's end (in the present state or in an event) stops.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Arc<Numbered>>,
    sequence: u64,
}

impl Subscription {
    /// The last event before this subscription.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Waits for the next event. Cancel safe.
    pub async fn next(&mut self) -> Option<Watched> {
        match self.receiver.recv().await {
            Ok(event) => Some(Watched::Event(event)),
            Err(RecvError::Lagged(_)) => Some(Watched::Lagged),
            Err(RecvError::Closed) => None,
        }
    }
}

/// All watchers.
#[derive(Debug)]
pub(super) struct Watchers {
    builds: HashMap<BuildId, broadcast::Sender<Arc<Numbered>>>,
    sequence: u64,
    sweep_at: usize,
}

/// From how many watched builds on the map is searched for those that nobody watches any more.
const SWEEP_AT: usize = 256;

impl Watchers {
    /// No watchers; the first event has the number after `sequence`.
    pub(super) fn new(sequence: u64) -> Self {
        Self {
            builds: HashMap::new(),
            sequence,
            sweep_at: SWEEP_AT,
        }
    }

    pub(super) fn subscribe(&mut self, build: BuildId) -> Subscription {
        if self.builds.len() >= self.sweep_at {
            self.builds.retain(|_, sender| sender.receiver_count() > 0);
            self.sweep_at = SWEEP_AT.max(self.builds.len() * 2);
        }
        let sender = self
            .builds
            .entry(build)
            .or_insert_with(|| broadcast::channel(WATCH_BUFFER).0);
        Subscription {
            receiver: sender.subscribe(),
            sequence: self.sequence,
        }
    }

    /// Tells those who watch the event's build.
    pub(super) fn publish(&mut self, event: Event) {
        self.sequence += 1;
        let Some(sender) = self.builds.get(&event.build) else {
            return;
        };
        let build = event.build;
        if sender
            .send(Arc::new(Numbered {
                sequence: self.sequence,
                event,
            }))
            .is_err()
        {
            self.builds.remove(&build);
        }
    }

    /// Ends all subscriptions: what watchers saw last may not be what is stored.
    pub(super) fn close_all(&mut self) {
        self.builds.clear();
    }
}
