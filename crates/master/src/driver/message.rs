//! What the driver is sent.

use tokio::sync::{mpsc, oneshot};
use tombolo_core::control::event::TransferProgress;
use tombolo_core::control::{Command, Control, Reply};
use tombolo_core::id::{BuildId, SessionId};
use tombolo_core::name::ClusterName;
use tombolo_core::session::{Hello, OrderFrame};

use super::handle::ApplyError;
use super::watch::Subscription;

/// A question about the control plane, which answers itself.
pub(super) type Question = Box<dyn FnOnce(&Control) + Send>;

/// One thing for the driver to do.
pub(super) enum Message {
    /// Carry out a command.
    Apply {
        command: Command,
        reply: oneshot::Sender<Result<Reply, ApplyError>>,
    },
    /// Begin a session.
    Connect {
        cluster: ClusterName,
        session: SessionId,
        hello: Box<Hello>,
        reply: oneshot::Sender<Result<mpsc::Receiver<OrderFrame>, ApplyError>>,
    },
    /// Answer a question.
    Query(Question),
    /// Tell what happens to a build.
    Subscribe {
        build: BuildId,
        reply: oneshot::Sender<Subscription>,
    },
    /// Pass on how far a transfer is.
    Progress {
        cluster: ClusterName,
        progress: TransferProgress,
    },
}

impl Message {
    /// Answers that it was not done. Questions and subscriptions learn it from their answer's end.
    pub(super) fn fail(self, error: ApplyError) {
        match self {
            Self::Apply { reply, .. } => drop(reply.send(Err(error))),
            Self::Connect { reply, .. } => drop(reply.send(Err(error))),
            Self::Query(_) | Self::Subscribe { .. } | Self::Progress { .. } => {}
        }
    }
}

/// A command and who waits for its outcome.
pub(super) struct Request {
    pub(super) command: Command,
    pub(super) origin: Origin,
}

/// Who waits for the outcome of a command.
pub(super) enum Origin {
    /// Whoever gave it.
    Caller(oneshot::Sender<Result<Reply, ApplyError>>),
    /// An agent that connects.
    Agent(oneshot::Sender<Result<mpsc::Receiver<OrderFrame>, ApplyError>>),
    /// Nobody: the driver itself.
    Driver,
}

impl Request {
    /// A command of the driver itself.
    pub(super) const fn internal(command: Command) -> Self {
        Self {
            command,
            origin: Origin::Driver,
        }
    }

    /// Answers that it was not carried out.
    pub(super) fn fail(self, error: ApplyError) {
        // Whoever does not wait any more does not want to know.
        match self.origin {
            Origin::Caller(reply) => drop(reply.send(Err(error))),
            Origin::Agent(reply) => drop(reply.send(Err(error))),
            Origin::Driver => {}
        }
    }
}
