//! Which projects there are, and their end.

use std::collections::HashSet;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use tokio::time::sleep;
use tombolo_core::id::ProjectId;

use super::patience::describe;
use super::{ChunkStore, Error, Inner};

/// How many objects are deleted at once when a project goes.
const DELETED_AT_ONCE: usize = 1_000;
/// How often a store may list what it has just deleted: some take a moment to know.
const STALE_LISTINGS: u32 = 5;
/// How long they are given each time.
const STALE_PAUSE: Duration = Duration::from_secs(1);

impl ChunkStore {
    /// The projects that have chunks or manifests here, as their folders say: some stores keep the folder of one that has none
    /// any more. Other names in that place are passed over.
    pub async fn projects(&self) -> Result<Vec<ProjectId>, Error> {
        let inner = &self.inner;
        let prefix = inner.projects_path();
        let listed = inner
            .retry("list the projects", || inner.objects.list_with_delimiter(Some(&prefix)))
            .await?;
        let names = listed.common_prefixes.iter().filter_map(Path::filename);
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    /// Removes all chunks and manifests of a project, and says how many objects that were.
    pub async fn delete_project(&self, project: ProjectId) -> Result<usize, Error> {
        const OPERATION: &str = "delete a project's objects";
        let inner = &self.inner;
        let mut removed = 0;
        let mut stale = 0;
        let mut before = HashSet::new();
        loop {
            let listed = inner.list_some(&inner.project_path(project)).await?;
            if listed.is_empty() {
                inner.known().forget_project(project);
                inner.retention.forget_project(project);
                return Ok(removed);
            }
            inner
                .retry(OPERATION, || inner.delete(listed.iter().cloned().collect()))
                .await?;
            let new = listed.difference(&before).count();
            removed += new;
            if new == 0 {
                stale += 1;
                if stale > STALE_LISTINGS {
                    let reason = "it goes on listing objects that it says are deleted".to_owned();
                    return Err(inner.refused(OPERATION, reason));
                }
                sleep(STALE_PAUSE).await;
            }
            before = listed;
        }
    }
}

impl Inner {
    /// Some of the objects below `prefix`; none if there are none.
    async fn list_some(&self, prefix: &Path) -> Result<HashSet<Path>, Error> {
        const OPERATION: &str = "list a project's objects";
        let listed: HashSet<Path> = self
            .retry(OPERATION, || {
                let listed = self.objects.list(Some(prefix)).map_ok(|object| object.location);
                listed.take(DELETED_AT_ONCE).try_collect()
            })
            .await?;
        // What is listed is deleted: a listing that lies must not reach what belongs to somebody else.
        match listed.iter().find(|path| !path.prefix_matches(prefix)) {
            None => Ok(listed),
            Some(other) => {
                let reason = format!("asked for what is below `{prefix}`, it lists `{other}`");
                Err(self.refused(OPERATION, reason))
            }
        }
    }

    pub(super) async fn delete(&self, paths: Vec<Path>) -> object_store::Result<()> {
        let mut deleted = self
            .objects
            .delete_stream(futures::stream::iter(paths.into_iter().map(Ok)).boxed());
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(as_denial(error)),
            }
        }
        Ok(())
    }
}

/// Stores delete many objects by one request, which succeeds where single deletions are refused; the library tells these
/// refusals by words alone.
fn as_denial(error: object_store::Error) -> object_store::Error {
    const DENIALS: [&str; 4] = [
        "AccessDenied",
        "AuthorizationPermissionMismatch",
        "AuthorizationFailure",
        "(code: 403",
    ];
    let words = describe(&error);
    if DENIALS.iter().any(|denial| words.contains(denial)) {
        return object_store::Error::PermissionDenied {
            path: "several objects".to_owned(),
            source: words.into(),
        };
    }
    error
}
