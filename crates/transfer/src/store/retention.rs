//! What goes from a store, and how nothing goes that somebody needs.
//!
//! ```text
//! <project>/uploads/<name>                                   an upload under way: in which round it began
//! <project>/round                                            the round, and how far the sweep is
//! <project>/manifests/<digest>.condemned                     this manifest is to go
//! <project>/chunks/<2 digits>/<digest>.<generation>.damaged  this object does not count: damaged (why), or condemned (empty)
//! ```
//!
//! A sweep *condemns* first: manifests that nobody keeps, and chunks that no kept manifest lists. For uploads, what is condemned
//! is absent: they write the next generation. Whoever reads still finds it. Then it ends the round, and *settles*: once every
//! upload that began in the round or before has ended, it asks again who keeps what, takes back the marks of what is listed by
//! now, and deletes the rest. What was done is in the store at each step, so that the next sweep goes on after any crash.
//!
//! The mark of a deleted object stays until the next sweep, and for as long as a later generation is there, which is found by it.

mod bury;
mod condemn;
mod listing;
mod manifests;
mod rate;
mod record;
mod references;
mod salvage;
mod settle;
#[cfg(test)]
mod tests;
mod uploads;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::{RwLock, RwLockReadGuard};
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;

use super::{ChunkStore, Error, Inner, owner};
use rate::Rate;
use record::Stage;
pub use uploads::{UploadId, UploadUnderWay};

/// How many locks there are: one for each value that the first byte of a digest can have.
const LOCKS: usize = 256;

/// Says which manifests are still needed.
pub trait Keep: Send + Sync {
    /// For each of these manifests of a project whether it is kept, in their order. Asked twice before one goes: the second time
    /// when every upload that may have relied on it has ended.
    ///
    /// # Errors
    /// Why nobody can say so at present: then nothing goes.
    fn keep<'a>(&'a self, project: ProjectId, manifests: &'a [Digest]) -> BoxFuture<'a, Result<Vec<bool>, String>>;
}

/// How a sweep goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    requests_per_second: u32,
    /// How many chunks of kept manifests are held at once.
    maximum_held: usize,
}

impl Manner {
    /// With so many requests to the store in a second, at least 1: transfers need it too.
    pub const fn paced(requests_per_second: u32) -> Self {
        Self {
            requests_per_second,
            maximum_held: references::MAXIMUM_HELD,
        }
    }
}

/// What a sweep did; or, in a plan, would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Manifests that are kept.
    pub kept_manifests: u64,
    /// Manifests that were condemned.
    pub condemned_manifests: u64,
    /// Objects of chunks that were condemned.
    pub condemned_chunks: u64,
    /// Their length as stored, in bytes.
    pub condemned_bytes: u64,
    /// Manifests and objects of chunks that were not to go after all.
    pub taken_back: u64,
    /// Manifests that were deleted.
    pub deleted_manifests: u64,
    /// Objects of chunks that were deleted.
    pub deleted_chunks: u64,
    /// Their length as stored, in bytes.
    pub deleted_bytes: u64,
    /// Uploads whose end is waited for before what is condemned can go; 0 if the sweep is complete.
    pub waits_for: u64,
}

/// What sweeps and uploads share within one process.
pub(super) struct Retention {
    /// Counts the ends of rounds: what was known before one is not known any more.
    epoch: AtomicU64,
    /// The round of each project that was asked for.
    rounds: Mutex<HashMap<ProjectId, u64>>,
    /// Shared while it is looked where a chunk belongs and written there; exclusive while marks are removed. By the first byte
    /// of the digest.
    locks: Vec<RwLock<()>>,
    /// One sweep at a time.
    sweeping: tokio::sync::Mutex<()>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            epoch: AtomicU64::new(0),
            rounds: Mutex::default(),
            locks: (0..LOCKS).map(|_| RwLock::new(())).collect(),
            sweeping: tokio::sync::Mutex::default(),
        }
    }
}

impl Retention {
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// To be held from looking where something belongs until it is written there. Nobody waits to hold it exclusively, so that it
    /// may be taken twice.
    pub(super) async fn writing(&self, digest: Digest) -> RwLockReadGuard<'_, ()> {
        self.lock(digest).read().await
    }

    fn lock(&self, digest: Digest) -> &RwLock<()> {
        &self.locks[usize::from(digest.as_bytes()[0])]
    }

    /// Nothing that was known of what is stored holds any more.
    pub(super) fn forget_all(&self) {
        self.rounds().clear();
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn forget_project(&self, project: ProjectId) {
        self.rounds().remove(&project);
    }

    fn rounds(&self) -> MutexGuard<'_, HashMap<ProjectId, u64>> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChunkStore {
    /// Goes through what is stored of a project: condemns what `keep` does not keep, and deletes what was condemned and may go.
    /// What cannot go yet goes in a later sweep. Memory is bounded: 8 bytes for each chunk of kept manifests, 32 MiB at the most
    /// (then the manifests are read several times), 32 for each manifest, and what is listed of one chunk in 256.
    ///
    /// Two sweeps of the same project must be some minutes apart: what a store was asked to delete and has not answered might
    /// still be deleted by it.
    ///
    /// # Errors
    /// Those of the store, and [`Error::Undecided`]; everything that somebody may need is there then, and the next sweep goes on.
    pub async fn sweep(&self, project: ProjectId, keep: &dyn Keep, manner: Manner) -> Result<Swept, Error> {
        let inner = &self.inner;
        let _one = inner.retention.sweeping.lock().await;
        owner::confirm(inner).await?;
        let sweep = Sweep::new(self, project, keep, manner);
        let mut swept = Swept::default();
        let mut record = inner.read_record(project).await?;
        if record.stage == Stage::Condemning {
            // Of a sweep that was cut off. Uploads of its round may have seen what was condemned later.
            record = inner.end_round(project).await?;
        }
        if record.stage == Stage::Settling && !sweep.settle(record.round, &mut swept).await? {
            return Ok(swept);
        }
        inner.begin_round(project).await?;
        sweep.condemn(&mut swept).await?;
        let record = inner.end_round(project).await?;
        sweep.settle(record.round, &mut swept).await?;
        Ok(swept)
    }

    /// What a sweep would condemn; nothing is changed. What waits to go already is counted as condemned, too.
    ///
    /// # Errors
    /// As [`Self::sweep`].
    pub async fn plan_sweep(&self, project: ProjectId, keep: &dyn Keep, manner: Manner) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        Sweep::new(self, project, keep, manner).plan(&mut swept).await?;
        swept.waits_for = self.uploads(project).await?.len() as u64;
        Ok(swept)
    }
}

/// One sweep.
struct Sweep<'a> {
    store: &'a ChunkStore,
    project: ProjectId,
    keep: &'a dyn Keep,
    rate: Rate,
    manner: Manner,
}

impl<'a> Sweep<'a> {
    fn new(store: &'a ChunkStore, project: ProjectId, keep: &'a dyn Keep, manner: Manner) -> Self {
        let rate = Rate::new(manner.requests_per_second);
        Self {
            store,
            project,
            keep,
            rate,
            manner,
        }
    }

    fn inner(&self) -> &'a Inner {
        &self.store.inner
    }
}
