//! The driver: one task that owns the control plane's state machine and stands between it and the world.
//!
//! In a loop it takes the commands that have come, applies them, writes what they change in one transaction, and only then
//! lets out what they bring about: answers, orders to agents, events to watchers. Nothing is visible before it is durable,
//! and a thousand commands cost one commit.
//!
//! When a commit fails, memory is ahead of the database and there is no way back: the driver begins a new leadership (so that
//! whatever is still under way of the old one can write no more) and reads its state again. Sessions and watchers end then;
//! both come back and are brought up to date, as after any lost connection.
//!
//! * *Unavailable*, or the outcome is unknown and the commit turns out not to be there: the same commit is tried again, for a
//!   while. Then its commands are answered with [`ApplyError::Unavailable`], and so is everyone until the database is back.
//! * *Rejected*: the commands are applied again, in ever smaller batches, until the one that the database will not have is
//!   found. It alone is refused.
//! * *Deposed*: another master leads. The driver ends.

mod batch;
mod collect;
mod commit;
mod dispatch;
mod handle;
mod heartbeats;
mod message;
mod reports;
mod sessions;
mod start;
#[cfg(test)]
pub(crate) mod tests;
mod transfers;
mod watch;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tombolo_core::control::Control;
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_store::{LeaderEpoch, Sequence};

use crate::clock::Clock;
use collect::Tick;
use heartbeats::Heartbeats;
use message::{Message, Request};
use sessions::Sessions;
use watch::Watchers;

pub use handle::{ApplyError, Handle};
pub use reports::{Report, Reports};
pub use start::{Error, Options};
pub use transfers::Moving;
pub use watch::{Numbered, Subscription, Watched};

/// Signs the right of a cluster to read an artifact.
pub trait Grants: Send + Sync + 'static {
    /// The right of the agent of `reader` to read the artifact `manifest` of `project`, good from `now` on for as long as an
    /// attempt may need it. None if it cannot be signed; the agent is then refused by the source and says so.
    fn grant(&self, reader: &ClusterName, project: ProjectId, manifest: Digest, now: Timestamp) -> Option<Vec<u8>>;
}

/// The driver. Made by [`Driver::start`], lives in [`Driver::run`].
pub struct Driver<S> {
    store: Arc<S>,
    clock: Arc<dyn Clock>,
    grants: Arc<dyn Grants>,
    options: Options,
    receiver: mpsc::Receiver<Message>,
    heartbeats: Heartbeats,
    shared: Arc<handle::Shared>,
    /// As far as applied; ahead of the database only while a commit is under way.
    control: Control,
    epoch: LeaderEpoch,
    /// The last commit that is known to be durable.
    sequence: Sequence,
    stop: CancellationToken,
    /// Commands that wait for their turn.
    pending: VecDeque<Request>,
    /// How many commands the next batch may have; fewer while one is sought that the database rejects.
    batch_limit: usize,
    /// How many commands at the front of `pending` are known to have one among them that the database rejects.
    suspects: usize,
    tick: Tick,
    sessions: Sessions,
    watchers: Watchers,
}

impl<S> std::fmt::Debug for Driver<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = formatter.debug_struct("Driver");
        text.field("epoch", &self.epoch)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}
