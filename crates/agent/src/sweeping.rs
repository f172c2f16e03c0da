//! What goes from the cluster's own store, and when: now and then, each project is swept. The master says which of its outputs are
//! still wanted; what this agent needs itself stays whatever the master says.

mod attempts;
mod master;
mod needs;

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tombolo_core::id::ProjectId;
use tombolo_runtime::configuration::Faults;
use tombolo_transfer::ChunkStore;
use tombolo_transfer::peer::ChunkService;
use tombolo_transfer::store::retention::{Manner, Swept};
use tonic::transport::Channel;

use self::attempts::Attempts;
use self::master::Master;
use self::needs::Needs;
use crate::prefetch::Prefetcher;

/// How sweeps go about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How often each project is swept. What is to go is gone after two sweeps.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// The most requests to the store in a second.
    pub requests_per_second: u32,
    /// How long after its last question a reader may come back: one that lost its connection does within minutes, and what was
    /// signed for it is good for five.
    #[serde(with = "humantime_serde")]
    pub readers_return: Duration,
    /// Only what would go is said, in the log.
    pub dry_run: bool,
}

impl Settings {
    /// The shortest pause for stores that may carry out a deletion after they have answered, or without.
    const LEAST_PAUSE: Duration = Duration::from_secs(10 * 60);

    /// Whether a sweep may begin while such a store still carries out deletions of the one before.
    pub(crate) fn is_hasty(&self) -> bool {
        self.every < Self::LEAST_PAUSE
    }

    /// Checks what the types alone do not hold.
    pub fn check(&self, faults: &mut Faults) {
        if self.every.is_zero() {
            faults.add("sweep.every", "it is 0");
        }
        if self.requests_per_second == 0 {
            faults.add("sweep.requests_per_second", "it is 0");
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(60 * 60),
            requests_per_second: 200,
            readers_return: Duration::from_secs(15 * 60),
            dry_run: false,
        }
    }
}

/// Sweeps one store.
pub struct Sweeper {
    store: ChunkStore,
    settings: Settings,
    attempts: Attempts,
    master: Master,
    chunks: ChunkService,
    prefetcher: Prefetcher,
}

impl Sweeper {
    /// Of a store whose attempts have their folders in `folder`, which is read over `chunks` and filled by `prefetcher`, and for a
    /// master that is reached over `bulk`.
    pub fn new(
        store: ChunkStore,
        settings: Settings,
        folder: PathBuf,
        bulk: Channel,
        (chunks, prefetcher): (ChunkService, Prefetcher),
    ) -> Self {
        Self {
            store,
            settings,
            attempts: Attempts::new(folder),
            master: Master::new(bulk),
            chunks,
            prefetcher,
        }
    }

    /// Sweeps until `stop`. The first time after the usual pause: an agent that is always started again asks for nothing.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let swept = stop.run_until_cancelled(async {
                tokio::time::sleep(self.settings.every).await;
                self.sweep_all().await
            });
            match swept.await {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::warn!(
                    error = tombolo_runtime::reason::whole(&error),
                    "cannot list what projects have something here"
                ),
            }
        }
    }

    /// One that cannot be swept does not keep the others.
    async fn sweep_all(&self) -> anyhow::Result<()> {
        for project in self.store.projects().await? {
            if let Err(error) = self.sweep(project).await {
                tracing::warn!(%project, error = tombolo_runtime::reason::whole(&error), "cannot sweep a project; trying again later");
            }
        }
        Ok(())
    }

    async fn sweep(&self, project: ProjectId) -> anyhow::Result<()> {
        if self.settings.dry_run {
            let needs = self.needs();
            let plan = self.store.plan_sweep(project, &needs, self.manner()).await?;
            tracing::info!(
                %project,
                manifests = plan.condemned_manifests,
                chunks = plan.condemned_chunks,
                bytes = plan.condemned_bytes,
                kept = plan.kept_manifests,
                "a sweep would remove this (dry run)"
            );
            return Ok(());
        }
        // In this order: what is listed now belongs to an attempt that has its folder by now, or had one.
        let uploads = self.store.uploads(project).await?;
        for upload in uploads {
            let attempt = upload.id.attempt().map(|attempt| self.attempts.has(attempt));
            let ahead = upload.id.manifest();
            let ahead = ahead.is_some_and(|manifest| self.prefetcher.is_under_way(project, manifest));
            if !ahead && !attempt.transpose()?.unwrap_or(false) {
                self.store.end_upload(project, &upload.id).await?;
            }
        }
        if !self.master.knows(project).await? && !self.attempts.any_of(project).await? {
            let objects = self.store.delete_project(project).await?;
            if objects > 0 {
                tracing::info!(%project, objects, "removed what a deleted project had here");
            }
            return Ok(());
        }
        let swept = self.store.sweep(project, &self.needs(), self.manner()).await?;
        tell(project, &swept);
        Ok(())
    }

    /// Everybody who needs something.
    fn needs(&self) -> Needs<'_> {
        Needs {
            attempts: &self.attempts,
            chunks: &self.chunks,
            prefetcher: &self.prefetcher,
            readers_return: self.settings.readers_return,
            master: &self.master,
        }
    }

    const fn manner(&self) -> Manner {
        Manner::paced(self.settings.requests_per_second)
    }
}

fn tell(project: ProjectId, swept: &Swept) {
    if swept.deleted_chunks + swept.deleted_manifests + swept.condemned_chunks + swept.taken_back > 0 {
        tracing::info!(
            %project,
            deleted_manifests = swept.deleted_manifests,
            deleted_chunks = swept.deleted_chunks,
            deleted_bytes = swept.deleted_bytes,
            condemned_chunks = swept.condemned_chunks,
            taken_back = swept.taken_back,
            waits_for = swept.waits_for,
            "swept a project"
        );
    }
}
