//! What a courier brings: chunks and the manifest of its attempt's output.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tombolo_artifact::chunk::MAXIMUM_STORED_CHUNK_BYTES;
use tombolo_artifact::manifest::MAXIMUM_MANIFEST_BYTES;
use tombolo_artifact::{Manifest, StoredChunk};
use tombolo_core::attempt::OutputReference;
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_proto::courier::v1::{ChunkUpload, ManifestUpload};
use tombolo_transfer::ChunkStore;
use tombolo_transfer::store::Error;
use tonic::{Status, Streaming};

/// How many chunks one question may name.
const QUESTION_CHUNKS: usize = 4096;
/// Questions to the store that are under way at once, for one courier.
const QUESTIONS_AT_ONCE: usize = 16;
/// The memory that uploads of all couriers together may take, in bytes: three of the longest chunks, or a dozen average ones.
const UPLOAD_BYTES: usize = 3 * MAXIMUM_STORED_CHUNK_BYTES as usize;
/// Chunks of one call that are being written at once.
const WRITES_AT_ONCE: usize = 8;
/// How long a courier may take for its next message: until then it keeps others from the memory that its chunk takes.
const MESSAGE_DEADLINE: Duration = Duration::from_secs(30);

/// Takes uploads into one store. Cheap to clone; clones share the memory that they may take.
#[derive(Clone)]
pub(super) struct Uploads {
    store: ChunkStore,
    memory: Arc<Semaphore>,
}

impl Uploads {
    pub(super) fn new(store: ChunkStore) -> Self {
        let memory = Arc::new(Semaphore::new(UPLOAD_BYTES));
        Self { store, memory }
    }

    /// The places in the list of those that are not in the store.
    pub(super) async fn missing(&self, project: ProjectId, digests: Vec<Bytes>) -> Result<Vec<u32>, Status> {
        if digests.len() > QUESTION_CHUNKS {
            let limit = format!("a call names at most {QUESTION_CHUNKS} chunks");
            return Err(Status::invalid_argument(limit));
        }
        let digests = digests
            .iter()
            .map(|bytes| digest(bytes))
            .collect::<Result<Vec<_>, _>>()?;
        let mut answers = futures::stream::iter((0_u32..).zip(digests))
            .map(|(place, digest)| async move {
                let known = self.store.has_chunk(project, digest).await;
                known
                    .map(|known| (!known).then_some(place))
                    .map_err(|error| status(&error))
            })
            .buffered(QUESTIONS_AT_ONCE);
        let mut missing = Vec::new();
        while let Some(answer) = answers.next().await {
            missing.extend(answer?);
        }
        Ok(missing)
    }

    /// Writes all chunks of a call. Each is checked against its digest first.
    pub(super) async fn chunks(&self, project: ProjectId, mut messages: Streaming<ChunkUpload>) -> Result<(), Status> {
        let mut writes = FuturesUnordered::new();
        while let Some(chunk) = self.next_chunk(&mut messages).await? {
            writes.push(self.write(project, chunk));
            while writes.len() >= WRITES_AT_ONCE {
                writes.next().await.transpose()?;
            }
        }
        while let Some(written) = writes.next().await {
            written?;
        }
        Ok(())
    }

    async fn next_chunk(&self, messages: &mut Streaming<ChunkUpload>) -> Result<Option<Received>, Status> {
        let Some(first) = message(messages).await? else {
            return Ok(None);
        };
        let longest = MAXIMUM_STORED_CHUNK_BYTES as usize;
        let mut share = Arc::clone(&self.memory)
            .acquire_many_owned(MAXIMUM_STORED_CHUNK_BYTES)
            .await
            .map_err(|_| Status::unavailable("this agent is shutting down"))?;
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
        drop(share.split(longest - data.len()));
        Ok(Some(Received {
            digest,
            data: data.freeze(),
            _share: share,
        }))
    }

    async fn write(&self, project: ProjectId, received: Received) -> Result<(), Status> {
        let Received { digest, data, _share } = received;
        let verified = tokio::task::spawn_blocking(move || StoredChunk::verify_digest(data, digest)).await;
        let (stored, _) = verified
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::data_loss(format!("chunk {digest} arrived damaged: {error}")))?;
        self.store
            .put_chunk(project, &stored)
            .await
            .map_err(|error| status(&error))?;
        Ok(())
    }

    /// Writes the manifest, all of whose chunks must be there.
    pub(super) async fn manifest(
        &self,
        project: ProjectId,
        mut messages: Streaming<ManifestUpload>,
    ) -> Result<OutputReference, Status> {
        let mut encoded = BytesMut::new();
        while let Some(piece) = message(&mut messages).await? {
            if encoded.len() + piece.data.len() > MAXIMUM_MANIFEST_BYTES as usize {
                let limit = format!("a manifest has at most {MAXIMUM_MANIFEST_BYTES} bytes");
                return Err(Status::invalid_argument(limit));
            }
            encoded.extend_from_slice(&piece.data);
        }
        let manifest = Manifest::decode(encoded.freeze())
            .map_err(|error| Status::invalid_argument(format!("this is no manifest: {error}")))?;
        let mut chunks = futures::stream::iter(manifest.chunks())
            .map(|chunk| async move { (chunk, self.store.has_chunk(project, chunk.digest).await) })
            .buffered(QUESTIONS_AT_ONCE);
        while let Some((chunk, known)) = chunks.next().await {
            if !known.map_err(|error| status(&error))? {
                return Err(Status::failed_precondition(format!(
                    "chunk {} was not sent",
                    chunk.digest
                )));
            }
        }
        drop(chunks);
        self.store
            .put_manifest(project, &manifest)
            .await
            .map_err(|error| status(&error))?;
        Ok(manifest.reference())
    }

    /// The reference of a manifest that was sent before.
    pub(super) async fn reference(&self, project: ProjectId, manifest: &[u8]) -> Result<OutputReference, Status> {
        let manifest = digest(manifest)?;
        let manifest = self.store.get_manifest(project, manifest).await;
        Ok(manifest.map_err(|error| status(&error))?.reference())
    }
}

/// A chunk that has come whole.
struct Received {
    digest: Digest,
    data: Bytes,
    _share: OwnedSemaphorePermit,
}

/// The next message, if it comes in time.
async fn message<T>(messages: &mut Streaming<T>) -> Result<Option<T>, Status> {
    let next = tokio::time::timeout(MESSAGE_DEADLINE, messages.message()).await;
    next.map_err(|_| Status::deadline_exceeded("the courier has stalled"))?
}

fn digest(bytes: &[u8]) -> Result<Digest, Status> {
    let bytes = <[u8; 32]>::try_from(bytes);
    bytes
        .map(Digest::new)
        .map_err(|_| Status::invalid_argument("a digest has 32 bytes"))
}

/// What a courier is told. All that is not its fault may pass.
fn status(error: &Error) -> Status {
    match error {
        Error::Missing { what, digest, .. } => Status::failed_precondition(format!("{what} {digest} is not there")),
        _ => {
            tracing::warn!(%error, "cannot write for a courier");
            Status::unavailable("the cluster's store cannot be used at present")
        }
    }
}
