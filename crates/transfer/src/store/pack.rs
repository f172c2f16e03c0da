//! From a folder into the store.

use std::path::Path;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::task::spawn_blocking;
use tombolo_artifact::{Chunk, Manifest, PackLimits, StoredChunk};
use tombolo_core::attempt::OutputReference;
use tombolo_core::id::ProjectId;

use super::budget::{Budget, Share};
use super::{ChunkStore, Error, Place};
use crate::flow::Packing;

impl ChunkStore {
    /// Packs a folder and writes what is new of it, the manifest last: when this returns, the output is there whole. Memory
    /// does not depend on the size of the output.
    pub async fn pack(&self, project: ProjectId, folder: &Path, limits: PackLimits) -> Result<OutputReference, Error> {
        let mut packing = Packing::start(folder, limits, Budget::new());
        let uploaded = self.upload_all(project, &mut packing).await;
        let packed = packing.finish::<Error>().await;
        uploaded?;
        let manifest: Manifest = packed?;
        self.put_manifest(project, &manifest).await?;
        Ok(manifest.reference())
    }

    async fn upload_all(&self, project: ProjectId, packing: &mut Packing) -> Result<(), Error> {
        let mut uploads = FuturesUnordered::new();
        let mut more = true;
        while more || !uploads.is_empty() {
            tokio::select! {
                next = packing.next(), if more => match next {
                    Some((chunk, share)) => uploads.push(self.upload(project, chunk, share)),
                    None => more = false,
                },
                Some(uploaded) = uploads.next() => uploaded?,
            }
        }
        Ok(())
    }

    async fn upload(&self, project: ProjectId, chunk: Chunk, share: Share) -> Result<(), Error> {
        let digest = chunk.reference().digest;
        let _writing = self.inner.retention.writing(digest).await;
        let epoch = self.inner.retention.epoch();
        let Place::Absent(generation) = self.inner.place_for(project, digest).await? else {
            return Ok(());
        };
        let stored = spawn_blocking(move || StoredChunk::encode(&chunk))
            .await
            .map_err(|_| Error::Interrupted("compressing a chunk"))?;
        self.inner.put_generation(project, &stored, generation, epoch).await?;
        drop(share);
        Ok(())
    }
}
