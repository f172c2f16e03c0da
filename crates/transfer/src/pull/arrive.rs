//! Chunks on their way: several at once, each checked and stored when it arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::{self, Stream, StreamExt};
use tokio::task::spawn_blocking;
use tombolo_artifact::StoredChunk;
use tombolo_core::id::ProjectId;

use super::sources::Sources;
use super::{Error, ListedChunk, SourceError};
use crate::bandwidth::{Bandwidth, Reserved};
use crate::store::budget::Budget;
use crate::store::{self, ChunkStore};

/// How many chunks are on their way at once; the budget may allow fewer. Enough average ones for 100 ms of delay at 2.5 Gbit/s.
const WINDOW: usize = 8;

pub(super) struct Arrival<'a> {
    pub(super) store: &'a ChunkStore,
    pub(super) bandwidth: &'a Bandwidth,
    pub(super) project: ProjectId,
    pub(super) sources: &'a Sources,
}

impl Arrival<'_> {
    /// Brings all of them and yields how much content each stands for, as they come. After an error no further ones are begun.
    pub(super) fn all(&self, missing: Vec<(ListedChunk, u64)>) -> impl Stream<Item = Result<u64, Error>> {
        let budget = Budget::new();
        let failed = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&failed);
        stream::iter(missing)
            .take_while(move |_| std::future::ready(!stop.load(Ordering::Relaxed)))
            .then(move |(chunk, occurrences)| {
                let budget = budget.clone();
                async move {
                    let share = budget.take(chunk.reference.length).await;
                    // Before anybody is asked, so that no deadline runs meanwhile.
                    let reserved = self.bandwidth.reserve(chunk.reference.length.into()).await;
                    (chunk, occurrences, share, reserved)
                }
            })
            .map(move |(chunk, occurrences, share, reserved)| {
                let failed = Arc::clone(&failed);
                async move {
                    let arrived = self.one(chunk, reserved).await;
                    drop(share);
                    failed.fetch_or(arrived.is_err(), Ordering::Relaxed);
                    arrived.map(|()| chunk.content(occurrences))
                }
            })
            .buffer_unordered(WINDOW)
    }

    async fn one(&self, chunk: ListedChunk, reserved: Reserved) -> Result<(), Error> {
        let what = || format!("chunk {}", chunk.reference.digest.short());
        let stored = self
            .sources
            .ask(what, |source| async move {
                let object = source.chunk(chunk).await?;
                let moved = object.len() as u64;
                // Hashing takes milliseconds: not on a thread that serves connections.
                let checked = spawn_blocking(move || StoredChunk::verify(object, chunk.reference))
                    .await
                    .map_err(|_| SourceError::Unreachable("this program is shutting down".to_owned()))?;
                let (stored, _) = checked.map_err(|error| SourceError::Damaged(error.to_string()))?;
                Ok((stored, moved))
            })
            .await?;
        reserved.used(stored.stored_length() as u64);
        self.store
            .put_chunk(self.project, &stored)
            .await
            .map_err(|error: store::Error| error.into())
            .map(|_| ())
    }
}
