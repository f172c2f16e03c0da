//! Between the threads that pack and unpack folders and whoever moves the chunks, within a budget of memory.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tombolo_artifact::{
    BorrowedChunk, Chunk, ChunkFeed, ChunkReference, ChunkSink, Manifest, PackLimits, UnpackOptions,
};
use tombolo_artifact::{pack, unpack};

use crate::pull::ListedChunk;
use crate::store::budget::{Budget, Share};

/// Between the packer and the uploads: the budget bounds what is in there, so this only has to be longer than that.
const CHANNEL_LENGTH: usize = 64;

/// How many chunks are read ahead of the one that is written; the budget may allow fewer.
const READ_AHEAD: usize = 8;

/// The thread did not come to its end: a fault of this program, or its end.
pub(crate) struct Interrupted(pub(crate) &'static str);

/// A folder that is being packed on a thread of its own. Dropping it ends the thread.
pub(crate) struct Packing {
    chunks: mpsc::Receiver<(Chunk, Share)>,
    task: JoinHandle<Result<Manifest, pack::Error>>,
    budget: CloseOnDrop,
}

impl Packing {
    pub(crate) fn start(folder: &Path, limits: PackLimits, budget: Budget) -> Self {
        let (sender, chunks) = mpsc::channel(CHANNEL_LENGTH);
        let mut sink = Sender {
            runtime: Handle::current(),
            budget: budget.clone(),
            chunks: sender,
            last: None,
        };
        let folder = folder.to_owned();
        Self {
            chunks,
            task: spawn_blocking(move || tombolo_artifact::pack(&folder, limits, &mut sink)),
            budget: CloseOnDrop(budget),
        }
    }

    /// The next chunk; none at the end, also if that is a failure.
    pub(crate) async fn next(&mut self) -> Option<(Chunk, Share)> {
        self.chunks.recv().await
    }

    /// The next chunk if it is there already.
    pub(crate) fn next_ready(&mut self) -> Option<(Chunk, Share)> {
        self.chunks.try_recv().ok()
    }

    /// What was packed. To be called when there are no more chunks, or none is wanted any more: then the thread finds both
    /// ends closed and stops.
    pub(crate) async fn finish<E: From<pack::Error> + From<Interrupted>>(self) -> Result<Manifest, E> {
        drop((self.budget, self.chunks));
        Ok(self.task.await.map_err(|_| Interrupted("packing"))??)
    }
}

/// Hands chunks from the packer's thread to the uploads.
struct Sender {
    runtime: Handle,
    budget: Budget,
    chunks: mpsc::Sender<(Chunk, Share)>,
    /// The last that was handed on.
    last: Option<ChunkReference>,
}

impl ChunkSink for Sender {
    fn chunk(&mut self, chunk: BorrowedChunk<'_>) -> io::Result<()> {
        // A hole of many gigabytes is one chunk, thousands of times.
        if self.last.replace(chunk.reference()) == Some(chunk.reference()) {
            return Ok(());
        }
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

/// Unpacks `manifest` into the folder `into` with the chunks that `fetch` brings, several at once. Nothing is left behind on any
/// error.
pub(crate) async fn unpack_with<E, Fetching>(
    manifest: &Manifest,
    into: &Path,
    options: UnpackOptions,
    budget: Budget,
    fetch: impl Fn(ListedChunk) -> Fetching,
) -> Result<(), E>
where
    E: From<unpack::Error> + From<Interrupted>,
    Fetching: Future<Output = Result<Chunk, E>>,
{
    let (sender, chunks) = mpsc::channel(READ_AHEAD);
    let (reading, into) = (manifest.clone(), into.to_owned());
    let unpacking = spawn_blocking(move || {
        tombolo_artifact::unpack(&reading, &mut Receiver { chunks, share: None }, &into, options)
    });
    let fed = feed(manifest, budget, fetch, sender).await;
    let unpacked = unpacking.await.map_err(|_| Interrupted("unpacking"))?;
    // If a chunk could not be read, that is the reason, not what the unpacker made of it.
    fed?;
    Ok(unpacked?)
}

async fn feed<E, Fetching: Future<Output = Result<Chunk, E>>>(
    manifest: &Manifest,
    budget: Budget,
    fetch: impl Fn(ListedChunk) -> Fetching,
    sender: mpsc::Sender<(Chunk, Arc<Share>)>,
) -> Result<(), E> {
    // Shares are taken one after the other, so that the chunk that is needed next always gets one.
    let listed = manifest
        .chunks()
        .zip(0..)
        .map(|(reference, index)| ListedChunk { index, reference });
    let shares = stream::iter(runs(listed)).then(|(chunk, times)| {
        let budget = budget.clone();
        async move { (chunk, times, budget.take(chunk.reference.length).await) }
    });
    let mut chunks = std::pin::pin!(
        shares
            .filter_map(|(chunk, times, share)| async move { Some((chunk, times, share.ok()?)) })
            .map(|(chunk, times, share)| {
                let fetching = fetch(chunk);
                async move { fetching.await.map(|chunk| (chunk, times, Arc::new(share))) }
            })
            .buffered(READ_AHEAD)
    );
    while let Some(fetched) = chunks.next().await {
        let (chunk, times, share) = fetched?;
        for _ in 0..times {
            if sender.send((chunk.clone(), Arc::clone(&share))).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Each chunk with the number of times that it occurs on end: it is fetched once for all of them.
fn runs(listed: impl Iterator<Item = ListedChunk>) -> impl Iterator<Item = (ListedChunk, u64)> {
    let mut listed = listed.peekable();
    std::iter::from_fn(move || {
        let chunk = listed.next()?;
        let mut times = 1;
        while listed.next_if(|next| next.reference == chunk.reference).is_some() {
            times += 1;
        }
        Some((chunk, times))
    })
}

/// Hands chunks to the unpacker's thread.
struct Receiver {
    chunks: mpsc::Receiver<(Chunk, Arc<Share>)>,
    /// Of the chunk that is being written: given back when the next one is asked for.
    share: Option<Arc<Share>>,
}

impl ChunkFeed for Receiver {
    fn next_chunk(&mut self, _: ChunkReference) -> io::Result<Chunk> {
        self.share = None;
        let (chunk, share) = self.chunks.blocking_recv().ok_or(io::ErrorKind::BrokenPipe)?;
        self.share = Some(share);
        Ok(chunk)
    }
}
