use tombolo_artifact::ChunkReference;
use tombolo_core::id::ProjectId;

use crate::store::layout::Place;
use crate::store::{ChunkStore, Error};

impl ChunkStore {
    /// Whether the chunk is there. One that is there and condemned is written again from its own bytes: whoever needs it may have
    /// no other source.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn has_or_salvages(&self, project: ProjectId, chunk: ChunkReference) -> Result<bool, Error> {
        let inner = &self.inner;
        let _writing = inner.retention.writing(chunk.digest).await;
        let epoch = inner.retention.epoch();
        let generation = match inner.place_for(project, chunk.digest).await? {
            Place::Present(_) => return Ok(true),
            Place::Absent(0) => return Ok(false),
            Place::Absent(generation) => generation,
        };
        // One at a time: it is rare, and a chunk may have 16 MiB.
        let _turn = inner.rereading.acquire().await;
        match self.get_stored_chunk(project, chunk).await {
            Ok(stored) => {
                inner.put_generation(project, &stored, generation, epoch).await?;
                Ok(true)
            }
            Err(Error::Missing { .. } | Error::Damaged { .. } | Error::WrongLength(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
