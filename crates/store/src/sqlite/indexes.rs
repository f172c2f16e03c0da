//! Indexes of arrays: rows that are there from when an index begins on.

use rusqlite::{Connection, OptionalExtension, params};
use tombolo_core::build::JobState;
use tombolo_core::build::array::Counts;
use tombolo_core::control::record::JobStatus;
use tombolo_core::id::JobId;

use super::read::all;
use super::row::{self, Columns};
use super::write::{SQL_INSERT_STATUS, SQL_PUT_STATUS, bind_status};
use crate::port::{CommitError, JobRecord};
use crate::sqlite::{error, read};
use crate::state::job_state;

/// What others refer to. It is the array's build that it is in.
const SQL_INSERT: &str = "\
    INSERT INTO jobs (id, build, position, name, parents, selector, cpu_milli, memory_bytes, timeout_milliseconds, spec, needs, output_keep_days) \
    SELECT ?1, build, ((position + 1) << 32) + ?3, '', '[]', '[]', 0, 0, 0, '', '[]', output_keep_days FROM jobs WHERE id = ?2";

/// Writes where an index stands.
pub(super) fn put(connection: &Connection, array: JobId, index: u32, status: &JobStatus) -> Result<(), CommitError> {
    let written = || {
        let written = bind_status(&mut connection.prepare_cached(SQL_PUT_STATUS)?, status)?;
        if written > 0 {
            return Ok(written);
        }
        let (id, array) = (status.id.uuid(), array.uuid());
        let inserted =
            connection
                .prepare_cached(SQL_INSERT)?
                .execute(params![id.as_bytes(), array.as_bytes(), index])?;
        if inserted > 0 {
            bind_status(&mut connection.prepare_cached(SQL_INSERT_STATUS)?, status)?;
        }
        Ok(inserted)
    };
    match written().map_err(error::statement)? {
        0 => Err(CommitError::Rejected(format!(
            "there is no array {array:?} with {:?}",
            status.id
        ))),
        _ => Ok(()),
    }
}

/// Those of all builds that are not over, by id.
pub(super) fn live(connection: &Connection) -> rusqlite::Result<Vec<JobStatus>> {
    all(
        connection,
        row::STATUS,
        "FROM builds JOIN jobs ON jobs.build = builds.id AND jobs.position >= 4294967296 \
         JOIN job_status ON job_status.job = jobs.id WHERE builds.state = 'running' ORDER BY job_status.job",
        [],
        row::index,
    )
}

pub(super) fn list(
    connection: &Connection,
    array: JobId,
    first: u32,
    limit: u32,
    state: Option<JobState>,
) -> rusqlite::Result<Vec<JobStatus>> {
    let (first, last) = (array.of_index(first).uuid(), array.of_index(u32::MAX).uuid());
    all(
        connection,
        row::STATUS,
        "FROM job_status WHERE job BETWEEN ?1 AND ?2 AND (?3 IS NULL OR state = ?3) ORDER BY job LIMIT ?4",
        params![
            first.as_bytes(),
            last.as_bytes(),
            state.map(|state| state.as_str().to_owned()),
            limit
        ],
        row::index,
    )
}

pub(super) fn counts(connection: &Connection, array: JobId) -> rusqlite::Result<Counts> {
    let (first, last) = (array.of_index(0).uuid(), array.of_index(u32::MAX).uuid());
    let counted = all(
        connection,
        "state, COUNT(*)",
        "FROM job_status WHERE job BETWEEN ?1 AND ?2 GROUP BY state",
        params![first.as_bytes(), last.as_bytes()],
        |columns| Ok((columns.known(job_state)?, columns.take()?)),
    );
    Ok(counted?.into_iter().collect())
}

/// One index, begun or not.
pub(super) fn one(connection: &Connection, array: JobId, index: u32) -> rusqlite::Result<Option<JobRecord>> {
    let Some(record) = read::job(connection, array)? else {
        return Ok(None);
    };
    let status = connection
        .prepare_cached(&format!("SELECT {} FROM job_status WHERE job = ?1", row::STATUS))?
        .query_row([array.of_index(index).uuid().as_bytes()], |row| {
            row::index(&mut Columns::new(row))
        })
        .optional()?;
    Ok(record.of_index(index, status))
}
