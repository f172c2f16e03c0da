//! What there is of a project, part by part.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use object_store::path::Path;
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;

use super::references::{Collector, References};
use super::{Inner, Sweep};
use crate::store::Error;

/// A manifest of this length or less, as stored, is read together with others.
const SHORT_MANIFEST_BYTES: u64 = 256 << 10;
/// How many of them at once.
const SHORT_MANIFESTS_AT_ONCE: usize = 8;

/// What a mark says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Damaged,
    Condemned,
    /// And it was damaged before.
    CondemnedDamaged,
}

impl Mark {
    /// What the mark's object holds, for the two that are made here.
    pub(super) const CONDEMNED: &'static str = "";
    pub(super) const CONDEMNED_DAMAGED: &'static str = "!";

    /// By the length of the mark's object, so that nobody has to read it. Reasons of damage are longer.
    const fn of(bytes: u64) -> Self {
        match bytes {
            0 => Self::Condemned,
            1 => Self::CondemnedDamaged,
            _ => Self::Damaged,
        }
    }
}

/// One generation of a chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Generation {
    /// The length of its object, in bytes; none if there is no object.
    pub(super) object: Option<u64>,
    pub(super) mark: Option<Mark>,
}

/// The chunks whose digests begin with the same byte.
pub(super) type Shard = BTreeMap<Digest, BTreeMap<u32, Generation>>;

/// A manifest that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListedManifest {
    pub(super) digest: Digest,
    /// Of its object.
    pub(super) bytes: u64,
}

/// The manifests of a project, and those marks of theirs which there are.
#[derive(Debug, Default)]
pub(super) struct ListedManifests {
    pub(super) present: Vec<ListedManifest>,
    pub(super) condemned: Vec<Digest>,
}

impl Inner {
    pub(super) async fn list_manifests(&self, project: ProjectId) -> Result<ListedManifests, Error> {
        let folder = self.project_path(project).join("manifests");
        let mut listed = ListedManifests::default();
        for (name, bytes) in self.list_names(&folder).await? {
            match name.strip_suffix(".condemned") {
                Some(digest) => listed.condemned.extend(digest.parse::<Digest>()),
                None => {
                    let digest = name.parse();
                    listed
                        .present
                        .extend(digest.map(|digest| ListedManifest { digest, bytes }));
                }
            }
        }
        Ok(listed)
    }

    pub(super) async fn list_shard(&self, project: ProjectId, first_byte: u8) -> Result<Shard, Error> {
        let folder = self
            .project_path(project)
            .join("chunks")
            .join(format!("{first_byte:02x}"));
        let mut shard = Shard::new();
        for (name, bytes) in self.list_names(&folder).await? {
            let mut parts = name.split('.');
            let digest = parts.next().and_then(|digest| digest.parse::<Digest>().ok());
            let number = parts.next().and_then(|number| number.parse::<u32>().ok());
            let (Some(digest), Some(number)) = (digest, number) else {
                continue;
            };
            let generation = shard.entry(digest).or_default().entry(number).or_default();
            match parts.next() {
                None => generation.object = Some(bytes),
                Some("damaged") => generation.mark = Some(Mark::of(bytes)),
                Some(_) => {}
            }
        }
        Ok(shard)
    }

    /// The names of the objects in a folder, and their lengths. Those of others than ours are of no consequence: they parse as
    /// nothing.
    async fn list_names(&self, folder: &Path) -> Result<Vec<(String, u64)>, Error> {
        self.retry("list a project's objects", || {
            let name = |object: ObjectMeta| Some((object.location.filename()?.to_owned(), object.size));
            let listed = self.objects.list(Some(folder));
            listed
                .try_filter_map(move |object| std::future::ready(Ok(name(object))))
                .try_collect()
        })
        .await
    }
}

/// Goes over all chunks of a project, with what manifests list of them.
pub(super) struct Walk<'a> {
    sweep: &'a Sweep<'a>,
    manifests: &'a [ListedManifest],
    references: References,
    /// Above 255 when all were seen.
    next_shard: u16,
}

impl<'a> Walk<'a> {
    pub(super) async fn over(sweep: &'a Sweep<'a>, manifests: &'a [ListedManifest]) -> Result<Self, Error> {
        Ok(Self {
            references: sweep.references(manifests, 0).await?,
            sweep,
            manifests,
            next_shard: 0,
        })
    }

    /// Some chunks that the present references cover; none at the end. A shard may come in several parts.
    pub(super) async fn next(&mut self) -> Result<Option<Shard>, Error> {
        if self.next_shard > shard_of(self.references.last) {
            let Some(first) = self.references.last.checked_add(1) else {
                return Ok(None);
            };
            self.references = self.sweep.references(self.manifests, first).await?;
            // Perhaps the rest of a shard that was seen in part.
            self.next_shard = shard_of(first);
        }
        let shard = self.list().await?;
        self.next_shard += 1;
        Ok(Some(shard))
    }

    async fn list(&self) -> Result<Shard, Error> {
        let first_byte = u8::try_from(self.next_shard).unwrap_or(u8::MAX);
        self.sweep.rate.spend(1).await;
        let mut shard = self.sweep.inner().list_shard(self.sweep.project, first_byte).await?;
        shard.retain(|digest, _| self.references.covers(*digest));
        Ok(shard)
    }

    pub(super) fn is_listed(&self, digest: Digest) -> bool {
        self.references.is_listed(digest)
    }
}

const fn shard_of(place: u64) -> u16 {
    (place >> 56) as u16
}

impl Sweep<'_> {
    /// What the manifests list, from a place on. A manifest that cannot be read is an error: what it lists is not known.
    async fn references(&self, manifests: &[ListedManifest], first: u64) -> Result<References, Error> {
        let mut collector = Collector::from(first, self.manner.maximum_held);
        let (short, long): (Vec<ListedManifest>, Vec<_>) = manifests
            .iter()
            .partition(|manifest| manifest.bytes <= SHORT_MANIFEST_BYTES);
        for (manifests, at_once) in [(short, SHORT_MANIFESTS_AT_ONCE), (long, 1)] {
            let read = stream::iter(manifests).map(|manifest: ListedManifest| async move {
                self.rate.spend(1).await;
                self.store.get_manifest(self.project, manifest.digest).await
            });
            let mut read = std::pin::pin!(read.buffer_unordered(at_once));
            while let Some(manifest) = read.next().await {
                manifest?.chunks().for_each(|chunk| collector.add(chunk.digest));
            }
        }
        Ok(collector.finish())
    }
}
