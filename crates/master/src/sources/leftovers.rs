//! What a deletion that was interrupted has left behind.

use std::collections::HashSet;

use tombolo_core::id::ProjectId;
use tombolo_transfer::ChunkStore;

use crate::driver::Handle;

/// Removes the sources of projects that are gone.
pub(super) async fn remove(sources: &ChunkStore, handle: &Handle) -> anyhow::Result<()> {
    // In this order: whatever is listed belongs to a project that was there before the question is asked.
    let stored = sources.projects().await?;
    let known = handle.query(|control| control.projects().map(|project| project.id).collect());
    let known: HashSet<ProjectId> = known.await?;
    for project in stored.into_iter().filter(|project| !known.contains(project)) {
        let objects = sources.delete_project(project).await?;
        if objects > 0 {
            tracing::info!(%project, objects, "removed the sources of a project that was deleted");
        }
    }
    Ok(())
}
