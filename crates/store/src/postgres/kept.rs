//! What is kept of builds that are over, and of caches.

use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;

use super::connection::Connection;
use super::read::{Parameter, all, bound};
use super::row;
use crate::port::{Error, KeptBuild};

/// The job has kept its output until the fourth parameter, or for as long as its project does.
const IS_KEPT: &str = "COALESCE(builds.ended_at + 86400000 * jobs.output_keep_days > $4, TRUE)";

pub(super) async fn builds(
    connection: &Connection,
    project: ProjectId,
    before: Option<u64>,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<KeptBuild>, Error> {
    let sql = format!(
        "SELECT {}, (SELECT SUM(job_status.output_bytes)::bigint FROM jobs JOIN job_status ON job_status.job = jobs.id \
         WHERE jobs.build = builds.id AND NOT job_status.output_lost AND {}) FROM builds \
         WHERE project = $1 AND released_at IS NULL AND number < $2 ORDER BY number DESC LIMIT $3",
        row::BUILD,
        IS_KEPT
    );
    let parameters: [Parameter<'_>; 4] = [&project.uuid(), &bound(before), &i64::from(limit), &now.0.cast_signed()];
    let kept = all(connection, &sql, &parameters, |columns| {
        Ok(KeptBuild {
            build: row::build(columns)?,
            bytes: columns.optional_number()?.unwrap_or(0),
        })
    });
    kept.await
}

pub(super) async fn are_sources(
    connection: &Connection,
    project: ProjectId,
    manifests: &[Digest],
) -> Result<Vec<bool>, Error> {
    let condition = "EXISTS (SELECT FROM builds WHERE project = $2 AND source = asked.manifest AND released_at IS NULL) \
         OR EXISTS (SELECT FROM triggers WHERE project = $2 AND source = asked.manifest)";
    of_each(connection, condition, manifests, &[&project.uuid()]).await
}

pub(super) async fn are_wanted(
    connection: &Connection,
    cluster: &ClusterName,
    project: ProjectId,
    manifests: &[Digest],
    now: Timestamp,
) -> Result<Vec<bool>, Error> {
    // Only builds that the cluster has something of: nobody learns what others have. A copy is wanted where it was given; that is looked for in the text,
    // since Postgres reads no JSON in which a message has a NUL character. Quotes in messages are escaped, and names of clusters have no special characters.
    let condition = format!(
        "EXISTS (SELECT FROM (\
             SELECT jobs.build AS build, job_status.course AS course FROM job_status JOIN jobs ON jobs.id = job_status.job \
             JOIN builds ON builds.id = jobs.build \
             WHERE job_status.output_manifest = asked.manifest AND NOT job_status.output_lost \
             AND builds.project = $2 AND builds.released_at IS NULL AND {IS_KEPT} \
             UNION SELECT id, NULL FROM builds WHERE project = $2 AND source = asked.manifest AND released_at IS NULL) AS wanted \
         WHERE wanted.course ~ ('\"copies\":\\[[^]]*\"' || $3::text || '\"') OR EXISTS (SELECT FROM jobs JOIN job_status ON job_status.job = jobs.id \
             WHERE jobs.build = wanted.build AND job_status.cluster = $3))"
    );
    let others: [Parameter<'_>; 3] = [&project.uuid(), &cluster.as_str(), &now.0.cast_signed()];
    of_each(connection, &condition, manifests, &others).await
}

/// For each of the manifests, whether it is that of a cache of the project which the cluster has.
pub(super) async fn are_caches(
    connection: &Connection,
    cluster: &ClusterName,
    project: ProjectId,
    manifests: &[Digest],
) -> Result<Vec<bool>, Error> {
    let condition = "EXISTS (SELECT FROM caches WHERE project = $2 AND manifest = asked.manifest AND cluster = $3)";
    of_each(connection, condition, manifests, &[&project.uuid(), &cluster.as_str()]).await
}

/// Asks a condition of each manifest, in their order. The manifests are the first parameter.
async fn of_each(
    connection: &Connection,
    condition: &str,
    manifests: &[Digest],
    others: &[Parameter<'_>],
) -> Result<Vec<bool>, Error> {
    let sql = format!(
        "SELECT {condition} FROM UNNEST($1::bytea[]) WITH ORDINALITY AS asked (manifest, place) ORDER BY place"
    );
    let manifests: Vec<&[u8]> = manifests.iter().map(|manifest| &manifest.as_bytes()[..]).collect();
    let mut parameters: Vec<Parameter<'_>> = vec![&manifests];
    parameters.extend_from_slice(others);
    all(connection, &sql, &parameters, |columns| columns.take()).await
}
