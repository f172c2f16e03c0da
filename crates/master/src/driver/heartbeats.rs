//! Heartbeats, taken together.
//!
//! Thousands of clusters that have nothing to do would wake the driver for each of theirs, and each of its answers wake somebody again. A
//! heartbeat that is answered a little later does no harm: the agent counts from when it sent it, and whoever looks whether a lease has
//! ended hears first what waits here.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::message::Message;

/// How long heartbeats wait for others once some were taken.
const PAUSE: Duration = Duration::from_millis(20);

/// The driver's end of the way that heartbeats have of their own.
pub(super) struct Heartbeats {
    receiver: mpsc::Receiver<Message>,
    /// When to look again.
    again_at: Option<Instant>,
}

impl Heartbeats {
    pub(super) const fn new(receiver: mpsc::Receiver<Message>) -> Self {
        Self {
            receiver,
            again_at: None,
        }
    }

    /// The first of those that come, at once if none came for a while. For ever, if nobody is there who could send any: whether the driver
    /// is still asked, its other queue says.
    pub(super) async fn next(&mut self) -> Message {
        if let Some(again_at) = self.again_at {
            tokio::time::sleep_until(again_at).await;
        }
        let Some(message) = self.receiver.recv().await else {
            return std::future::pending().await;
        };
        self.again_at = Some(Instant::now() + PAUSE);
        message
    }

    /// One that has come.
    pub(super) fn waiting(&mut self) -> Option<Message> {
        self.receiver.try_recv().ok()
    }

    pub(super) fn close(&mut self) {
        self.receiver.close();
    }
}
