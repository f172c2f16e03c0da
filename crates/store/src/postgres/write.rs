//! Leadership and change sets.

use std::collections::BTreeMap;

use futures::future::{join, join_all};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error as Failure, Statement};
use tombolo_core::control::Change;
use tombolo_core::leadership::Term;
use tombolo_core::name::ClusterName;
use uuid::Uuid;

use super::connection::Connection;
use super::plan::{self, Segment};
use super::record::{self, Row};
use super::table::{self, Table, Value};
use super::{error, indexes, read};
use crate::port::{CommitError, LeaderEpoch, Sequence};

/// How many rows are on their way to the server at once: what a commit of any size holds in memory beside the change set.
const ROWS_MAX: usize = 4096;

/// How many statements are on their way at once.
const STATEMENTS_MAX: usize = 24;

/// Changes no row if another leadership has begun, or the commit is not the next one.
const FENCE: &str = "UPDATE leadership SET sequence = $2 WHERE epoch = $1 AND sequence < $2";

/// Begins the next leadership.
///
/// The lock is the strongest one: it waits for all that is being written under the leadership before, and whoever writes
/// afterwards finds the new epoch.
/// None if it is not `term` any more that leads: then whoever follows begins the leadership.
pub(super) async fn acquire(connection: &Connection, term: Term) -> Result<Option<LeaderEpoch>, Failure> {
    let client = connection.client();
    client
        .batch_execute("BEGIN; SELECT epoch FROM leadership FOR UPDATE")
        .await?;
    let next = "UPDATE leadership SET epoch = epoch + 1, sequence = 0 WHERE EXISTS (SELECT FROM lease WHERE term = $1) RETURNING epoch";
    let row = client.query_opt(next, &[&term.0.cast_signed()]).await?;
    let epoch = row.map(|row| row.try_get::<_, i64>(0)).transpose()?;
    client.batch_execute("COMMIT").await?;
    Ok(epoch.map(|epoch| LeaderEpoch(epoch.cast_unsigned())))
}

/// Begins a transaction and writes a change set in it, under an epoch. Nothing of it counts before [`commit`].
pub(super) async fn statements(
    connection: &Connection,
    epoch: LeaderEpoch,
    sequence: Sequence,
    changes: &[Change],
) -> Result<(), CommitError> {
    let segments = plan::segments(changes);
    let mut writer = Writer {
        connection,
        fence: Some((epoch, sequence)),
        pending: Vec::new(),
        rows: 0,
    };
    match &segments {
        Ok(segments) => {
            for step in segments.iter().flat_map(steps) {
                writer.write(step).await?;
            }
            writer.flush().await
        }
        Err(reason) => {
            // Who does not lead is to hear that first.
            writer.flush().await?;
            Err(CommitError::Rejected(reason.clone()))
        }
    }
}

/// Commits what was written. It is not sent before it is known that the fence held: the server must not find it among what it was
/// sent by a master that does not lead any more.
pub(super) async fn commit(connection: &Connection) -> Result<(), CommitError> {
    connection.client().batch_execute("COMMIT").await.map_err(error::commit)
}

/// One statement with all of its rows.
struct Step<'a> {
    sql: String,
    /// How many columns of each row it takes.
    columns: usize,
    rows: Box<dyn Iterator<Item = Row<'a>> + Send + 'a>,
    /// What each row must be of, for people, if each must change one that is there.
    changes: Option<&'static str>,
}

impl<'a> Step<'a> {
    fn delete(table: &Table, rows: impl Iterator<Item = Row<'a>> + Send + 'a) -> Self {
        Self {
            sql: table.delete(),
            columns: table.keys,
            rows: Box::new(rows),
            changes: None,
        }
    }

    fn put(table: &Table, rows: impl Iterator<Item = Row<'a>> + Send + 'a) -> Self {
        Self {
            sql: table.put(),
            ..Self::insert(table, rows)
        }
    }

    fn insert(table: &Table, rows: impl Iterator<Item = Row<'a>> + Send + 'a) -> Self {
        Self {
            sql: table.insert(),
            columns: table.columns.len(),
            rows: Box::new(rows),
            changes: None,
        }
    }

