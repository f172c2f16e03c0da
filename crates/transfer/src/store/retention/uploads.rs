//! Uploads under way, which outlive the process that began them.

use std::fmt;

use futures::TryStreamExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, ProjectId};

use super::Inner;
use super::record::MAXIMUM_BYTES;
use crate::store::object::Fetched;
use crate::store::{ChunkStore, Error, owner};

/// The name of an upload within its project. Whoever goes on with an upload after a crash gives the same again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(String);

impl From<AttemptId> for UploadId {
    fn from(attempt: AttemptId) -> Self {
        Self(attempt.to_string())
    }
}

/// What the names of uploads begin with that bring a manifest for nobody in particular.
const AHEAD: &str = "ahead-";

/// What the names of uploads begin with that users make within some time.
const WINDOW: &str = "window-";

impl UploadId {
    /// An upload that brings a manifest before an attempt needs it. `nonce` is new each time: a sweep may be ending what a crash
    /// left of an earlier one.
    pub fn ahead(manifest: Digest, nonce: u64) -> Self {
        Self(format!("{AHEAD}{manifest}-{nonce:016x}"))
    }

    /// The uploads of users to the master that begin in one window of time.
    pub fn window(number: u64) -> Self {
        Self(format!("{WINDOW}{number}"))
    }

    /// The window of time whose uploads these are, if they are those of one.
    pub fn window_number(&self) -> Option<u64> {
        self.0.strip_prefix(WINDOW)?.parse().ok()
    }

    /// The attempt whose upload this is; none if it is not one's.
    pub fn attempt(&self) -> Option<AttemptId> {
        self.0.parse().ok()
    }

    /// The manifest that this upload brings before an attempt needs it, if it does.
    pub fn manifest(&self) -> Option<Digest> {
        let (manifest, _nonce) = self.0.strip_prefix(AHEAD)?.rsplit_once('-')?;
        manifest.parse().ok()
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An upload that began and has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadUnderWay {
    /// Which.
    pub id: UploadId,
    /// The project's round in which it began.
    pub(super) round: u64,
}

#[derive(Serialize, Deserialize)]
struct Record {
    round: u64,
}

impl ChunkStore {
    /// Says that something of a project is going to be looked up or written, before the first time, and that what is found there
    /// must stay until [`Self::end_upload`]. To say so again changes nothing.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn begin_upload(&self, project: ProjectId, id: &UploadId) -> Result<(), Error> {
        const OPERATION: &str = "note the beginning of an upload";
        let inner = &self.inner;
        owner::confirm(inner).await?;
        let path = inner.upload_path(project, &id.0);
        if inner.exists(OPERATION, &path).await? {
            return Ok(());
        }
        let round = inner.round(project).await?;
        let record = serde_json::to_vec(&Record { round }).expect("a number is valid JSON");
        inner.put(OPERATION, &path, record.into()).await
    }

    /// Says that the upload was given up, or that its manifest is there and kept for another reason.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn end_upload(&self, project: ProjectId, id: &UploadId) -> Result<(), Error> {
        let path = self.inner.upload_path(project, &id.0);
        let end = || self.inner.delete(vec![path.clone()]);
        self.inner.retry("note the end of an upload", end).await
    }

    /// The uploads of a project that are under way, or were when their process ended.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn uploads(&self, project: ProjectId) -> Result<Vec<UploadUnderWay>, Error> {
        self.inner.uploads_under_way(project).await
    }
}

impl Inner {
    pub(super) async fn uploads_under_way(&self, project: ProjectId) -> Result<Vec<UploadUnderWay>, Error> {
        const OPERATION: &str = "list the uploads of a project";
        let folder = self.project_path(project).join("uploads");
        let listed: Vec<Path> = self
            .retry(OPERATION, || {
                let listed = self.objects.list(Some(&folder)).map_ok(|object| object.location);
                listed.try_collect()
            })
            .await?;
        let mut found = Vec::with_capacity(listed.len());
        for path in listed {
            let Some(name) = path.filename() else { continue };
            let round = match self.get(OPERATION, &path, MAXIMUM_BYTES).await? {
                Fetched::Missing => continue,
                Fetched::TooLarge(_) => 0,
                // One that cannot be read counts as the oldest: whoever it belongs to ends it.
                Fetched::Bytes(bytes) => serde_json::from_slice(&bytes).map_or(0, |record: Record| record.round),
            };
            let id = UploadId(name.to_owned());
            found.push(UploadUnderWay { id, round });
        }
        Ok(found)
    }
}
