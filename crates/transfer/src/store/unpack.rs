//! From the store into a folder.

use std::io;
use std::path::Path;

use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tombolo_artifact::{Chunk, ChunkFeed, ChunkReference, Manifest, UnpackOptions};
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;

use super::budget::{Budget, Share};
use super::{ChunkStore, Error};

/// How many chunks are read ahead of the one that is written; the budget may allow fewer.
const READ_AHEAD: usize = 8;

/// Hands chunks to the unpacker's thread.
struct Receiver {
    chunks: mpsc::Receiver<(Chunk, Share)>,
    /// Of the chunk that is being written: given back when the next one is asked for.
    share: Option<Share>,
}

impl ChunkFeed for Receiver {
    fn next_chunk(&mut self, _: ChunkReference) -> io::Result<Chunk> {
        self.share = None;
        let (chunk, share) = self.chunks.blocking_recv().ok_or(io::ErrorKind::BrokenPipe)?;
        self.share = Some(share);
        Ok(chunk)
    }
}

impl ChunkStore {
    /// Unpacks an artifact of this store into the folder `into`, which must be absent or empty (its parent must exist). On
    /// any error nothing is left behind. Memory does not depend on the size of the artifact.
    pub async fn unpack(
        &self,
        project: ProjectId,
        manifest: Digest,
        into: &Path,
        options: UnpackOptions,
    ) -> Result<Manifest, Error> {
        let manifest = self.get_manifest(project, manifest).await?;
        let (sender, chunks) = mpsc::channel(READ_AHEAD);
        let (reading, into) = (manifest.clone(), into.to_owned());
        let unpacking = spawn_blocking(move || {
            tombolo_artifact::unpack(&reading, &mut Receiver { chunks, share: None }, &into, options)
        });
        let fed = self.feed(project, &manifest, sender).await;
        let unpacked = unpacking.await.map_err(|_| Error::Interrupted("unpacking"))?;
        // If a chunk could not be read, that is the reason, not what the unpacker made of it.
        fed?;
        unpacked?;
        Ok(manifest)
    }

    async fn feed(
        &self,
        project: ProjectId,
        manifest: &Manifest,
        sender: mpsc::Sender<(Chunk, Share)>,
    ) -> Result<(), Error> {
        let budget = Budget::new();
        // Shares are taken one after the other, so that the chunk that is needed next always gets one.
        let shares = stream::iter(manifest.chunks()).then(|chunk| {
            let budget = budget.clone();
            async move { (chunk, budget.take(chunk.length).await) }
        });
        let mut chunks = std::pin::pin!(
            shares
                .filter_map(|(chunk, share)| async move { Some((chunk, share.ok()?)) })
                .map(|(chunk, share)| async move { self.get_chunk(project, chunk).await.map(|chunk| (chunk, share)) })
                .buffered(READ_AHEAD)
        );
        while let Some(chunk) = chunks.next().await {
            if sender.send(chunk?).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}