    fn update(table: &Table, what: &'static str, rows: impl Iterator<Item = Row<'a>> + Send + 'a) -> Self {
        Self {
            sql: table.update(),
            changes: Some(what),
            ..Self::insert(table, rows)
        }
    }
}

/// The statements of a segment, in an order that foreign keys and unique columns allow.
fn steps<'a>(segment: &'a Segment<'a>) -> Vec<Step<'a>> {
    let id = |id: Uuid| vec![Value::Id(id)];
    let name = |name: &'a ClusterName| vec![Value::text(name.as_str())];
    let mut steps = vec![
        Step::delete(&table::CLUSTERS, gone(&segment.clusters).map(move |key| name(key))),
        Step::delete(&table::INVITES, gone(&segment.invites).map(move |key| id(key.uuid()))),
        Step::delete(&table::TOKENS, gone(&segment.tokens).map(move |key| id(key.uuid()))),
        Step::delete(&table::CACHES, gone(&segment.caches).map(|key| record::cache_key(key))),
        Step::delete(
            &table::SECRETS,
            gone(&segment.secrets).map(|(project, name)| record::secret_key(*project, name)),
        ),
        Step::delete(
            &table::TRIGGERS,
            gone(&segment.triggers).map(|(project, name)| record::trigger_key(*project, name)),
        ),
        Step::put(
            &table::PROJECTS,
            segment.projects.values().map(|project| record::project(project)),
        ),
        Step::put(&table::CLUSTERS, kept(&segment.clusters).map(record::cluster)),
        Step::put(&table::INVITES, kept(&segment.invites).map(record::invite)),
        Step::put(&table::TOKENS, kept(&segment.tokens).map(record::token)),
        Step::put(&table::CACHES, kept(&segment.caches).map(record::cache)),
        Step::put(&table::SECRETS, kept(&segment.secrets).map(record::secret)),
        Step::put(&table::TRIGGERS, kept(&segment.triggers).map(record::trigger)),
        Step::put(
            &table::TRIGGER_FILES,
            segment
                .trigger_files
                .iter()
                .map(|((project, name), file)| record::trigger_file(*project, name, file)),
        ),
    ];
    steps.extend(build_steps(segment));
    steps.push(Step::delete(
        &table::PROJECTS,
        segment.deleted_project.iter().map(move |key| id(key.uuid())),
    ));
    steps
}

/// Those of builds, jobs and indexes.
fn build_steps<'a>(segment: &'a Segment<'a>) -> Vec<Step<'a>> {
    vec![
        Step::update(
            &table::BUILDS,
            "builds",
            segment.builds.values().map(|build| record::build(build)),
        ),
        Step::insert(
            &table::BUILDS,
            segment.new_builds.iter().map(|build| record::build(build)),
        ),
        Step::insert(
            &table::JOBS,
            segment.new_jobs.iter().map(|job| record::job(job.node, job.spec)),
        ),
        Step::update(
            &table::JOB_PARENTS,
            "jobs",
            segment
                .parents
                .iter()
                .map(|(job, parents)| record::parents(*job, parents)),
        ),
        Step::update(
            &table::JOB_STATUS,
            "jobs",
            segment.jobs.values().map(|status| record::status(status)),
        ),
        Step::insert(
            &table::JOB_STATUS,
            segment.new_jobs.iter().map(|job| record::status(&job.status)),
        ),
        Step {
            sql: indexes::INSERT.to_owned(),
            columns: 3,
            rows: Box::new(segment.indexes.keys().filter_map(|id| indexes::key(*id))),
            changes: None,
        },
        Step::put(
            &table::JOB_STATUS,
            segment.indexes.values().map(|status| record::status(status)),
        ),
    ]
}

/// The keys of what is deleted.
fn gone<'a, Key, T>(records: &'a BTreeMap<Key, Option<&'a T>>) -> impl Iterator<Item = &'a Key> {
    records
        .iter()
        .filter(|(_, record)| record.is_none())
        .map(|(key, _)| key)
}

