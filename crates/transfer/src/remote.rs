//! Artifacts in the store of somebody else who is asked over one channel: how the pod of an attempt reads its inputs from the
//! agent of its cluster, and hands its output over.

mod error;
mod send;

use std::path::Path;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tombolo_artifact::{Chunk, Manifest, StoredChunk, UnpackOptions};
use tombolo_core::digest::Digest;
use tonic::Status;
use tonic::transport::Channel;

use crate::flow::unpack_with;
use crate::peer::reading;
use crate::pull::{ListedChunk, SourceError};
use crate::store::budget::Budget;
pub use error::{Error, Patience};
pub use send::uploads;

/// The content of chunks that one packing or unpacking holds in memory at once, in bytes: two average ones, or one that is longer.
/// It is taken from the memory that the job itself may use.
const BUDGET_BYTES: u32 = 8 << 20;

/// What an agent has for one attempt, and takes from it. What can be repeated is repeated while the agent is away.
#[derive(Debug, Clone)]
pub struct Remote {
    channel: Channel,
    patience: Patience,
}

impl Remote {
    /// Asks over `channel`, which connects again by itself.
    pub const fn new(channel: Channel, patience: Patience) -> Self {
        Self { channel, patience }
    }

    /// Unpacks an artifact into the folder `into`, which must be absent or empty (its parent must exist). On any error nothing
    /// is left behind. Memory does not depend on the size of the artifact.
    pub async fn unpack(&self, manifest: Digest, into: &Path, options: UnpackOptions) -> Result<Manifest, Error> {
        let manifest = self.manifest(manifest).await?;
        let grant = Bytes::copy_from_slice(manifest.digest().as_bytes());
        let fetch = |chunk| self.chunk(grant.clone(), chunk);
        unpack_with::<Error, _>(&manifest, into, options, Budget::of(BUDGET_BYTES), fetch).await?;
        Ok(manifest)
    }

    async fn manifest(&self, digest: Digest) -> Result<Manifest, Error> {
        let read = || async {
            let grant = Bytes::copy_from_slice(digest.as_bytes());
            reading::manifest(self.channel.clone(), grant).await.map_err(status)
        };
        let encoded = self.patience.spend("give the manifest of an artifact", read).await?;
        let manifest = Manifest::decode(encoded).map_err(|error| Error::Damaged(error.to_string()))?;
        if manifest.digest() != digest {
            return Err(Error::Damaged(format!(
                "manifest {} came instead of {digest}",
                manifest.digest()
            )));
        }
        Ok(manifest)
    }

    async fn chunk(&self, grant: Bytes, chunk: ListedChunk) -> Result<Chunk, Error> {
        let read = || async {
            let read = reading::chunk(self.channel.clone(), grant.clone(), chunk).await;
            read.map_err(status)
        };
        let stored = self.patience.spend("give a chunk", read).await?;
        let verified = spawn_blocking(move || StoredChunk::verify(stored, chunk.reference)).await;
        let (_, chunk) = verified
            .map_err(|_| Error::Interrupted("decompressing a chunk"))?
            .map_err(|error| Error::Damaged(error.to_string()))?;
        Ok(chunk)
    }
}

/// What a source says, as the status that it was.
fn status(error: SourceError) -> Status {
    match error {
        SourceError::Unreachable(reason) => Status::unavailable(reason),
        SourceError::Refused(reason) => Status::permission_denied(reason),
        SourceError::NotOffered(reason) => Status::failed_precondition(reason),
        SourceError::Missing(reason) => Status::not_found(reason),
        SourceError::Damaged(reason) => Status::data_loss(reason),
    }
}
