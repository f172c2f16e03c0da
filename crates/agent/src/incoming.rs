//! Chunks as they come in messages, within a budget of memory: at the agent from couriers, at a courier from its pod.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tombolo_artifact::chunk::MAXIMUM_STORED_CHUNK_BYTES;
use tombolo_core::digest::Digest;
use tombolo_proto::courier::v1::ChunkUpload;
use tonic::{Status, Streaming};

/// How long the sender may take for its next message: until then it keeps others from the memory that its chunk takes.
const MESSAGE_DEADLINE: Duration = Duration::from_secs(30);

/// Takes chunks. Cheap to clone; clones share the memory that they may take.
#[derive(Clone)]
pub(crate) struct Incoming {
    memory: Arc<Semaphore>,
}

/// A chunk that has come whole; nothing of it was checked.
pub(crate) struct Received {
    pub(crate) digest: Digest,
    pub(crate) data: Bytes,
    /// The memory that it takes.
    pub(crate) share: OwnedSemaphorePermit,
}

impl Incoming {
    /// `bytes`: the memory, at least as much as the longest chunk takes.
    pub(crate) fn new(bytes: usize) -> Self {
        let memory = Arc::new(Semaphore::new(bytes));
        Self { memory }
    }

    /// Waits for memory for `bytes`.
    pub(crate) async fn share(&self, bytes: u32) -> Result<OwnedSemaphorePermit, Status> {
        let share = Arc::clone(&self.memory).acquire_many_owned(bytes).await;
        share.map_err(|_| Status::unavailable("it is shutting down"))
    }

    /// The chunks of a call. Waiting for the next one must not keep those before it from going on: they have its memory.
    pub(crate) fn chunks(
        &self,
        messages: Streaming<ChunkUpload>,
    ) -> impl Stream<Item = Result<Received, Status>> + use<> {
        let state = (self.clone(), messages);
        stream::try_unfold(state, |(incoming, mut messages)| async move {
            let next = incoming.next_chunk(&mut messages).await?;
            Ok(next.map(|chunk| (chunk, (incoming, messages))))
        })
    }

    async fn next_chunk(&self, messages: &mut Streaming<ChunkUpload>) -> Result<Option<Received>, Status> {
        let Some(first) = message(messages).await? else {
            return Ok(None);
        };
        let longest = MAXIMUM_STORED_CHUNK_BYTES as usize;
        let mut share = self.share(MAXIMUM_STORED_CHUNK_BYTES).await?;
        let digest = digest(&first.digest)?;
        let mut data = BytesMut::from(&first.data[..]);
        let mut last = first.last;
        while !last {
            let next = message(messages).await?;
            let next = next.ok_or_else(|| Status::invalid_argument("the call ended within a chunk"))?;
            if data.len() + next.data.len() > longest {
                return Err(Status::invalid_argument(format!(
                    "a chunk has more than {longest} bytes"
                )));
            }
            data.extend_from_slice(&next.data);
            last = next.last;
        }
        drop(share.split(longest.saturating_sub(data.len())));
        Ok(Some(Received {
            digest,
            data: data.freeze(),
            share,
        }))
    }
}

/// The next message, if it comes in time.
pub(crate) async fn message<T>(messages: &mut Streaming<T>) -> Result<Option<T>, Status> {
    let next = tokio::time::timeout(MESSAGE_DEADLINE, messages.message()).await;
    next.map_err(|_| Status::deadline_exceeded("the sender has stalled"))?
}

/// A digest from the wire.
pub(crate) fn digest(bytes: &[u8]) -> Result<Digest, Status> {
    let bytes = <[u8; 32]>::try_from(bytes);
    bytes
        .map(Digest::new)
        .map_err(|_| Status::invalid_argument("a digest has 32 bytes"))
}
