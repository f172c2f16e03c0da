use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

/// Messages that are ready to be sent; more make the producer wait. Half a MiB a call.
const READY_MESSAGES: usize = 2;
/// How long a reader may take nothing before its call ends. Until then it keeps others from the memory that its chunk takes.
const SEND_DEADLINE: Duration = Duration::from_secs(30);

/// The messages of a call. The task that produces them ends with the call; unlike a mere stream it notices a reader that stalls.
pub struct Outgoing<T> {
    messages: mpsc::Receiver<Result<T, Status>>,
    producer: Option<AbortOnDropHandle<Result<(), Status>>>,
}

/// Where a producer puts its messages.
pub(super) struct Sender<T>(mpsc::Sender<Result<T, Status>>);

impl<T> Sender<T> {
    /// Waits until the reader has taken enough of what was sent before.
    pub(super) async fn send(&self, message: T) -> Result<(), Status> {
        match tokio::time::timeout(SEND_DEADLINE, self.0.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the reader is gone")),
            Err(_) => Err(Status::deadline_exceeded("the reader takes nothing")),
        }
    }
}

impl<T: Send + 'static> Outgoing<T> {
    /// Starts the producer; its error is the call's status.
    pub(super) fn produce<F>(producer: impl FnOnce(Sender<T>) -> F) -> Self
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let (sender, messages) = mpsc::channel(READY_MESSAGES);
        let producer = tokio::spawn(producer(Sender(sender)));
        Self {
            messages,
            producer: Some(AbortOnDropHandle::new(producer)),
        }
    }
}

impl<T> Stream for Outgoing<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(message) = ready!(self.messages.poll_recv(task)) {
            return Poll::Ready(Some(message));
        }
        let Some(producer) = &mut self.producer else {
            return Poll::Ready(None);
        };
        let ended = ready!(Pin::new(producer).poll(task));
        self.producer = None;
        Poll::Ready(match ended {
            Ok(Ok(())) => None,
            Ok(Err(status)) => Some(Err(status)),
            Err(error) => {
                tracing::error!(%error, "a call's producer did not end by itself");
                Some(Err(Status::internal("the call failed")))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;
    use tonic::Code;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stalls_ends_the_call_and_frees_what_the_producer_held() {
        let held = std::sync::Arc::new(());
        let kept = held.clone();
        let mut outgoing = Outgoing::produce(async move |sender: Sender<u32>| {
            let _kept = kept;
            for message in 0.. {
                sender.send(message).await?;
            }
            Ok(())
        });
        assert_eq!(outgoing.next().await.unwrap().unwrap(), 0);
        tokio::time::sleep(SEND_DEADLINE * 2).await;
        assert_eq!(std::sync::Arc::strong_count(&held), 1, "held only here");
        let mut last = outgoing.next().await.unwrap();
        while last.is_ok() {
            last = outgoing.next().await.unwrap();
        }
        assert_eq!(last.unwrap_err().code(), Code::DeadlineExceeded);
        assert!(outgoing.next().await.is_none());
    }

    #[tokio::test]
    async fn a_panic_of_the_producer_is_an_error_of_the_call_and_its_end_ends_the_producer() {
        let mut outgoing = Outgoing::produce(async move |_: Sender<u32>| panic!("on purpose"));
        assert_eq!(outgoing.next().await.unwrap().unwrap_err().code(), Code::Internal);
        let held = std::sync::Arc::new(());
        let kept = held.clone();
        let outgoing = Outgoing::produce(async move |_: Sender<u32>| {
            let _kept = kept;
            std::future::pending().await
        });
        drop(outgoing);
        while std::sync::Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
