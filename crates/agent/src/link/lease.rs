//! The lease as the attempts see it.

use tokio::sync::watch;
use tombolo_core::time::Moment;

use super::now;

/// Whether the agent may start commands: while its lease lasts, the master gives its attempts to nobody else.
#[derive(Debug, Clone)]
pub struct Lease {
    until: watch::Receiver<Option<Moment>>,
}

impl Lease {
    /// A lease that lasts as long as `until` says.
    pub const fn new(until: watch::Receiver<Option<Moment>>) -> Self {
        Self { until }
    }

    /// Whether it lasts.
    pub fn is_valid(&self) -> bool {
        let until = *self.until.borrow();
        until.is_some_and(|until| now().steady < until)
    }

    /// Waits until it lasts. Never returns if the link has ended and the lease with it.
    pub async fn valid(&mut self) {
        while !self.is_valid() {
            if self.until.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
