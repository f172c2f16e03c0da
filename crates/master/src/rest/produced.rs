//! A body that a future writes while it is read: no task of its own, nothing more than one piece in memory, and it ends with
//! the reader.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};

/// Where the future writes to. Clones are one.
#[derive(Clone)]
pub(crate) struct Sink(mpsc::Sender<Bytes>);

/// How long a reader may take nothing. Until then it keeps others from what its piece takes.
const STALLED: Duration = Duration::from_secs(60);

/// How long an error comes after the last piece. A stream of HTTP/2 that breaks off takes with it what its connection has not sent yet,
/// its head first of all: a reader would not learn how far it has come, and ask for the same again and again.
const SENT_AFTER: Duration = Duration::from_secs(1);

/// There is nothing to go on for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The reader is gone.
    #[error("the reader is gone")]
    Gone,
    /// The reader takes nothing.
    #[error("the reader took nothing for {} s", STALLED.as_secs())]
    Stalled,
}

impl Sink {
    /// Whether there is still somebody who reads.
    pub(crate) fn is_read(&self) -> bool {
        !self.0.is_closed()
    }

    /// Gives one piece to the reader. Waits until the one before was taken.
    pub(crate) async fn send(&self, piece: Bytes) -> Result<(), SendError> {
        match tokio::time::timeout(STALLED, self.0.send(piece)).await {
            Ok(sent) => sent.map_err(|_| SendError::Gone),
            Err(_) => Err(SendError::Stalled),
        }
    }
}

type Producer = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// The body. An error of the future breaks the body off once what came before is sent, so that the reader does not take it for whole.
pub(crate) struct Produced {
    producer: Option<Producer>,
    pieces: mpsc::Receiver<Bytes>,
    /// Whether a piece was given, which an error could take along.
    has_given: bool,
    /// What the future has failed with, and until when that is kept back.
    failure: Option<(io::Error, Pin<Box<Sleep>>)>,
}

/// Makes the body that `produce` writes.
pub(crate) fn produced<F>(produce: impl FnOnce(Sink) -> F) -> Produced
where
    F: Future<Output = Result<(), io::Error>> + Send + 'static,
{
    let (sender, pieces) = mpsc::channel(1);
    Produced {
        producer: Some(Box::pin(produce(Sink(sender)))),
        pieces,
        has_given: false,
        failure: None,
    }
}

impl Produced {
    /// The body, once its first piece is there: what fails before that can still be answered with an error.
    pub(crate) async fn begun(mut self) -> io::Result<impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static> {
        let first = self.next().await.transpose()?;
        Ok(stream::iter(first.map(Ok)).chain(self))
    }
}

impl Stream for Produced {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(producer) = &mut self.producer {
            match producer.as_mut().poll(context) {
                Poll::Ready(Ok(())) => self.producer = None,
                Poll::Ready(Err(error)) => {
                    self.producer = None;
                    self.pieces.close();
                    self.failure = Some((error, Box::pin(sleep(SENT_AFTER))));
                }
                Poll::Pending => {}
            }
        }
        match self.pieces.poll_recv(context) {
            Poll::Ready(Some(piece)) => {
                self.has_given = true;
                Poll::Ready(Some(Ok(piece)))
            }
            // With the producer done its sender is gone, and the end is the channel's.
            Poll::Ready(None) if self.producer.is_none() => self.poll_end(context),
            _ => Poll::Pending,
        }
    }
}

impl Produced {
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        if let Some((_, pause)) = self.failure.as_mut().filter(|_| self.has_given) {
            ready!(pause.as_mut().poll(context));
        }
        Poll::Ready(self.failure.take().map(|(error, _)| Err(error)))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use hyper_util::server::conn::auto::Builder;

    use super::*;

    #[tokio::test]
    async fn pieces_come_in_order_and_end() {
        let body = produced(|sink| async move {
            for number in 0..100_u8 {
                sink.send(Bytes::from(vec![number])).await.map_err(io::Error::other)?;
            }
            Ok(())
        });
        let pieces: Vec<_> = body.map(Result::unwrap).collect().await;
        assert_eq!(pieces.concat(), (0..100).collect::<Vec<u8>>());
    }

    #[tokio::test]
    async fn what_fails_at_once_is_no_body() {
        let begun = produced(|_sink| async { Err(io::Error::other("damaged")) })
            .begun()
            .await;
        assert_eq!(begun.err().map(|error| error.to_string()).as_deref(), Some("damaged"));
        let body = produced(|sink| async move {
            sink.send(Bytes::from_static(b"a")).await.map_err(io::Error::other)?;
            sink.send(Bytes::from_static(b"b")).await.map_err(io::Error::other)
        });
        let pieces: Vec<_> = body.begun().await.unwrap().map(Result::unwrap).collect().await;
        assert_eq!(pieces.concat(), b"ab");
        let nothing = produced(|_sink| async { Ok(()) }).begun().await.unwrap();
        assert_eq!(nothing.count().await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_breaks_the_body_off_after_what_came_before() {
        let began = tokio::time::Instant::now();
        let body = produced(|sink| async move {
            sink.send(Bytes::from_static(b"some")).await.map_err(io::Error::other)?;
            Err(io::Error::other("no more"))
        });
        let pieces: Vec<_> = body
            .map(|piece| piece.map_err(|error| (error.to_string(), began.elapsed() >= SENT_AFTER)))
            .collect()
            .await;
        assert_eq!(
            pieces,
            [Ok(Bytes::from_static(b"some")), Err(("no more".to_owned(), true))]
        );
    }

    /// Without the pause the head of the answer would never be sent.
    #[tokio::test]
    async fn what_came_before_an_error_is_read_over_http2() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let answer = |_: http::Request<hyper::body::Incoming>| async {
                let body = produced(|sink| async move {
                    sink.send(Bytes::from_static(b"some")).await.map_err(io::Error::other)?;
                    Err(io::Error::other("no more"))
                });
                let body = Body::from_stream(body.begun().await?);
                Ok::<_, io::Error>(http::Response::new(body))
            };
            let connection = Builder::new(TokioExecutor::new()).http2_only();
            let _ = connection
                .serve_connection(TokioIo::new(socket), service_fn(answer))
                .await;
        });
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
        let mut response = client.get(format!("http://{address}/")).send().await.unwrap();
        assert_eq!(response.chunk().await.unwrap().unwrap(), "some");
        assert!(response.chunk().await.is_err());
        serving.abort();
    }
}
