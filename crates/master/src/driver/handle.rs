//! The driver as the rest of the master sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tombolo_core::control::event::TransferProgress;
use tombolo_core::control::{Command, Control, Refusal, Reply};
use tombolo_core::id::{AttemptId, BuildId, SessionId};
use tombolo_core::name::{ClusterName, JobName};
use tombolo_core::session::{Hello, OrderFrame};
use tombolo_store::LeaderEpoch;

use super::heartbeats::Heartbeat;
use super::message::Message;
use super::transfers::{Moving, Transfers};
use super::watch::Subscription;

/// How long a caller waits for room in the driver's queue before it is told that there is too much to do.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// How many sessions and events a leadership may count before its numbers run into those of the next.
const PER_LEADERSHIP_BITS: u32 = 32;

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The control plane, or the database, refuses it. It has changed nothing.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is too much to do. It has changed nothing; try again later.
    #[error("the master has too much to do")]
    Overloaded,
    /// The master stops. It may have been carried out.
    #[error("the master is stopping")]
    Stopping,
    /// The database cannot be used. It may have been carried out; try again later.
    #[error("the master cannot use its database at the moment")]
    Unavailable,
}

/// What the driver shows without being asked.
#[derive(Debug, Default)]
pub(super) struct Shared {
    epoch: AtomicU64,
    last_session: AtomicU64,
    pub(super) transfers: Transfers,
}

impl Shared {
    /// A new leadership has begun.
    pub(super) fn lead(&self, epoch: LeaderEpoch) {
        self.epoch.store(epoch.0, Ordering::Release);
        self.last_session.fetch_max(first_number(epoch), Ordering::AcqRel);
    }
}

/// The number below all sessions (and events) of a leadership and above all of those before.
pub(super) const fn first_number(epoch: LeaderEpoch) -> u64 {
    epoch.0 << PER_LEADERSHIP_BITS
}

/// Gives commands to the driver and asks it questions. Cheap to clone. The driver ends when the last one is gone.
#[derive(Debug, Clone)]
pub struct Handle {
    sender: mpsc::Sender<Message>,
    /// A way of their own for heartbeats, which the driver takes together.
    heartbeats: mpsc::Sender<Heartbeat>,
    shared: Arc<Shared>,
}

impl Handle {
    pub(super) const fn new(
        sender: mpsc::Sender<Message>,
        heartbeats: mpsc::Sender<Heartbeat>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            sender,
            heartbeats,
            shared,
        }
    }

    /// Carries out a command. When it returns, what the command changed is durable.
    ///
    /// `Connect` is refused here: it is given by [`connect`](Self::connect).
    pub async fn apply(&self, command: Command) -> Result<Reply, ApplyError> {
        if matches!(command, Command::Connect { .. }) {
            return Err(Refusal::Conflict("a session needs somebody who takes its orders".to_owned()).into());
        }
        if matches!(command, Command::Heartbeat { .. }) {
            return ask(&self.heartbeats, |reply| (command, reply)).await?;
        }
        ask(&self.sender, |reply| Message::Apply { command, reply }).await?
    }

    /// Answers a question about the control plane as it is stored. The question must be quick: it holds up everything.
    pub async fn query<R: Send + 'static>(
        &self,
        question: impl FnOnce(&Control) -> R + Send + 'static,
    ) -> Result<R, ApplyError> {
        ask(&self.sender, |reply| {
            Message::Query(Box::new(move |control| {
                // Whoever does not wait any more does not want to know.
                let _ = reply.send(question(control));
            }))
        })
        .await
    }

    /// The number of a new session: higher than all before, also before a restart.
    pub fn next_session(&self) -> SessionId {
        SessionId(self.shared.last_session.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Begins a session (a number of [`next_session`](Self::next_session)): the agent of `cluster` has said `hello`. Any
    /// earlier session of the cluster ends.
    ///
    /// What comes back is what the agent is to do. It ends when the session is over for the driver: it was replaced, its
    /// reader was too slow, its cluster was removed, or the driver had to start again; the agent then connects anew and is
    /// brought up to date. Whoever holds the session reports the end of the connection with `Command::Disconnect`.
    pub async fn connect(
        &self,
        cluster: ClusterName,
        session: SessionId,
        hello: Box<Hello>,
    ) -> Result<mpsc::Receiver<OrderFrame>, ApplyError> {
        ask(&self.sender, |reply| Message::Connect {
            cluster,
            session,
            hello,
            reply,
        })
        .await?
    }

    /// Tells what happens to a build from now on. Subscribe first and read the present state after: events carry whole
    /// statuses, so that one that is seen twice does no harm.
    pub async fn subscribe(&self, build: BuildId) -> Result<Subscription, ApplyError> {
        ask(&self.sender, |reply| Message::Subscribe { build, reply }).await
    }

    /// Passes on how far a transfer is, as the agent of `cluster` says. Not durable; dropped under load, and if the attempt
    /// is not the cluster's.
    pub fn progress(&self, cluster: ClusterName, progress: TransferProgress) {
        // A full queue or a stopped driver: the next report says more than this one.
        let _ = self.sender.try_send(Message::Progress { cluster, progress });
    }

    /// How far the inputs of an attempt are that are on their way, as far as its agent has said.
    pub fn transfers(&self, attempt: AttemptId) -> Vec<Moving> {
        self.shared.transfers.of(attempt)
    }

    /// The same of one input; `parent` is none for the build's source.
    pub fn transfer(&self, attempt: AttemptId, parent: &Option<JobName>) -> Option<Moving> {
        self.shared.transfers.one(attempt, parent)
    }

    /// Carries out a command that writes nothing and whose outcome nobody waits for. Dropped under load.
    pub fn tell(&self, command: Command) {
        let (reply, _) = oneshot::channel();
        // A full queue or a stopped driver: it is said again when the agent connects.
        let _ = self.sender.try_send(Message::Apply { command, reply });
    }

    /// The present leadership: what is written to the store past the driver (logs) carries it.
    pub fn epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.shared.epoch.load(Ordering::Acquire))
    }
}

async fn ask<M, R>(sender: &mpsc::Sender<M>, message: impl FnOnce(oneshot::Sender<R>) -> M) -> Result<R, ApplyError> {
    let (reply, answer) = oneshot::channel();
    permit(sender).await?.send(message(reply));
    answer.await.map_err(|_| match sender.is_closed() {
        true => ApplyError::Stopping,
        false => ApplyError::Unavailable,
    })
}

/// A place in the driver's queue.
async fn permit<M>(sender: &mpsc::Sender<M>) -> Result<mpsc::Permit<'_, M>, ApplyError> {
    // There is one nearly always, and then nobody has to look at the clock.
    match sender.try_reserve() {
        Ok(permit) => return Ok(permit),
        Err(TrySendError::Closed(())) => return Err(ApplyError::Stopping),
        Err(TrySendError::Full(())) => {}
    }
    match tokio::time::timeout(QUEUE_WAIT, sender.reserve()).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) => Err(ApplyError::Stopping),
        Err(_) => Err(ApplyError::Overloaded),
    }
}
