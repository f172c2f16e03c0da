//! Caches.

use serde::{Deserialize, Serialize};
use tombolo_core::cache;
use tombolo_core::digest::Digest;
use tombolo_core::name::{ClusterName, JobName};
use utoipa::ToSchema;

use crate::DateTime;

/// The caches of a project, by job, branch and cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CacheList {
    /// Them.
    pub caches: Vec<Cache>,
}

/// What a job has left for its next run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cache {
    /// The job.
    #[schema(value_type = String)]
    pub job: JobName,
    /// The branch; empty for builds that name none.
    pub branch: String,
    /// The cluster that has it.
    #[schema(value_type = String)]
    pub cluster: ClusterName,
    /// The size of its files.
    pub bytes: u64,
    /// How many files it has.
    pub files: u64,
    /// The digest of its manifest.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// The number of the build that has left it.
    pub build: u64,
    /// When it was left.
    pub saved_at: DateTime,
    /// When it was left, or last given to a job.
    pub used_at: DateTime,
}

impl From<&cache::Cache> for Cache {
    fn from(cache: &cache::Cache) -> Self {
        Self {
            job: cache.key.job.clone(),
            branch: cache.key.branch.clone(),
            cluster: cache.key.cluster.clone(),
            bytes: cache.content.bytes,
            files: cache.content.files,
            digest: cache.content.manifest,
            build: cache.build,
            saved_at: cache.saved_at.into(),
            used_at: cache.used_at.into(),
        }
    }
}
