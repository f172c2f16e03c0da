//! What a courier brings: chunks and the manifest of its attempt's output.

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use tombolo_artifact::chunk::MAXIMUM_STORED_CHUNK_BYTES;
use tombolo_artifact::manifest::MAXIMUM_MANIFEST_BYTES;
use tombolo_artifact::{Manifest, StoredChunk};
use tombolo_core::attempt::OutputReference;
use tombolo_core::id::ProjectId;
use tombolo_proto::courier::v1::{ChunkUpload, ManifestUpload};
use tombolo_transfer::ChunkStore;
use tombolo_transfer::store::Error;
use tonic::{Status, Streaming};

use crate::incoming::{Incoming, Received, digest, message};

/// How many chunks one question may name.
const QUESTION_CHUNKS: usize = 4096;
/// Questions to the store that are under way at once, for one courier.
const QUESTIONS_AT_ONCE: usize = 16;
/// The memory that uploads of all couriers together may take, in bytes: three of the longest chunks, or a dozen average ones.
const UPLOAD_BYTES: usize = 3 * MAXIMUM_STORED_CHUNK_BYTES as usize;
/// Chunks of one call that are being written at once.
const WRITES_AT_ONCE: usize = 8;

/// Takes uploads into one store. Cheap to clone; clones share the memory that they may take.
#[derive(Clone)]
pub(super) struct Uploads {
    store: ChunkStore,
    incoming: Incoming,
}

impl Uploads {
    pub(super) fn new(store: ChunkStore) -> Self {
        let incoming = Incoming::new(UPLOAD_BYTES);
        Self { store, incoming }
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
    pub(super) async fn chunks(&self, project: ProjectId, messages: Streaming<ChunkUpload>) -> Result<(), Status> {
        let writes = self.incoming.chunks(messages);
        writes
            .try_for_each_concurrent(WRITES_AT_ONCE, |chunk| self.write(project, chunk))
            .await
    }

    async fn write(&self, project: ProjectId, received: Received) -> Result<(), Status> {
        let Received { digest, data, share } = received;
        let verified = tokio::task::spawn_blocking(move || StoredChunk::verify_digest(data, digest)).await;
        let (stored, _) = verified
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::data_loss(format!("chunk {digest} arrived damaged: {error}")))?;
        self.store
            .put_chunk(project, &stored)
            .await
            .map_err(|error| status(&error))?;
        drop(share);
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
            .map(|chunk| async move { (chunk, self.store.holds_chunk(project, chunk).await) })
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

/// What a courier is told. All that is not its fault may pass.
pub(super) fn status(error: &Error) -> Status {
    match error {
        Error::Missing { what, digest, .. } => Status::failed_precondition(format!("{what} {digest} is not there")),
        _ => {
            tracing::warn!(%error, "cannot write for a courier");
            Status::unavailable("the cluster's store cannot be used at present")
        }
    }
}
