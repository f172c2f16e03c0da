//! How a process ends: on a signal, or because one of its tasks failed.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Cancels `token` at the first SIGTERM or SIGINT, and returns then, or when the token is cancelled by somebody else.
///
/// # Errors
/// If the signals cannot be listened to.
pub async fn on_signals(token: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = token.cancelled() => return Ok(()),
    };
    tracing::info!(signal = name, "stopping");
    token.cancel();
    Ok(())
}

/// A task that failed, or ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It returned an error.
    #[error("task `{task}` failed: {}", crate::reason::whole(reason))]
    Failed {
        /// Its name.
        task: &'static str,
        /// Its error.
        reason: anyhow::Error,
    },
    /// It panicked.
    #[error("task `{task}` panicked: {reason}")]
    Panicked {
        /// Its name.
        task: &'static str,
        /// What the panic said.
        reason: String,
    },
    /// It returned although nobody had asked the process to end.
    #[error("task `{task}` ended before its time")]
    Ended {
        /// Its name.
        task: &'static str,
    },
    /// It went on after the time that it had to end.
    #[error("task `{task}` did not stop within {}", humantime::format_duration(*.grace))]
    Stuck {
        /// Its name.
        task: &'static str,
        /// The time that it had.
        grace: Duration,
    },
}

/// The main tasks of a process. They live and end together: when one fails, panics or ends before its time, the token
/// is cancelled, so that the others end too.
#[derive(Debug)]
pub struct TaskGroup {
    token: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
    names: Vec<(Id, &'static str)>,
}

impl TaskGroup {
    /// A group without tasks. Its tasks must end soon after `token` is cancelled.
    pub fn new(token: CancellationToken) -> Self {
        Self {
            token,
            tasks: JoinSet::new(),
            names: Vec::new(),
        }
    }

    /// The token that ends the group.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Starts a task. `name` is what reports call it.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.names.push((handle.id(), name));
    }

    /// Waits until all tasks have ended, at most `grace` after the token was cancelled; those that go on then are aborted.
    ///
    /// # Errors
    /// The first fault of a task. All of them are logged.
    pub async fn run(mut self, grace: Duration) -> Result<(), Error> {
        let token = self.token.clone();
        let mut first = None;
        let deadline = async {
            token.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        tokio::pin!(deadline);
        loop {
            let joined = tokio::select! {
                joined = self.tasks.join_next_with_id() => joined,
                () = &mut deadline => {
                    let stuck = self.stuck(grace);
                    self.tasks.shutdown().await;
                    first = first.or(stuck);
                    break;
                }
            };
            let Some(joined) = joined else { break };
            if let Some(fault) = self.fault(joined) {
                tracing::error!(error = %fault, "a task ended in a fault");
                first.get_or_insert(fault);
                token.cancel();
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn fault(&mut self, joined: Result<(Id, anyhow::Result<()>), JoinError>) -> Option<Error> {
        match joined {
            Ok((id, Ok(()))) => {
                let task = self.take_name(id);
                (!self.token.is_cancelled()).then_some(Error::Ended { task })
            }
            Ok((id, Err(reason))) => {
                let task = self.take_name(id);
                Some(Error::Failed { task, reason })
            }
            Err(error) => {
                let task = self.take_name(error.id());
                let reason = error
                    .try_into_panic()
                    .map_or_else(|error| error.to_string(), panic_text);
                Some(Error::Panicked { task, reason })
            }
        }
    }

    fn take_name(&mut self, id: Id) -> &'static str {
        let place = self.names.iter().position(|(known, _)| *known == id);
        place.map_or("unknown", |place| self.names.swap_remove(place).1)
    }

    fn stuck(&self, grace: Duration) -> Option<Error> {
        for (_, task) in &self.names {
            tracing::error!(task, "a task did not stop in time");
        }
        self.names.first().map(|(_, task)| Error::Stuck { task, grace })
    }
}

fn panic_text(payload: Box<dyn std::any::Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    fn waiting(group: &mut TaskGroup) {
        let token = group.token();
        group.spawn("waiting", async move {
            token.cancelled().await;
            Ok(())
        });
    }

    #[tokio::test]
    async fn a_fault_of_one_task_ends_all() {
        type Task = fn() -> anyhow::Result<()>;
        let failing: Task = || Err(anyhow::anyhow!("no disk"));
        let panicking: Task = || panic!("a bug");
        let ending: Task = || Ok(());
        for (task, expected) in [
            (failing, "task `odd` failed: no disk"),
            (panicking, "task `odd` panicked: a bug"),
            (ending, "task `odd` ended before its time"),
        ] {
            let mut group = TaskGroup::new(CancellationToken::new());
            waiting(&mut group);
            group.spawn("odd", async move { task() });
            assert_eq!(group.run(GRACE).await.unwrap_err().to_string(), expected);
        }
    }

    #[tokio::test]
    async fn ends_well_when_asked() {
        let token = CancellationToken::new();
        let mut group = TaskGroup::new(token.clone());
        waiting(&mut group);
        token.cancel();
        group.run(GRACE).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_goes_on_is_named() {
        let token = CancellationToken::new();
        let mut group = TaskGroup::new(token.clone());
        group.spawn("deaf", std::future::pending());
        token.cancel();
        let message = group.run(GRACE).await.unwrap_err().to_string();
        assert_eq!(message, "task `deaf` did not stop within 5s");
    }

    #[tokio::test]
    async fn a_signal_cancels() {
        let token = CancellationToken::new();
        let listener = tokio::spawn(on_signals(token.clone()));
        let own = rustix::process::getpid();
        // Until the handler is installed, SIGINT would end the test; a handler of this test's own comes first.
        let mut guard = signal(SignalKind::interrupt()).unwrap();
        while !token.is_cancelled() {
            rustix::process::kill_process(own, rustix::process::Signal::INT).unwrap();
            guard.recv().await;
            tokio::task::yield_now().await;
        }
        listener.await.unwrap().unwrap();
    }
}
