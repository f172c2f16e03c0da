//! What is kept of builds that are over.

use rusqlite::{Connection, params};
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;

use super::row::{self, Columns};
use super::write::time;
use crate::port::KeptBuild;

/// The job has kept its output until `?4`, or for as long as its project does.
const IS_KEPT: &str = "COALESCE(builds.ended_at + 86400000 * jobs.output_keep_days > ?4, TRUE)";

pub(super) fn builds(
    connection: &Connection,
    project: ProjectId,
    before: Option<u64>,
    limit: u32,
    now: Timestamp,
) -> rusqlite::Result<Vec<KeptBuild>> {
    let before = before.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX));
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {}, (SELECT SUM(job_status.output_bytes) FROM jobs JOIN job_status ON job_status.job = jobs.id \
         WHERE jobs.build = builds.id AND job_status.output_lost = 0 AND {}) FROM builds \
         WHERE project = ?1 AND released_at IS NULL AND number < ?2 ORDER BY number DESC LIMIT ?3",
        row::BUILD,
        IS_KEPT
    ))?;
    let project = project.uuid();
    let parameters = params![project.as_bytes(), before, limit, time(now)];
    let rows = statement.query_map(parameters, |row| {
        let mut columns = Columns::new(row);
        let build = row::build(&mut columns)?;
        let bytes = columns.take::<Option<i64>>()?.unwrap_or(0).cast_unsigned();
        Ok(KeptBuild { build, bytes })
    })?;
    rows.collect()
}

pub(super) fn are_sources(
    connection: &Connection,
    project: ProjectId,
    manifests: &[Digest],
) -> rusqlite::Result<Vec<bool>> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM builds WHERE project = ?1 AND source = ?2 AND released_at IS NULL \
             UNION ALL SELECT 1 FROM triggers WHERE project = ?1 AND source = ?2 LIMIT 1",
    )?;
    let sources = manifests
        .iter()
        .map(|manifest| statement.exists(params![project.uuid().as_bytes(), manifest.as_bytes()]));
    sources.collect()
}

pub(super) fn are_wanted(
    connection: &Connection,
    cluster: &ClusterName,
    project: ProjectId,
    manifests: &[Digest],
    now: Timestamp,
) -> rusqlite::Result<Vec<bool>> {
    // Only builds that the cluster has something of: nobody learns what others have. A copy is wanted where it was given.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT 1 FROM (\
             SELECT jobs.build AS build, job_status.course AS course FROM job_status JOIN jobs ON jobs.id = job_status.job \
             JOIN builds ON builds.id = jobs.build \
             WHERE job_status.output_manifest = ?3 AND job_status.output_lost = 0 AND builds.project = ?2 AND builds.released_at IS NULL \
             AND {} \
             UNION SELECT id, NULL FROM builds WHERE project = ?2 AND source = ?3 AND released_at IS NULL) AS wanted \
         WHERE EXISTS (SELECT 1 FROM json_each(wanted.course, '$.copies') WHERE value = ?1) \
         OR EXISTS (SELECT 1 FROM jobs JOIN job_status ON job_status.job = jobs.id \
             WHERE jobs.build = wanted.build AND job_status.cluster = ?1) LIMIT 1",
        IS_KEPT
    ))?;
    let wanted = manifests.iter().map(|manifest| {
        statement.exists(params![
            cluster.as_str(),
            project.uuid().as_bytes(),
            manifest.as_bytes(),
            time(now)
        ])
    });
    wanted.collect()
}
