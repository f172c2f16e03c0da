//! From the store into a folder.

use std::path::Path;

use tombolo_artifact::{Manifest, UnpackOptions};
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;

use super::budget::Budget;
use super::{ChunkStore, Error};
use crate::flow::unpack_with;

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
        let fetch = |chunk: crate::pull::ListedChunk| self.get_chunk(project, chunk.reference);
        unpack_with::<Error, _>(&manifest, into, options, Budget::new(), fetch).await?;
        Ok(manifest)
    }
}
