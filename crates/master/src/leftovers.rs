//! What a deletion that was interrupted has left behind.

use std::collections::HashSet;

use tokio_util::sync::CancellationToken;
use tombolo_core::id::ProjectId;
use tombolo_transfer::ChunkStore;

use crate::driver::Handle;

/// Removes the sources of projects that are gone, once, and then waits for `stop`. What cannot be removed now is tried again at
/// the next start: it is in nobody's way.
pub(crate) async fn remove(sources: ChunkStore, handle: Handle, stop: CancellationToken) {
    let removing = stop.run_until_cancelled(removing(&sources, &handle));
    if let Some(Err(error)) = removing.await {
        tracing::warn!(
            error = format!("{error:#}"),
            "the sources of deleted projects were not removed"
        );
    }
    stop.cancelled().await;
}

async fn removing(sources: &ChunkStore, handle: &Handle) -> anyhow::Result<()> {
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
