//! The lease as the attempts see it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tombolo_core::time::Moment;

use super::now;

/// A lease that was granted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// Its end, on the steady clock of this machine.
    pub until: Duration,
    /// How long it lasted when it was granted.
    pub length: Duration,
}

impl Granted {
    /// When an exclusive command is asked to stop: a fifth of the lease before its end.
    pub fn stop_at(&self) -> Duration {
        self.until.saturating_sub(self.length / 5)
    }

    /// When an exclusive command is killed: a tenth of the lease before its end, so that all of it is gone by then.
    pub fn kill_at(&self) -> Duration {
        self.until.saturating_sub(self.length / 10)
    }
}

/// Whether the agent may start commands: while its lease lasts, the master gives its attempts to nobody else.
#[derive(Debug, Clone)]
pub struct Lease {
    granted: watch::Receiver<Option<Granted>>,
}

impl Lease {
    /// A lease that lasts as long as `granted` says.
    pub const fn new(granted: watch::Receiver<Option<Granted>>) -> Self {
        Self { granted }
    }

    /// The one that was granted last, also if it is over.
    pub fn granted(&self) -> Option<Granted> {
        *self.granted.borrow()
    }

    /// Whether it lasts.
    pub fn is_valid(&self) -> bool {
        self.granted()
            .is_some_and(|granted| now().steady < Moment(granted.until))
    }

    /// Waits until it lasts. Never returns if the link has ended and the lease with it.
    pub async fn valid(&mut self) {
        while !self.is_valid() {
            self.changed().await;
        }
    }

    /// Waits until another one is granted. Never returns if the link has ended. Cancelling it loses nothing.
    pub async fn changed(&mut self) {
        if self.granted.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
