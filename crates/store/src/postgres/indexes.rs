//! Indexes of arrays: rows that are there from when an index begins on. The module of SQLite's says more of them.

use tombolo_core::build::JobState;
use tombolo_core::build::array::Counts;
use tombolo_core::control::record::JobStatus;
use tombolo_core::id::JobId;

use super::connection::Connection;
use super::read::{Parameter, all, job};
use super::record::Row;
use super::row;
use super::table::Value;
use crate::port::{Error, JobRecord};
use crate::state::job_state;

/// Inserts what others refer to, of those that are not there: an id, that of the array, and the index.
pub(super) const INSERT: &str = "\
    INSERT INTO jobs (id, build, position, name, parents, selector, cpu_milli, memory_bytes, timeout_milliseconds, spec, volumes, \
    cache, priority, kind, needs, output_keep_days) \
    SELECT new.id, arrays.build, ((arrays.position + 1) << 32) + new.place, '', '[]', '[]', 0, 0, 0, '', '[]', FALSE, 0, 'run', '[]', arrays.output_keep_days \
    FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[]) AS new (id, of_array, place) JOIN jobs AS arrays ON arrays.id = new.of_array \
    ON CONFLICT (id) DO NOTHING";

/// What [`INSERT`] takes of an index.
pub(super) fn key<'a>(id: JobId) -> Option<Row<'a>> {
    let (array, index) = id.array_and_index()?;
    Some(vec![
        Value::Id(id.uuid()),
        Value::Id(array.uuid()),
        Value::number(index.into()),
    ])
}

/// Those of all builds that are not over, by id.
pub(super) async fn live(connection: &Connection) -> Result<Vec<JobStatus>, Error> {
    let sql = format!(
        "SELECT {} FROM builds JOIN jobs ON jobs.build = builds.id AND jobs.position >= 4294967296 \
         JOIN job_status ON job_status.job = jobs.id WHERE builds.state = 'running' ORDER BY job_status.job",
        row::STATUS
    );
    all(connection, &sql, &[], row::index).await
}

pub(super) async fn list(
    connection: &Connection,
    array: JobId,
    first: u32,
    limit: u32,
    state: Option<JobState>,
) -> Result<Vec<JobStatus>, Error> {
    let sql = format!(
        "SELECT {} FROM job_status WHERE job BETWEEN $1 AND $2 AND ($3::text IS NULL OR state = $3) ORDER BY job LIMIT $4",
        row::STATUS
    );
    let (first, last) = (array.of_index(first).uuid(), array.of_index(u32::MAX).uuid());
    let state = state.map(|state| state.as_str().to_owned());
    let parameters: [Parameter<'_>; 4] = [&first, &last, &state, &i64::from(limit)];
    all(connection, &sql, &parameters, row::index).await
}

pub(super) async fn counts(connection: &Connection, array: JobId) -> Result<Counts, Error> {
    let sql = "SELECT state, COUNT(*) FROM job_status WHERE job BETWEEN $1 AND $2 GROUP BY state";
    let (first, last) = (array.of_index(0).uuid(), array.of_index(u32::MAX).uuid());
    let parameters: [Parameter<'_>; 2] = [&first, &last];
    let counted = all(connection, sql, &parameters, |columns| {
        Ok((columns.known(job_state)?, columns.small_number()?))
    });
    Ok(counted.await?.into_iter().collect())
}

/// One index, begun or not.
pub(super) async fn one(connection: &Connection, array: JobId, index: u32) -> Result<Option<JobRecord>, Error> {
    let Some(record) = Box::pin(job(connection, array)).await? else {
        return Ok(None);
    };
    let sql = format!("SELECT {} FROM job_status WHERE job = $1", row::STATUS);
    let parameters: [Parameter<'_>; 1] = [&array.of_index(index).uuid()];
    let status = all(connection, &sql, &parameters, row::index).await?.into_iter().next();
    Ok(record.of_index(index, status))
}
