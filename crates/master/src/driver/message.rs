//! What the driver is sent.

use tokio::sync::{mpsc, oneshot};
use tombolo_core::attempt::Assignment;
use tombolo_core::control::event::TransferProgress;
use tombolo_core::control::{Command, Reply};
use tombolo_core::id::{BuildId, SessionId};
use tombolo_core::name::ClusterName;
use tombolo_core::session::{Hello, OrderFrame};

use super::handle::{ApplyError, Session};
use super::watch::Subscription;

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
        hello: Box<Hello>,
        reply: oneshot::Sender<Result<Session, ApplyError>>,
    },
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
