//! The port to whatever runs commands.

pub mod kubernetes;
pub mod process;

use std::future::Future;
use std::io;

use tombolo_core::attempt::Assignment;
use tombolo_core::id::AttemptId;
use tombolo_core::session::Capability;
use tombolo_core::time::Timestamp;

use crate::folder::AttemptFolder;
use crate::supervisor::Exit;

/// Runs the commands of attempts. All of it may be repeated after a crash of the agent: what was done is found again.
pub trait Executor: Send + Sync + 'static {
    /// A command that was started.
    type Running: Running;

    /// What it can do.
    fn capabilities(&self) -> Vec<Capability>;

    /// Makes a fresh sandbox with everything but source and inputs; what an earlier try left of it is removed. Returns what
    /// the job's log should say before the command starts.
    ///
    /// # Errors
    /// [`Error::Refused`] for a job that cannot run here; [`Error::System`].
    fn prepare(
        &self,
        folder: &AttemptFolder,
        assignment: &Assignment,
    ) -> impl Future<Output = Result<Vec<String>, Error>> + Send;

    /// Starts the command, at most once for each attempt: one that was started is found.
    ///
    /// # Errors
    /// [`Error::Lost`] if it was started and whatever watched it is gone; [`Error::System`].
    fn start(
        &self,
        folder: &AttemptFolder,
        assignment: &Assignment,
    ) -> impl Future<Output = Result<Self::Running, Error>> + Send;

    /// Ends whatever still runs of the attempt, and removes what of it lies outside of its folder. It is no error if there is
    /// nothing.
    ///
    /// # Errors
    /// [`Error::System`]; it may be tried again.
    fn clear(&self, folder: &AttemptFolder, attempt: AttemptId) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A command that was started, and may have ended.
pub trait Running: Send {
    /// When it started; none if it could not be.
    fn started_at(&self) -> Option<Timestamp>;

    /// Waits for its end. `on_output` is called whenever its log has grown. Cancelling it loses nothing.
    ///
    /// # Errors
    /// [`Error::Lost`] if nobody knows how it ended; [`Error::System`].
    fn ended(&mut self, on_output: impl Fn() + Send + Sync) -> impl Future<Output = Result<Exit, Error>> + Send;

    /// Asks for its end, which [`Self::ended`] then brings.
    ///
    /// # Errors
    /// [`Error::System`]; none if it has ended.
    fn stop(&mut self, urgency: Urgency) -> impl Future<Output = Result<(), Error>> + Send;
}

/// How a command is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// It may clean up.
    Graceful,
    /// At once.
    Immediate,
}

/// Why the system failed an attempt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job cannot run on this cluster.
    #[error("{0}")]
    Refused(String),
    /// The command was started, and nobody knows what became of it.
    #[error("the supervisor of the command died{}", said.as_ref().map(|said| format!(": {said}")).unwrap_or_default())]
    Lost {
        /// The last thing that it said, if anything.
        said: Option<String>,
    },
    /// The system does not play along.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn system<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            action,
            source: source.into(),
        }
    }
}
