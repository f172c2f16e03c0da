//! The driver as the rest of the master sees it.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tombolo_core::control::event::TransferProgress;
use tombolo_core::control::{Command, Refusal, Reply};
use tombolo_core::id::{BuildId, SessionId};
use tombolo_core::name::ClusterName;
use tombolo_core::session::{Hello, OrderFrame};

use super::message::Message;
use super::watch::Subscription;

/// How long a caller waits for room in the driver's queue before it is told that there is too much to do.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

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

/// A session of an agent, from the driver's side.
#[derive(Debug)]
pub struct Session {
    /// Its number: higher than those of all sessions before, also before a restart.
    pub id: SessionId,
    /// What the agent is to do. Ends when the session is over for the driver: it was replaced, its reader was too slow, its
    /// cluster was removed, or the driver had to start again. The agent then connects anew and is brought up to date.
    pub orders: mpsc::Receiver<OrderFrame>,
}

/// Gives commands to the driver and asks it questions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    sender: mpsc::Sender<Message>,
}

impl Handle {
    pub(super) const fn new(sender: mpsc::Sender<Message>) -> Self {
        Self { sender }
    }

    /// Carries out a command. When it returns, what the command changed is durable.
    ///
    /// `Connect` is given by [`connect`](Self::connect) only.
    pub async fn apply(&self, command: Command) -> Result<Reply, ApplyError> {
        self.ask(|reply| Message::Apply { command, reply }).await?
    }

    /// Begins a session: the agent of `cluster` has said `hello`. Any earlier session of the cluster ends.
    ///
    /// Whoever holds the session reports its end with `Command::Disconnect`.
    pub async fn connect(&self, cluster: ClusterName, hello: Box<Hello>) -> Result<Session, ApplyError> {
        self.ask(|reply| Message::Connect { cluster, hello, reply }).await?
    }

    /// Tells what happens to a build from now on. Subscribe first and read the present state after: events carry whole
    /// statuses, so that one that is seen twice does no harm.
    pub async fn subscribe(&self, build: BuildId) -> Result<Subscription, ApplyError> {
        self.ask(|reply| Message::Subscribe { build, reply }).await
    }

    /// Passes on how far a transfer is, as the agent of `cluster` says. Not durable; dropped under load, and if the attempt
    /// is not the cluster's.
    pub fn progress(&self, cluster: ClusterName, progress: TransferProgress) {
        // A full queue or a stopped driver: the next report says more than this one.
        let _ = self.sender.try_send(Message::Progress { cluster, progress });
    }

    async fn ask<R>(&self, message: impl FnOnce(oneshot::Sender<R>) -> Message) -> Result<R, ApplyError> {
        let (reply, answer) = oneshot::channel();
        let permit = match tokio::time::timeout(QUEUE_WAIT, self.sender.reserve()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(ApplyError::Stopping),
            Err(_) => return Err(ApplyError::Overloaded),
        };
        permit.send(message(reply));
        answer.await.map_err(|_| ApplyError::Stopping)
    }
}
