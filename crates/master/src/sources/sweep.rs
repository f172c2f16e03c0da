//! Removes sources of builds whose outputs were given up.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_store::Store;
use tombolo_transfer::store::Error;
use tombolo_transfer::store::retention::{Keep, Manner, Swept};

use super::{Sources, leftovers};
use crate::driver::Handle;
use crate::leadership::Tenure;

/// The most requests to the store in a second.
const REQUESTS_PER_SECOND: u32 = 200;

/// The shortest pause between two sweeps of a bucket, which may carry out a deletion late.
const LEAST_PAUSE: Duration = Duration::from_secs(10 * 60);

/// Removes what no build needs.
pub(crate) struct Sweeper<S> {
    sources: Sources,
    database: Arc<S>,
    handle: Handle,
    tenure: Tenure,
    pause: Duration,
}

impl<S: Store> Sweeper<S> {
    /// Looks at `sources` once in `every`, in buckets at most once in ten minutes.
    pub(crate) fn new(
        sources: Sources,
        database: Arc<S>,
        handle: Handle,
        tenure: Tenure,
        every: Duration,
        is_folder: bool,
    ) -> Self {
        let pause = if is_folder { every } else { every.max(LEAST_PAUSE) };
        Self {
            sources,
            database,
            handle,
            tenure,
            pause,
        }
    }

    /// Removes what deleted projects have left, and then sweeps now and then, until `stopping`.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        let sweeping = async {
            loop {
                if let Err(error) = leftovers::remove(self.sources.store(), &self.handle).await {
                    let error = tombolo_runtime::reason::whole(&error);
                    tracing::warn!(
                        error,
                        "the sources of deleted projects were not removed; trying again later"
                    );
                }
                tokio::time::sleep(self.pause).await;
                if let Err(error) = self.sweep_all().await {
                    tracing::warn!(%error, "cannot list whose sources there are; trying again later");
                }
            }
        };
        let _: Option<()> = stopping.run_until_cancelled(sweeping).await;
    }

    /// One project that cannot be swept does not keep the others.
    async fn sweep_all(&self) -> Result<(), Error> {
        for project in self.sources.store().projects().await? {
            match self.sweep(project).await {
                Ok(swept) if swept.deleted_chunks + swept.condemned_chunks > 0 => tracing::info!(
                    %project,
                    deleted_manifests = swept.deleted_manifests,
                    deleted_bytes = swept.deleted_bytes,
                    condemned_chunks = swept.condemned_chunks,
                    waits_for = swept.waits_for,
                    "swept the sources of a project"
                ),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%project, %error, "cannot sweep the sources of a project; trying again later")
                }
            }
        }
        Ok(())
    }

    pub(super) async fn sweep(&self, project: ProjectId) -> Result<Swept, Error> {
        self.sources.end_uploads(project).await?;
        let manner = Manner::paced(REQUESTS_PER_SECOND);
        self.sources.store().sweep(project, self, manner).await
    }
}

impl<S: Store> Keep for Sweeper<S> {
    fn keep<'a>(&'a self, project: ProjectId, manifests: &'a [Digest]) -> BoxFuture<'a, Result<Vec<bool>, String>> {
        Box::pin(async move {
            // Another master knows more than this one of what is being uploaded.
            if !self.tenure.holds() {
                return Err("this master does not lead any more".to_owned());
            }
            let expected = manifests
                .iter()
                .map(|manifest| self.sources.is_expected(project, *manifest));
            let expected: Option<Vec<bool>> = expected.collect();
            let expected = expected.ok_or("more sources were uploaded within an hour than are remembered")?;
            let needed = self.database.are_sources(project, manifests.to_vec()).await;
            let needed = needed.map_err(|error| error.to_string())?;
            Ok(expected
                .into_iter()
                .zip(needed)
                .map(|(expected, needed)| expected || needed)
                .collect())
        })
    }
}
