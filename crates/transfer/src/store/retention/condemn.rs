//! The first half of a sweep: what nobody lists is marked.

use futures::{StreamExt, TryStreamExt, stream};
use object_store::PutPayload;
use object_store::path::Path;

use super::listing::{Generation, ListedManifest, Mark, Shard, Walk};
use super::manifests::REQUESTS_AT_ONCE;
use super::{Sweep, Swept};
use crate::store::Error;

impl Sweep<'_> {
    pub(super) async fn condemn(&self, swept: &mut Swept) -> Result<(), Error> {
        let (kept, others) = self.ask_about_all().await?;
        swept.kept_manifests = kept.len() as u64;
        self.condemn_manifests(&others, swept).await?;
        let mut walk = Walk::over(self, &kept).await?;
        while let Some(mut shard) = walk.next().await? {
            shard.retain(|digest, _| !walk.is_listed(*digest));
            self.condemn_chunks(&shard, swept).await?;
            self.bury(&shard).await?;
        }
        Ok(())
    }

    /// Counts what would be condemned, and changes nothing.
    pub(super) async fn plan(&self, swept: &mut Swept) -> Result<(), Error> {
        let (kept, others) = self.ask_about_all().await?;
        swept.kept_manifests = kept.len() as u64;
        swept.condemned_manifests = others.len() as u64;
        let mut walk = Walk::over(self, &kept).await?;
        while let Some(shard) = walk.next().await? {
            let unlisted = shard.iter().filter(|(digest, _)| !walk.is_listed(**digest));
            for bytes in unlisted
                .flat_map(|(_, generations)| generations.values())
                .filter_map(|one| one.object)
            {
                swept.condemned_chunks += 1;
                swept.condemned_bytes += bytes;
            }
        }
        Ok(())
    }

    /// Those that were condemned before and are there still are asked about when it is settled.
    async fn ask_about_all(&self) -> Result<(Vec<ListedManifest>, Vec<ListedManifest>), Error> {
        let listed = self.inner().list_manifests(self.project).await?;
        self.ask(listed.present).await
    }

    async fn condemn_chunks(&self, shard: &Shard, swept: &mut Swept) -> Result<(), Error> {
        let inner = self.inner();
        let mut marks: Vec<(Path, PutPayload)> = Vec::new();
        for (digest, generations) in shard {
            for (number, Generation { object, mark }) in generations {
                let (Some(bytes), Some(content)) = (object, content(*mark)) else {
                    continue;
                };
                marks.push((inner.damage_path(self.project, *digest, *number), content.into()));
                swept.condemned_chunks += 1;
                swept.condemned_bytes += bytes;
            }
        }
        let made = stream::iter(marks).map(|(path, content): (Path, PutPayload)| async move {
            self.rate.spend(1).await;
            inner.put("condemn a chunk", &path, content).await
        });
        made.buffer_unordered(REQUESTS_AT_ONCE).try_collect().await
    }
}

/// What the mark of an object that is condemned now holds; none if it is condemned already.
const fn content(mark: Option<Mark>) -> Option<&'static str> {
    match mark {
        None => Some(Mark::CONDEMNED),
        Some(Mark::Damaged) => Some(Mark::CONDEMNED_DAMAGED),
        Some(Mark::Condemned | Mark::CondemnedDamaged) => None,
    }
}