/// What is written.
fn kept<'a, Key, T>(records: &'a BTreeMap<Key, Option<&'a T>>) -> impl Iterator<Item = &'a T> {
    records.values().filter_map(|record| *record)
}

/// Sends statements without waiting for the answer to each.
struct Writer<'a> {
    connection: &'a Connection,
    /// Sent before the first statement.
    fence: Option<(LeaderEpoch, Sequence)>,
    pending: Vec<Chunk<'a>>,
    rows: usize,
}

/// Rows for one execution of a statement.
struct Chunk<'a> {
    statement: Statement,
    columns: usize,
    rows: Vec<Row<'a>>,
    changes: Option<&'static str>,
}

impl Chunk<'_> {
    async fn execute(&self, client: &Client) -> Result<u64, Failure> {
        let columns: Vec<Vec<&Value<'_>>> = (0..self.columns)
            .map(|column| self.rows.iter().map(|row| &row[column]).collect())
            .collect();
        let parameters: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as _).collect();
        client.execute(&self.statement, &parameters).await
    }
}

impl<'a> Writer<'a> {
    async fn write(&mut self, mut step: Step<'a>) -> Result<(), CommitError> {
        loop {
            let rows: Vec<Row<'a>> = step.rows.by_ref().take(ROWS_MAX).collect();
            if rows.is_empty() {
                return Ok(());
            }
            self.rows += rows.len();
            let statement = self.connection.prepared(&step.sql).await.map_err(error::statement)?;
            self.pending.push(Chunk {
                statement,
                columns: step.columns,
                rows,
                changes: step.changes,
            });
            if self.rows >= ROWS_MAX || self.pending.len() >= STATEMENTS_MAX {
                self.flush().await?;
            }
        }
    }

    /// Has everything written that is pending. The futures are polled, and so their statements sent, in their order.
    async fn flush(&mut self) -> Result<(), CommitError> {
        let (connection, client) = (self.connection, self.connection.client());
        let chunks = std::mem::take(&mut self.pending);
        self.rows = 0;
        let writing = join_all(chunks.iter().map(|chunk| chunk.execute(client)));
        let written = match self.fence.take() {
            None => writing.await,
            Some((epoch, sequence)) => {
                let (held, written) = join(begin(client, epoch, sequence), writing).await;
                if !held.map_err(error::statement)? {
                    return Err(refused(connection, epoch, sequence).await);
                }
                written
            }
        };
        for (chunk, written) in chunks.iter().zip(written) {
            let missing = chunk.rows.len() as u64 - written.map_err(error::statement)?.min(chunk.rows.len() as u64);
            if let Some(what) = chunk.changes.filter(|_| missing > 0) {
                let reason = format!("{missing} of {} {what} to change are not there", chunk.rows.len());
                return Err(CommitError::Rejected(reason));
            }
        }
        Ok(())
    }
}

/// Begins the transaction; tells whether it may be committed.
async fn begin(client: &Client, epoch: LeaderEpoch, sequence: Sequence) -> Result<bool, Failure> {
    let fence = async {
        let (epoch, sequence) = (epoch.0.cast_signed(), sequence.0.cast_signed());
        client
            .execute_typed(FENCE, &[(&epoch, Type::INT8), (&sequence, Type::INT8)])
            .await
    };
    let (begun, held) = join(client.batch_execute("BEGIN"), fence).await;
    begun?;
    Ok(held? == 1)
}

/// Why the fence did not hold.
async fn refused(connection: &Connection, epoch: LeaderEpoch, sequence: Sequence) -> CommitError {
    // What was sent along may have failed, and nothing can be read in a transaction like that.
    if let Err(failure) = connection.client().batch_execute("ROLLBACK").await {
        return CommitError::Unavailable(error::text(&failure));
    }
    match read::leadership(connection).await {
        Ok((current, last)) if current == epoch => {
            CommitError::Rejected(format!("commit {} comes after commit {}", sequence.0, last.0))
        }
        Ok(_) => CommitError::Deposed,
        Err(error) => CommitError::Unavailable(error.to_string()),
    }
}
