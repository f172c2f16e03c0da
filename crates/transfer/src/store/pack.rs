//! From a folder into the store.

use std::io;
use std::path::Path;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tombolo_artifact::{BorrowedChunk, Chunk, ChunkSink, Manifest, PackLimits, StoredChunk};
use tombolo_core::attempt::OutputReference;
use tombolo_core::id::ProjectId;

use super::budget::{Budget, Share};
use super::{ChunkStore, Error, Place};

/// Between the packer and the uploads: the budget bounds what is in there, so this only has to be longer than that.
const CHANNEL_LENGTH: usize = 64;

/// Hands chunks from the packer's thread to the uploads.
struct Sender {
    runtime: Handle,
    budget: Budget,
    chunks: mpsc::Sender<(Chunk, Share)>,
}

impl ChunkSink for Sender {
    fn chunk(&mut self, chunk: BorrowedChunk<'_>) -> io::Result<()> {
        let ended = || io::Error::from(io::ErrorKind::BrokenPipe);
        // The share comes before the copy.
        let share = self
            .runtime
            .block_on(self.budget.take(chunk.reference().length))
            .map_err(|_| ended())?;
        self.chunks
            .blocking_send((chunk.to_chunk(), share))
            .map_err(|_| ended())
    }
}

/// Ends the packer's thread when nobody waits for it any more.
struct CloseOnDrop(Budget);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl ChunkStore {
    /// Packs a folder and writes what is new of it, the manifest last: when this returns, the output is there whole. Memory
    /// does not depend on the size of the output.
    pub async fn pack(&self, project: ProjectId, folder: &Path, limits: PackLimits) -> Result<OutputReference, Error> {
        let budget = Budget::new();
        let _close = CloseOnDrop(budget.clone());
        let (sender, mut chunks) = mpsc::channel(CHANNEL_LENGTH);
        let mut sink = Sender {
            runtime: Handle::current(),
            budget: budget.clone(),
            chunks: sender,
        };
        let folder = folder.to_owned();
        let packing = spawn_blocking(move || tombolo_artifact::pack(&folder, limits, &mut sink));
        let uploaded = self.upload_all(project, &mut chunks).await;
        // After a failed upload, the packer finds both ends closed and stops.
        budget.close();
        drop(chunks);
        let packed = packing.await.map_err(|_| Error::Interrupted("packing"))?;
        uploaded?;
        let manifest: Manifest = packed?;
        self.put_manifest(project, &manifest).await?;
        Ok(manifest.reference())
    }

    async fn upload_all(&self, project: ProjectId, chunks: &mut mpsc::Receiver<(Chunk, Share)>) -> Result<(), Error> {
        let mut uploads = FuturesUnordered::new();
        let mut more = true;
        while more || !uploads.is_empty() {
            tokio::select! {
                next = chunks.recv(), if more => match next {
                    Some((chunk, share)) => uploads.push(self.upload(project, chunk, share)),
                    None => more = false,
                },
                Some(uploaded) = uploads.next() => uploaded?,
            }
        }
        Ok(())
    }

    async fn upload(&self, project: ProjectId, chunk: Chunk, share: Share) -> Result<(), Error> {
        let Place::Absent(generation) = self.inner.locate(project, chunk.reference().digest).await? else {
            return Ok(());
        };
        let stored = spawn_blocking(move || StoredChunk::encode(&chunk))
            .await
            .map_err(|_| Error::Interrupted("compressing a chunk"))?;
        self.inner.put_generation(project, &stored, generation).await?;
        drop(share);
        Ok(())
    }
}
