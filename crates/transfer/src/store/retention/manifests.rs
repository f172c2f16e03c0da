//! Which manifests are kept, and how others go.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;

use super::listing::ListedManifest;
use super::{Inner, Sweep, Swept};
use crate::store::{ChunkStore, Error};

/// How many manifests are asked about at once.
const ASKED_AT_ONCE: usize = 500;
/// How many requests of a sweep are under way at once.
pub(super) const REQUESTS_AT_ONCE: usize = 16;

impl ChunkStore {
    /// Whether the manifest is there and condemned: then it is still read, and whoever wants it to stay writes it again.
    pub(crate) async fn is_manifest_condemned(&self, project: ProjectId, digest: Digest) -> Result<bool, Error> {
        let mark = self.inner.manifest_mark_path(project, digest);
        self.inner.exists("look whether a manifest is condemned", &mark).await
    }
}

impl Inner {
    /// Has a manifest that was just written count again.
    pub(in crate::store) async fn absolve_manifest(&self, project: ProjectId, digest: Digest) -> Result<(), Error> {
        const OPERATION: &str = "take back the mark of a manifest";
        let mark = self.manifest_mark_path(project, digest);
        if self.exists(OPERATION, &mark).await? {
            self.retry(OPERATION, || self.delete(vec![mark.clone()])).await?;
        }
        Ok(())
    }
}

impl Sweep<'_> {
    /// Those of the manifests that are kept, and the others.
    pub(super) async fn ask(
        &self,
        manifests: Vec<ListedManifest>,
    ) -> Result<(Vec<ListedManifest>, Vec<ListedManifest>), Error> {
        let (mut kept, mut others) = (Vec::new(), Vec::new());
        for batch in manifests.chunks(ASKED_AT_ONCE) {
            let digests: Vec<Digest> = batch.iter().map(|manifest| manifest.digest).collect();
            let answer = self.keep.keep(self.project, &digests).await;
            let answer = answer.and_then(|answer| match answer.len() == digests.len() {
                true => Ok(answer),
                false => Err(format!("{} answers to {} questions", answer.len(), digests.len())),
            });
            let answer = answer.map_err(|reason| Error::Undecided {
                project: self.project,
                reason,
            })?;
            for (manifest, is_kept) in batch.iter().zip(answer) {
                if is_kept { &mut kept } else { &mut others }.push(*manifest);
            }
        }
        Ok((kept, others))
    }

    pub(super) async fn condemn_manifests(&self, manifests: &[ListedManifest], swept: &mut Swept) -> Result<(), Error> {
        let inner = self.inner();
        let marked = stream::iter(manifests.to_vec()).map(|manifest: ListedManifest| async move {
            self.rate.spend(1).await;
            let mark = inner.manifest_mark_path(self.project, manifest.digest);
            inner.put("condemn a manifest", &mark, "".into()).await
        });
        marked.buffer_unordered(REQUESTS_AT_ONCE).try_collect::<()>().await?;
        swept.condemned_manifests += manifests.len() as u64;
        Ok(())
    }

    /// Decides about the manifests that were condemned, and gives all that are there then.
    pub(super) async fn settle_manifests(&self, swept: &mut Swept) -> Result<Vec<ListedManifest>, Error> {
        let inner = self.inner();
        let listed = inner.list_manifests(self.project).await?;
        let mut marks: HashSet<Digest> = listed.condemned.into_iter().collect();
        let condemned = listed
            .present
            .into_iter()
            .filter(|manifest| marks.remove(&manifest.digest));
        let (kept, others) = self.ask(condemned.collect()).await?;
        for manifest in kept {
            self.rate.spend(2).await;
            inner.absolve_manifest(self.project, manifest.digest).await?;
            swept.taken_back += 1;
        }
        for manifest in others {
            swept.deleted_manifests += u64::from(self.delete_manifest(manifest.digest).await?);
        }
        // Marks of what is not there (any more).
        for digest in marks {
            self.delete_manifest(digest).await?;
        }
        // Also those that have come since the first look.
        Ok(inner.list_manifests(self.project).await?.present)
    }

    /// Deletes a manifest that is still condemned. Whether it was there and is deleted now.
    async fn delete_manifest(&self, digest: Digest) -> Result<bool, Error> {
        const OPERATION: &str = "delete a manifest";
        let inner = self.inner();
        let (object, mark) = (
            inner.manifest_path(self.project, digest),
            inner.manifest_mark_path(self.project, digest),
        );
        self.rate.spend(4).await;
        // Whoever writes it meanwhile takes the mark away afterwards, and finds it gone from here on.
        let Some(_alone) = inner.retention.alone(digest).await else {
            return Ok(false);
        };
        if !inner.exists(OPERATION, &mark).await? {
            return Ok(false);
        }
        let was_there = inner.exists(OPERATION, &object).await?;
        inner.retry(OPERATION, || inner.delete(vec![object.clone()])).await?;
        inner.retry(OPERATION, || inner.delete(vec![mark.clone()])).await?;
        Ok(was_there)
    }
}
