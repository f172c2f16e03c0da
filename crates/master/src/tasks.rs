//! The owner of tasks that come and go: sessions of agents. One of them that panics is seen here and ends nobody else.

use std::pin::Pin;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How many tasks wait to be started.
const WAITING: usize = 256;

type Task = (&'static str, Pin<Box<dyn Future<Output = ()> + Send>>);

/// Starts tasks. Clones share the owner.
#[derive(Clone)]
pub struct Tasks {
    sender: mpsc::Sender<Task>,
}

/// The task was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the master is stopping or has too much to do")]
pub struct NotStarted;

/// Owns the tasks.
pub struct Owner {
    receiver: mpsc::Receiver<Task>,
}

/// Makes an owner and the way to it.
pub fn tasks() -> (Tasks, Owner) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Tasks { sender }, Owner { receiver })
}

impl Tasks {
    /// Starts a task.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Result<(), NotStarted> {
        self.sender.try_send((name, Box::pin(task))).map_err(|_| NotStarted)
    }
}

impl Owner {
    /// Runs tasks until `stopping` is cancelled; they see that too and end by themselves, and are waited for.
    pub async fn run(mut self, stopping: CancellationToken) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                task = self.receiver.recv() => match task {
                    Some((name, task)) => {
                        running.spawn(async move {
                            task.await;
                            name
                        });
                    }
                    None => break,
                },
                Some(ended) = running.join_next() => report(ended),
                () = stopping.cancelled() => break,
            }
        }
        self.receiver.close();
        while let Some(ended) = running.join_next().await {
            report(ended);
        }
    }
}

fn report(ended: Result<&'static str, tokio::task::JoinError>) {
    match ended {
        Ok(task) => tracing::trace!(task, "task ended"),
        Err(error) => tracing::error!(%error, "a task failed"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_ends_nobody_else() {
        let (tasks, owner) = tasks();
        let stopping = CancellationToken::new();
        let running = tokio::spawn(owner.run(stopping.clone()));
        tasks.spawn("bad", async { panic!("a bug") }).unwrap();
        let (sender, receiver) = oneshot::channel();
        tasks
            .spawn("good", async move {
                sender.send(()).unwrap();
            })
            .unwrap();
        receiver.await.unwrap();
        stopping.cancel();
        running.await.unwrap();
        assert_eq!(tasks.spawn("late", async {}), Err(NotStarted));
    }
}
