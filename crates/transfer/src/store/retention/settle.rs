//! The second half of a sweep: what is marked is deleted, or was needed after all.

use std::collections::BTreeMap;

use object_store::path::Path;
use tombolo_core::digest::Digest;
use tombolo_core::planted::{Bug, planted};

use super::listing::{Generation, Mark, Walk};
use super::{Sweep, Swept};
use crate::store::Error;

/// How many objects are deleted by one request, where the store can.
const DELETED_AT_ONCE: usize = 500;

/// What a mark of damage says after the chunk was condemned meanwhile: its first reason was written over.
const WAS_DAMAGED: &str = "it was damaged, and then condemned for a while";

impl Sweep<'_> {
    /// Decides about everything that was condemned before `round` began. False if uploads that began before have not ended: then
    /// nothing was decided.
    pub(super) async fn settle(&self, round: u64, swept: &mut Swept) -> Result<bool, Error> {
        let inner = self.inner();
        let uploads = inner.uploads_under_way(self.project).await?;
        let before = uploads.iter().filter(|upload| upload.round < round).count();
        if before > 0 && !planted(Bug::LiveChunkSwept) {
            swept.waits_for = before as u64;
            return Ok(false);
        }
        let manifests = self.settle_manifests(swept).await?;
        let mut walk = Walk::over(self, &manifests).await?;
        while let Some(shard) = walk.next().await? {
            let mut deletions = Vec::new();
            for (digest, generations) in &shard {
                if walk.is_listed(*digest) {
                    self.absolve(*digest, generations, swept).await?;
                } else {
                    deletions.extend(self.condemned(*digest, generations));
                }
            }
            self.delete_all(deletions, swept).await?;
        }
        inner.settled(self.project, round).await?;
        swept.waits_for = 0;
        Ok(true)
    }

    /// The condemned objects of a chunk, with their lengths.
    fn condemned<'a>(
        &'a self,
        digest: Digest,
        generations: &'a BTreeMap<u32, Generation>,
    ) -> impl Iterator<Item = (Path, u64)> + 'a {
        let condemned = generations
            .iter()
            .filter_map(|(number, one)| match (one.object, one.mark) {
                (Some(bytes), Some(Mark::Condemned | Mark::CondemnedDamaged)) => Some((*number, bytes)),
                _ => None,
            });
        condemned.map(move |(number, bytes)| (self.inner().chunk_path(self.project, digest, number), bytes))
    }

    /// A manifest lists the chunk. The marks of objects that are gone stay: later generations are found by them.
    async fn absolve(
        &self,
        digest: Digest,
        generations: &BTreeMap<u32, Generation>,
        swept: &mut Swept,
    ) -> Result<(), Error> {
        const OPERATION: &str = "take back the mark of a chunk";
        let inner = self.inner();
        for (number, one) in generations.iter().filter(|(_, one)| one.object.is_some()) {
            let mark = inner.damage_path(self.project, digest, *number);
            match one.mark {
                Some(Mark::Condemned) => {
                    self.rate.spend(1).await;
                    inner.retry(OPERATION, || inner.delete(vec![mark.clone()])).await?;
                }
                Some(Mark::CondemnedDamaged) => {
                    self.rate.spend(1).await;
                    inner.put(OPERATION, &mark, WAS_DAMAGED.into()).await?;
                }
                Some(Mark::Damaged) | None => continue,
            }
            swept.taken_back += 1;
        }
        Ok(())
    }

    async fn delete_all(&self, objects: Vec<(Path, u64)>, swept: &mut Swept) -> Result<(), Error> {
        let inner = self.inner();
        for batch in objects.chunks(DELETED_AT_ONCE) {
            // Not each is a request of its own everywhere.
            self.rate.spend(u32::try_from(batch.len()).unwrap_or(u32::MAX)).await;
            let paths: Vec<Path> = batch.iter().map(|(path, _)| path.clone()).collect();
            inner.retry("delete chunks", || inner.delete(paths.clone())).await?;
            swept.deleted_chunks += batch.len() as u64;
            swept.deleted_bytes += batch.iter().map(|(_, bytes)| bytes).sum::<u64>();
        }
        Ok(())
    }
}
