//! Everybody who needs something of the store.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::BoxFuture;
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_transfer::peer::{ChunkService, Readable};
use tombolo_transfer::store::retention::Keep;

use super::attempts::Attempts;
use super::master::Master;
use crate::prefetch::Prefetcher;

/// Each on its own keeps a manifest.
pub(super) struct Needs<'a> {
    pub(super) attempts: &'a Attempts,
    pub(super) chunks: &'a ChunkService,
    pub(super) prefetcher: &'a Prefetcher,
    pub(super) readers_return: Duration,
    pub(super) master: &'a Master,
}

impl Keep for Needs<'_> {
    fn keep<'a>(&'a self, project: ProjectId, manifests: &'a [Digest]) -> BoxFuture<'a, Result<Vec<bool>, String>> {
        Box::pin(async move {
            let own = self.attempts.manifests(project).await;
            let own: HashSet<Digest> = own.map_err(|error| format!("the attempts on the disk: {error}"))?;
            let is_read = |manifest| self.chunks.is_read(Readable { project, manifest }, self.readers_return);
            let is_needed = |manifest: Digest| {
                own.contains(&manifest) || is_read(manifest) || self.prefetcher.needs(project, manifest)
            };
            let mut kept: Vec<bool> = manifests.iter().map(|manifest| is_needed(*manifest)).collect();
            let wanted = self
                .master
                .wants(project, manifests)
                .await
                .map_err(|error| format!("{error:#}"))?;
            for (kept, wanted) in kept.iter_mut().zip(wanted) {
                *kept |= wanted;
            }
            Ok(kept)
        })
    }
}
