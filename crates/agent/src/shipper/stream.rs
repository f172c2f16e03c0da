//! One call of `Bulk/PushLogs`.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tombolo_core::id::AttemptId;
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::bulk_client::BulkClient;
use tombolo_proto::convert;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::reading::Batch;

/// Batches that wait to be sent; more make the shipper wait. One MiB.
const OUTGOING_BATCHES: usize = 4;
/// How long the master may take to begin, to take a batch, and to answer one: it writes several in one transaction.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The master, or the way to it.
    #[error("{}: {}", .0.code(), .0.message())]
    Status(Box<Status>),
    /// Nothing happened for too long.
    #[error("the master did not {0} in time")]
    Late(&'static str),
    /// It ended without being asked to.
    #[error("the stream ended")]
    Ended,
    /// What came cannot be read.
    #[error(transparent)]
    Invalid(#[from] convert::Error),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// What the master says of one batch.
pub(super) struct Acknowledgement {
    pub(super) attempt: AttemptId,
    pub(super) next_line: u64,
    pub(super) refused: bool,
}

pub(super) struct Stream {
    outgoing: mpsc::Sender<wire::LogBatch>,
    incoming: Streaming<wire::LogAcknowledgement>,
    answered: bool,
}

impl Stream {
    pub(super) async fn open(master: Channel) -> Result<Self, Error> {
        let (outgoing, batches) = mpsc::channel(OUTGOING_BATCHES);
        let mut client = BulkClient::new(master);
        let opening = timeout(DEADLINE, client.push_logs(ReceiverStream::new(batches))).await;
        let incoming = opening.map_err(|_| Error::Late("begin"))??.into_inner();
        Ok(Self {
            outgoing,
            incoming,
            answered: false,
        })
    }

    pub(super) async fn send(&self, attempt: AttemptId, batch: Batch) -> Result<(), Error> {
        let lines = batch.lines.into_iter().map(|line| wire::LogLine {
            at: line.at.0,
            text: line.text,
        });
        let batch = wire::LogBatch {
            attempt: Some(attempt.into()),
            first_line: batch.first_line,
            lines: lines.collect(),
        };
        match timeout(DEADLINE, self.outgoing.send(batch)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Error::Ended),
            Err(_) => Err(Error::Late("take lines")),
        }
    }

    /// The next answer. Dropping the future loses nothing.
    pub(super) async fn receive(&mut self) -> Result<Acknowledgement, Error> {
        let answer = self.incoming.message().await?.ok_or(Error::Ended)?;
        self.answered = true;
        Ok(Acknowledgement {
            attempt: convert::attempt(answer.attempt, "LogAcknowledgement.attempt")?,
            next_line: answer.next_line,
            refused: answer.refused,
        })
    }

    /// Whether the master has answered anything.
    pub(super) const fn was_of_use(&self) -> bool {
        self.answered
    }

    /// Finds out that the master has stopped answering; `oldest` is when the oldest batch without an answer was sent.
    pub(super) fn check(&self, oldest: Option<Instant>) -> Result<(), Error> {
        match oldest {
            Some(sent_at) if sent_at.elapsed() > DEADLINE => Err(Error::Late("acknowledge lines")),
            _ => Ok(()),
        }
    }
}
