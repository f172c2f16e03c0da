//! The way to the attempts that run here, for whoever wants another command beside one of theirs.

use std::path::PathBuf;

use futures::FutureExt;
use futures::future::BoxFuture;
use tombolo_core::id::AttemptId;

use super::{Failure, Request, Session};
use crate::executor::Executor;
use crate::folder::AttemptFolder;

/// Starts commands beside those of attempts.
pub trait Enter: Send + Sync + 'static {
    /// Starts a command in the surroundings of the attempt's own. What becomes of it is told by the session.
    ///
    /// # Errors
    /// [`Failure`] if it is known at once that there is no way.
    fn enter(&self, attempt: AttemptId, request: Request) -> BoxFuture<'_, Result<Session, Failure>>;
}

/// The attempts of an executor.
#[derive(Debug, Clone)]
pub struct Entrance<E> {
    executor: E,
    attempts: PathBuf,
}

impl<E: Executor> Entrance<E> {
    /// `attempts` is the folder that the attempts' folders are in.
    pub const fn new(executor: E, attempts: PathBuf) -> Self {
        Self { executor, attempts }
    }
}

impl<E: Executor> Enter for Entrance<E> {
    fn enter(&self, attempt: AttemptId, request: Request) -> BoxFuture<'_, Result<Session, Failure>> {
        let folder = AttemptFolder::new(self.attempts.join(attempt.to_string()));
        async move { self.executor.enter(&folder, attempt, request).await }.boxed()
    }
}
