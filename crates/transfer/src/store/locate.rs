//! Where a chunk is, or belongs.

use futures::{StreamExt, TryStreamExt};
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;

use super::census::MAXIMUM_LISTED;
use super::layout::Place;
use super::{Error, Inner, MAXIMUM_GENERATIONS};

impl Inner {
    /// Two questions for each generation, asked at once: almost always one pair.
    pub(super) async fn locate(&self, project: ProjectId, digest: Digest) -> Result<Place, Error> {
        let _writing = self.retention.writing(digest).await;
        let epoch = self.retention.epoch();
        if let Some(generation) = self.known().get(&(project, digest), epoch) {
            return Ok(Place::Present(generation));
        }
        for generation in 0..MAXIMUM_GENERATIONS {
            let chunk = self.chunk_path(project, digest, generation);
            let damage = self.damage_path(project, digest, generation);
            let (present, damaged) = tokio::try_join!(
                self.exists("look for a chunk", &chunk),
                self.exists("look for damage", &damage)
            )?;
            if damaged {
                self.known().census.note(project, digest);
                continue;
            }
            if present {
                self.known().insert((project, digest), generation, epoch);
                return Ok(Place::Present(generation));
            }
            return Ok(Place::Absent(generation));
        }
        let reason = format!("it was damaged {MAXIMUM_GENERATIONS} times: the store itself must be faulty");
        Err(Error::Damaged {
            place: self.place.clone(),
            what: "chunk",
            digest,
            reason,
        })
    }

    /// Whether a generation does not count. One without an object was condemned, and has gone.
    pub(super) async fn is_marked(&self, project: ProjectId, digest: Digest, generation: u32) -> Result<bool, Error> {
        let mark = self.damage_path(project, digest, generation);
        self.exists("look for a chunk's mark", &mark).await
    }

    /// As [`Self::locate`], for whoever brings what is absent: of a chunk that cannot be there the store is not asked.
    pub(super) async fn place_for(&self, project: ProjectId, digest: Digest) -> Result<Place, Error> {
        let epoch = self.retention.epoch();
        if self.known().census.is_absent(project, digest, epoch) {
            return Ok(Place::Absent(0));
        }
        let place = self.locate(project, digest).await?;
        let in_vain = matches!(place, Place::Absent(0));
        // Of a folder each question is cheap, and a listing is not.
        if in_vain && self.folder.is_none() {
            let listing = self.known().census.missed(project, epoch);
            if let Some(listing) = listing {
                let found = self.chunks_of(project).await;
                self.known().census.listed(project, listing, found);
            }
        }
        Ok(place)
    }

    /// The chunks of a project of which there is an object or a mark; none if they are many, or the store does not list them.
    async fn chunks_of(&self, project: ProjectId) -> Option<Vec<Digest>> {
        let folder = self.project_path(project).join("chunks");
        let listed = self
            .retry("list a project's objects", || {
                let listed = self.objects.list(Some(&folder)).take(MAXIMUM_LISTED + 1);
                listed.map_ok(|object| object.location).try_collect::<Vec<_>>()
            })
            .await;
        let listed = listed
            .inspect_err(|error| tracing::debug!(%error, "chunks are looked for one by one"))
            .ok()
            .filter(|listed| listed.len() <= MAXIMUM_LISTED)?;
        let digest = |path: &object_store::path::Path| path.filename()?.split('.').next()?.parse().ok();
        Some(listed.iter().filter_map(digest).collect())
    }
}
