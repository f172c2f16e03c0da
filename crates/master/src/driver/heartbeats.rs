//! Heartbeats, taken together.
//!
//! Thousands of clusters that have nothing to do would wake the driver for each of theirs, and each of its answers wake somebody again. A
//! heartbeat that is answered a little later does no harm: the agent counts from when it sent it, and what waits here is heard before anybody
//! looks whether a lease has ended.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tombolo_core::control::{Command, Reply};

use super::handle::ApplyError;
use super::message::{Origin, Request};

/// How long heartbeats wait for others once some were taken.
const PAUSE: Duration = Duration::from_millis(20);

/// A heartbeat, and who waits for its answer.
pub(super) type Heartbeat = (Command, oneshot::Sender<Result<Reply, ApplyError>>);

/// The driver's end of the way that heartbeats have of their own.
pub(super) struct Heartbeats {
    receiver: mpsc::Receiver<Heartbeat>,
    /// When to look again.
    again_at: Option<Instant>,
}

impl Heartbeats {
    pub(super) const fn new(receiver: mpsc::Receiver<Heartbeat>) -> Self {
        Self {
            receiver,
            again_at: None,
        }
    }

    /// The first of those that come, at once if none came for a while. For ever, if nobody is there who could send any: whether the driver
    /// is still asked, its other queue says.
    pub(super) async fn next(&mut self) -> Request {
        if let Some(again_at) = self.again_at {
            tokio::time::sleep_until(again_at).await;
        }
        let Some(heartbeat) = self.receiver.recv().await else {
            return std::future::pending().await;
        };
        self.again_at = Some(Instant::now() + PAUSE);
        request(heartbeat)
    }

    /// One that has come.
    pub(super) fn waiting(&mut self) -> Option<Request> {
        self.receiver.try_recv().ok().map(request)
    }

    pub(super) fn close(&mut self) {
        self.receiver.close();
    }
}

fn request((command, reply): Heartbeat) -> Request {
    Request {
        command,
        origin: Origin::Caller(reply),
    }
}
