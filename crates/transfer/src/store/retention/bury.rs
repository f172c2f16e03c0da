//! The end of marks whose objects are gone.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::RwLockWriteGuard;
use tokio::time::sleep;
use tombolo_core::digest::Digest;

use super::listing::Shard;
use super::manifests::REQUESTS_AT_ONCE;
use super::{Inner, Retention, Sweep};
use crate::store::Error;

/// How many chunks are buried at once: uploads of one chunk in 256 wait meanwhile.
const BURIED_AT_ONCE: usize = 64;
/// How often, and how long after each other, it is tried to be alone.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// A chunk, and the generations that have marks and no objects.
type Gone = (Digest, Vec<u32>);

impl Retention {
    /// Held while marks are removed. None if somebody is always looking or writing: it is done in a later sweep. Nobody waits for a
    /// lock here, so that looking and writing never wait for somebody who waits.
    pub(super) async fn alone(&self, digest: Digest) -> Option<RwLockWriteGuard<'_, ()>> {
        for _ in 0..TRIES {
            if let Ok(alone) = self.lock(digest).try_write() {
                return Some(alone);
            }
            sleep(PAUSE).await;
        }
        None
    }
}

impl Sweep<'_> {
    /// Removes the marks of chunks of which no object is left. All of `shard` have the same first byte, and are listed by nobody.
    pub(super) async fn bury(&self, shard: &Shard) -> Result<(), Error> {
        let gone = shard
            .iter()
            .filter(|(_, generations)| generations.values().all(|one| one.object.is_none()));
        let gone: Vec<Gone> = gone
            .map(|(digest, generations)| (*digest, generations.keys().copied().collect()))
            .collect();
        for batch in gone.chunks(BURIED_AT_ONCE) {
            let requests = batch
                .iter()
                .map(|(_, generations)| generations.len() + 2)
                .sum::<usize>();
            self.rate.spend(u32::try_from(requests).unwrap_or(u32::MAX)).await;
            let Some(_alone) = self.inner().retention.alone(batch[0].0).await else {
                return Ok(());
            };
            self.bury_alone(batch.to_vec()).await?;
        }
        Ok(())
    }

    async fn bury_alone(&self, batch: Vec<Gone>) -> Result<(), Error> {
        let inner = self.inner();
        // Something may have been written since the chunks were listed: a later generation is found by the marks before it.
        let looked = stream::iter(batch).map(|(digest, marks): Gone| async move {
            let next = marks.last().map_or(0, |last| last + 1);
            let any = self.any_generation(digest, next).await?;
            Ok::<_, Error>((!any).then_some((digest, marks)))
        });
        let gone: Vec<Option<Gone>> = looked.buffer_unordered(REQUESTS_AT_ONCE).try_collect().await?;
        let mut marks = Vec::new();
        for (digest, numbers) in gone.into_iter().flatten() {
            inner.known().remove(&(self.project, digest));
            let paths = numbers
                .iter()
                .map(|number| inner.damage_path(self.project, digest, *number));
            marks.extend(paths);
        }
        if marks.is_empty() {
            return Ok(());
        }
        inner.retry("remove marks", || inner.delete(marks.clone())).await
    }

    /// Whether there is an object of one of the generations up to `last`.
    async fn any_generation(&self, digest: Digest, last: u32) -> Result<bool, Error> {
        let inner: &Inner = self.inner();
        for number in 0..=last {
            let path = inner.chunk_path(self.project, digest, number);
            if inner.exists("look for a chunk", &path).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
