//! The sources of builds, in the master's own store: what users upload, and what of it goes again.
//!
//! To the store, what users upload within one window of time is one upload: nothing says when a user has given up. So what somebody
//! was told is there stays for at least one window more, which is the time to finish an upload.

mod leftovers;
mod sweep;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_core::time::{Moment, Timestamp};
use tombolo_transfer::store::retention::UploadId;
use tombolo_transfer::store::{ChunkStore, Error};

use crate::clock::Clock;
pub(crate) use sweep::Sweeper;

/// How long a window is.
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// How many uploaded manifests are remembered, about 100 bytes each. With more, nothing goes until the oldest are a window old.
const REMEMBERED: usize = 100_000;

/// The store of sources, and who uploads to it. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct Sources {
    store: ChunkStore,
    clock: Arc<dyn Clock>,
    uploads: Arc<Mutex<Uploads>>,
}

#[derive(Default)]
struct Uploads {
    /// The latest window of each project that the store knows of.
    windows: HashMap<ProjectId, u64>,
    /// Manifests that were uploaded or named by a submission, and when last: builds may be about to come.
    manifests: HashMap<(ProjectId, Digest), Moment>,
}

impl Sources {
    /// Sources in `store`.
    pub fn new(store: ChunkStore, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            uploads: Arc::default(),
        }
    }

    /// The store itself.
    pub const fn store(&self) -> &ChunkStore {
        &self.store
    }

    /// Says that a user uploads something to a project, before anything is looked up or written: what is found there stays for
    /// at least an hour.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn upload(&self, project: ProjectId) -> Result<(), Error> {
        let window = window(self.clock.now().wall);
        if self.uploads().windows.get(&project) == Some(&window) {
            return Ok(());
        }
        self.store.begin_upload(project, &UploadId::window(window)).await?;
        self.uploads().windows.insert(project, window);
        Ok(())
    }

    /// Says that a build may be about to be submitted with this source, which stays for an hour.
    pub fn expect_build(&self, project: ProjectId, manifest: Digest) {
        let now = self.clock.now().steady;
        let mut uploads = self.uploads();
        if uploads.manifests.len() < REMEMBERED {
            uploads.manifests.insert((project, manifest), now);
        }
    }

    /// Whether a build may be about to be submitted with this source; none if nobody can say.
    fn is_expected(&self, project: ProjectId, manifest: Digest) -> Option<bool> {
        let now = self.clock.now().steady;
        let mut uploads = self.uploads();
        uploads.manifests.retain(|_, at| now < *at + WINDOW);
        let is_known = uploads.manifests.contains_key(&(project, manifest));
        (is_known || uploads.manifests.len() < REMEMBERED).then_some(is_known)
    }

    /// Ends the uploads of windows that have been over for the length of one.
    async fn end_uploads(&self, project: ProjectId) -> Result<(), Error> {
        let now = window(self.clock.now().wall);
        for upload in self.store.uploads(project).await? {
            let is_under_way = upload.id.window_number().is_some_and(|window| window + 2 > now);
            if !is_under_way {
                if self.uploads().windows.get(&project).copied() == upload.id.window_number() {
                    self.uploads().windows.remove(&project);
                }
                self.store.end_upload(project, &upload.id).await?;
            }
        }
        Ok(())
    }

    fn uploads(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of the window that a moment lies in.
fn window(now: Timestamp) -> u64 {
    now.0 / u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX)
}
