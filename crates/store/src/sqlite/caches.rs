//! The records of caches.

use rusqlite::{Connection, params};
use tombolo_core::cache::{Cache, CacheKey};
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_core::name::ClusterName;

use super::write::time;

pub(super) fn put(connection: &Connection, cache: &Cache) -> rusqlite::Result<usize> {
    let Cache {
        key,
        content,
        build,
        saved_at,
        used_at,
    } = cache;
    let mut statement = connection.prepare_cached(
        "INSERT INTO caches (project, job, branch, cluster, manifest, bytes, files, build, saved_at, used_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (project, job, branch, cluster) \
         DO UPDATE SET manifest = excluded.manifest, bytes = excluded.bytes, files = excluded.files, \
         build = excluded.build, saved_at = excluded.saved_at, used_at = excluded.used_at",
    )?;
    statement.execute(params![
        key.project.uuid().as_bytes(),
        key.job.as_str(),
        key.branch,
        key.cluster.as_str(),
        content.manifest.as_bytes(),
        content.bytes.cast_signed(),
        content.files.cast_signed(),
        build.cast_signed(),
        time(*saved_at),
        time(*used_at)
    ])
}

pub(super) fn delete(connection: &Connection, key: &CacheKey) -> rusqlite::Result<usize> {
    let mut statement = connection
        .prepare_cached("DELETE FROM caches WHERE project = ?1 AND job = ?2 AND branch = ?3 AND cluster = ?4")?;
    statement.execute(params![
        key.project.uuid().as_bytes(),
        key.job.as_str(),
        key.branch,
        key.cluster.as_str()
    ])
}

/// For each of the manifests, whether it is that of a cache of the project which the cluster has.
pub(super) fn are_caches(
    connection: &Connection,
    cluster: &ClusterName,
    project: ProjectId,
    manifests: &[Digest],
) -> rusqlite::Result<Vec<bool>> {
    let mut statement = connection
        .prepare_cached("SELECT 1 FROM caches WHERE project = ?1 AND manifest = ?2 AND cluster = ?3 LIMIT 1")?;
    let known = manifests.iter().map(|manifest| {
        statement.exists(params![
            project.uuid().as_bytes(),
            manifest.as_bytes(),
            cluster.as_str()
        ])
    });
    known.collect()
}
