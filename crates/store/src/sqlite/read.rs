//! Everything that is read, but for logs.

use rusqlite::{Connection, OptionalExtension, Params, params};
use tombolo_core::build::JobSpec;
use tombolo_core::control::LiveState;
use tombolo_core::control::record::{Build, JobNode, JobStatus};
use tombolo_core::id::{BuildId, JobId, ProjectId};

use super::indexes;
use super::restoration;
use super::row::{self, Columns};
use crate::port::{JobRecord, LeaderEpoch, Sequence, Snapshot};

/// The present leadership and its last commit.
pub(super) fn leadership(connection: &Connection) -> rusqlite::Result<(LeaderEpoch, Sequence)> {
    connection
        .prepare_cached("SELECT epoch, sequence FROM leadership")?
        .query_row([], |row| {
            Ok((
                LeaderEpoch(row.get::<_, i64>(0)?.cast_unsigned()),
                Sequence(row.get::<_, i64>(1)?.cast_unsigned()),
            ))
        })
}

/// Everything that is not over, as of one moment.
pub(super) fn snapshot(connection: &Connection) -> rusqlite::Result<Snapshot> {
    let transaction = connection.unchecked_transaction()?;
    let (_, sequence) = leadership(&transaction)?;
    let live = LiveState {
        projects: all(
            &transaction,
            row::PROJECT,
            "FROM projects ORDER BY id",
            [],
            row::project,
        )?,
        clusters: all(
            &transaction,
            row::CLUSTER,
            "FROM clusters ORDER BY name",
            [],
            row::cluster,
        )?,
        invites: all(&transaction, row::INVITE, "FROM invites ORDER BY id", [], row::invite)?,
        tokens: all(&transaction, row::TOKEN, "FROM tokens ORDER BY id", [], row::token)?,
        caches: all(
            &transaction,
            row::CACHE,
            "FROM caches ORDER BY project, job, branch, cluster",
            [],
            row::cache,
        )?,
        secrets: all(
            &transaction,
            row::SECRET,
            "FROM secrets ORDER BY project, name",
            [],
            row::secret,
        )?,
        triggers: all(
            &transaction,
            row::TRIGGER,
            "FROM triggers ORDER BY project, name",
            [],
            row::trigger,
        )?,
        builds: all(
            &transaction,
            row::BUILD,
            "FROM builds WHERE state = 'running' ORDER BY id",
            [],
            row::build,
        )?,
        jobs: all(
            &transaction,
            row::JOB,
            "FROM jobs JOIN job_status ON job_status.job = jobs.id \
             WHERE jobs.build IN (SELECT id FROM builds WHERE state = 'running') AND jobs.position < 4294967296 \
             ORDER BY jobs.build, jobs.position",
            [],
            row::job,
        )?,
        indexes: indexes::live(&transaction)?,
        restoration: restoration::read(&transaction)?,
    };
    transaction.finish()?;
    Ok(Snapshot { live, sequence })
}

pub(super) fn specs(connection: &Connection, jobs: &[JobId]) -> rusqlite::Result<Vec<(JobId, JobSpec)>> {
    let mut statement = connection.prepare_cached("SELECT spec FROM jobs WHERE id = ?1")?;
    let mut specs = Vec::with_capacity(jobs.len());
    for job in jobs {
        let text: Option<String> = statement
            .query_row([job.uuid().as_bytes()], |row| row.get(0))
            .optional()?;
        let Some(text) = text else { continue };
        let spec = serde_json::from_str(&text).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
        })?;
        specs.push((*job, spec));
    }
    Ok(specs)
}

pub(super) fn builds(
    connection: &Connection,
    project: ProjectId,
    before: Option<u64>,
    limit: u32,
) -> rusqlite::Result<Vec<Build>> {
    let before = before.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX));
    all(
        connection,
        row::BUILD,
        "FROM builds WHERE project = ?1 AND number < ?2 ORDER BY number DESC LIMIT ?3",
        params![project.uuid().as_bytes(), before, limit],
        row::build,
    )
}

pub(super) fn build_by_number(
    connection: &Connection,
    project: ProjectId,
    number: u64,
) -> rusqlite::Result<Option<Build>> {
    let found = all(
        connection,
        row::BUILD,
        "FROM builds WHERE project = ?1 AND number = ?2",
        params![project.uuid().as_bytes(), number.cast_signed()],
        row::build,
    )?;
    Ok(found.into_iter().next())
}

pub(super) fn build(connection: &Connection, build: BuildId) -> rusqlite::Result<Option<Build>> {
    let found = all(
        connection,
        row::BUILD,
        "FROM builds WHERE id = ?1",
        [build.uuid().as_bytes()],
        row::build,
    )?;
    Ok(found.into_iter().next())
}

pub(super) fn jobs(
    connection: &Connection,
    build: BuildId,
    first: u32,
    limit: u32,
) -> rusqlite::Result<Vec<(JobNode, JobStatus)>> {
    all(
        connection,
        row::JOB,
        "FROM jobs JOIN job_status ON job_status.job = jobs.id \
         WHERE jobs.build = ?1 AND jobs.position >= ?2 AND jobs.position < 4294967296 ORDER BY jobs.position LIMIT ?3",
        params![build.uuid().as_bytes(), first, limit],
        row::job,
    )
}

pub(super) fn job(connection: &Connection, job: JobId) -> rusqlite::Result<Option<JobRecord>> {
    if let Some((array, index)) = job.array_and_index() {
        return indexes::one(connection, array, index);
    }
    let found = all(
        connection,
        &format!("{}, {}", row::JOB, row::BUILD),
        "FROM jobs JOIN job_status ON job_status.job = jobs.id JOIN builds ON builds.id = jobs.build WHERE jobs.id = ?1",
        [job.uuid().as_bytes()],
        |columns| {
            let (node, status) = row::job(columns)?;
            Ok(JobRecord {
                build: row::build(columns)?,
                node,
                status,
            })
        },
    )?;
    Ok(found.into_iter().next())
}

pub(super) fn all<T>(
    connection: &Connection,
    columns: &str,
    rest: &str,
    parameters: impl Params,
    record: impl Fn(&mut Columns<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {columns} {rest}"))?;
    let rows = statement.query_map(parameters, |row| record(&mut Columns::new(row)))?;
    rows.collect()
}
