//! Everything that is read, but for logs and for what is kept.

use std::collections::HashMap;
use std::pin::pin;

use futures::TryStreamExt;
use tokio_postgres::types::ToSql;
use tombolo_core::build::JobSpec;
use tombolo_core::control::LiveState;
use tombolo_core::control::record::{Build, JobNode, JobStatus};
use tombolo_core::id::{BuildId, JobId, ProjectId};
use uuid::Uuid;

use super::connection::Connection;
use super::error;
use super::indexes;
use super::restoration;
use super::row::{self, Columns};
use crate::port::{Error, JobRecord, LeaderEpoch, Sequence, Snapshot};

/// A parameter of a statement.
pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// One moment for all that is read, and time for it.
const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '10min'";

/// The present leadership and its last commit.
pub(super) async fn leadership(connection: &Connection) -> Result<(LeaderEpoch, Sequence), Error> {
    let leaderships = all(connection, "SELECT epoch, sequence FROM leadership", &[], |columns| {
        Ok((LeaderEpoch(columns.number()?), Sequence(columns.number()?)))
    });
    let found = leaderships.await?.into_iter().next();
    found.ok_or_else(|| Error::Corrupt("the table `leadership` is empty".to_owned()))
}

/// Everything that is not over, as of one moment.
pub(super) async fn snapshot(connection: &Connection) -> Result<Snapshot, Error> {
    let client = connection.client();
    client.batch_execute(BEGIN_SNAPSHOT).await.map_err(error::read)?;
    let (_, sequence) = leadership(connection).await?;
    let live = LiveState {
        projects: every(connection, row::PROJECT, "projects ORDER BY id", row::project).await?,
        clusters: every(connection, row::CLUSTER, "clusters ORDER BY name", row::cluster).await?,
        invites: every(connection, row::INVITE, "invites ORDER BY id", row::invite).await?,
        tokens: every(connection, row::TOKEN, "tokens ORDER BY id", row::token).await?,
        caches: every(connection, row::CACHE, "caches", row::cache).await?,
        secrets: every(connection, row::SECRET, "secrets", row::secret).await?,
        triggers: every(connection, row::TRIGGER, "triggers", row::trigger).await?,
        builds: every(
            connection,
            row::BUILD,
            "builds WHERE state = 'running' ORDER BY id",
            row::build,
        )
        .await?,
        jobs: every(
            connection,
            row::JOB,
            "builds JOIN jobs ON jobs.build = builds.id JOIN job_status ON job_status.job = jobs.id \
             WHERE builds.state = 'running' AND jobs.position < 4294967296 ORDER BY jobs.build, jobs.position",
            row::job,
        )
        .await?,
        indexes: indexes::live(connection).await?,
        restoration: restoration::read(connection).await?,
    };
    client.batch_execute("COMMIT").await.map_err(error::read)?;
    Ok(Snapshot { live, sequence })
}

async fn every<T>(
    connection: &Connection,
    columns: &str,
    from: &str,
    record: fn(&mut Columns<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    all(connection, &format!("SELECT {columns} FROM {from}"), &[], record).await
}

pub(super) async fn specs(connection: &Connection, jobs: &[JobId]) -> Result<Vec<(JobId, JobSpec)>, Error> {
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.uuid()).collect();
    let sql = "SELECT spec, id FROM jobs WHERE id = ANY($1)";
    let parameters: [Parameter<'_>; 1] = [&ids];
    let found = all(connection, sql, &parameters, |columns| {
        let spec: JobSpec = columns.json()?;
        Ok((columns.take::<Uuid>()?, spec))
    });
    let found: HashMap<Uuid, JobSpec> = found.await?.into_iter().collect();
    let specs = jobs
        .iter()
        .filter_map(|job| Some((*job, found.get(&job.uuid())?.clone())));
    Ok(specs.collect())
}

/// A number that another one can be below.
pub(super) fn bound(before: Option<u64>) -> i64 {
    before.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX))
}

pub(super) async fn builds(
    connection: &Connection,
    project: ProjectId,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<Build>, Error> {
    let sql = format!(
        "SELECT {} FROM builds WHERE project = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
        row::BUILD
    );
    let parameters: [Parameter<'_>; 3] = [&project.uuid(), &bound(before), &i64::from(limit)];
    all(connection, &sql, &parameters, row::build).await
}

pub(super) async fn build_by_number(
    connection: &Connection,
    project: ProjectId,
    number: u64,
) -> Result<Option<Build>, Error> {
    let sql = format!("SELECT {} FROM builds WHERE project = $1 AND number = $2", row::BUILD);
    let parameters: [Parameter<'_>; 2] = [&project.uuid(), &number.cast_signed()];
    let found = all(connection, &sql, &parameters, row::build);
    Ok(found.await?.into_iter().next())
}

pub(super) async fn build(connection: &Connection, build: BuildId) -> Result<Option<Build>, Error> {
    let sql = format!("SELECT {} FROM builds WHERE id = $1", row::BUILD);
    let found = all(connection, &sql, &[&build.uuid()], row::build).await?;
    Ok(found.into_iter().next())
}

pub(super) async fn jobs(
    connection: &Connection,
    build: BuildId,
    first: u32,
    limit: u32,
) -> Result<Vec<(JobNode, JobStatus)>, Error> {
    let sql = format!(
        "SELECT {} FROM jobs JOIN job_status ON job_status.job = jobs.id \
         WHERE jobs.build = $1 AND jobs.position >= $2 AND jobs.position < 4294967296 ORDER BY jobs.position LIMIT $3",
        row::JOB
    );
    let parameters: [Parameter<'_>; 3] = [&build.uuid(), &i64::from(first), &i64::from(limit)];
    all(connection, &sql, &parameters, row::job).await
}

pub(super) async fn job(connection: &Connection, job: JobId) -> Result<Option<JobRecord>, Error> {
    if let Some((array, index)) = job.array_and_index() {
        return indexes::one(connection, array, index).await;
    }
    let sql = format!(
        "SELECT {}, {} FROM jobs JOIN job_status ON job_status.job = jobs.id JOIN builds ON builds.id = jobs.build \
         WHERE jobs.id = $1",
        row::JOB,
        row::BUILD
    );
    let parameters: [Parameter<'_>; 1] = [&job.uuid()];
    let found = all(connection, &sql, &parameters, |columns| {
        let (node, status) = row::job(columns)?;
        Ok(JobRecord {
            build: row::build(columns)?,
            node,
            status,
        })
    });
    Ok(found.await?.into_iter().next())
}

/// All rows of a statement, each turned into what it stands for as it comes.
pub(super) async fn all<T>(
    connection: &Connection,
    sql: &str,
    parameters: &[Parameter<'_>],
    record: impl Fn(&mut Columns<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let statement = connection.prepared(sql).await.map_err(error::read)?;
    let rows = connection
        .client()
        .query_raw(&statement, parameters.iter().copied())
        .await
        .map_err(error::read)?;
    let mut rows = pin!(rows);
    let mut records = Vec::new();
    while let Some(row) = rows.try_next().await.map_err(error::read)? {
        records.push(record(&mut Columns::new(&row))?);
    }
    Ok(records)
}
