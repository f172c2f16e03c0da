//! Pieces of logs.

use futures::future::join;
use tokio_postgres::Error as Failure;
use tombolo_core::id::AttemptId;
use tombolo_core::log::LogLine;

use super::connection::Connection;
use super::error;
use super::read::{Parameter, all};
use crate::log::{LogSegment, LogState, LogWrite, READ_BYTES};
use crate::port::{Error, LeaderEpoch};

/// How many segments one statement reads at the most; no more than hold [`READ_BYTES`], and the one in which that is reached.
const SEGMENTS_MAX: i64 = 64;

/// Commits go on beside this lock, and a new leadership waits for it.
const LOCK: &str = "SELECT epoch FROM leadership FOR KEY SHARE";

const DELETE: &str = "DELETE FROM log_segments WHERE job = $1 AND epoch = $2 AND first_line >= $3 AND first_line < $4";

const INSERT: &str = "INSERT INTO log_segments (job, epoch, first_line, lines, bytes, data) \
    SELECT $1::uuid, $2::bigint, $3::bigint, $4::bigint, $5::bigint, $6::bytea \
    WHERE EXISTS (SELECT FROM jobs WHERE id = $1)";

pub(super) async fn append(connection: &Connection, epoch: LeaderEpoch, writes: &[LogWrite]) -> Result<(), Error> {
    let client = connection.client();
    client.batch_execute("BEGIN").await.map_err(error::read)?;
    let current = all(connection, LOCK, &[], |columns| columns.number()).await?;
    if current != [epoch.0] {
        return Err(Error::Deposed);
    }
    for write in writes {
        append_segment(connection, write).await.map_err(error::read)?;
    }
    client.batch_execute("COMMIT").await.map_err(error::read)
}

async fn append_segment(connection: &Connection, write: &LogWrite) -> Result<(), Failure> {
    let LogWrite { attempt, segment } = write;
    let LogSegment {
        first_line,
        lines,
        bytes,
        data,
    } = segment;
    let after = first_line.saturating_add(*lines).cast_signed();
    let (job, epoch, first_line) = (attempt.job.uuid(), i64::from(attempt.epoch.0), first_line.cast_signed());
    let (lines, bytes) = (lines.cast_signed(), bytes.cast_signed());
    let (delete, insert) = (connection.prepared(DELETE).await?, connection.prepared(INSERT).await?);
    let client = connection.client();
    let deleting: [Parameter<'_>; 4] = [&job, &epoch, &first_line, &after];
    let inserting: [Parameter<'_>; 6] = [&job, &epoch, &first_line, &lines, &bytes, data];
    let (deleted, inserted) = join(client.execute(&delete, &deleting), client.execute(&insert, &inserting)).await;
    deleted.and(inserted).map(drop)
}

pub(super) async fn read(
    connection: &Connection,
    attempt: AttemptId,
    first: u64,
    limit: u32,
) -> Result<Vec<LogLine>, Error> {
    let limit = limit as usize;
    let (mut found, mut bytes, mut next) = (Vec::new(), 0, first);
    while found.len() < limit && bytes < READ_BYTES {
        let segments = segments(connection, attempt, next).await?;
        let Some(last) = segments.last() else { break };
        next = last.first_line.saturating_add(last.lines);
        for segment in &segments {
            let lines = segment
                .decode(first)
                .map_err(|error| Error::Corrupt(error.to_string()))?;
            for line in lines {
                if found.len() == limit || (bytes >= READ_BYTES && !found.is_empty()) {
                    return Ok(found);
                }
                bytes += line.weight();
                found.push(line);
            }
        }
    }
    Ok(found)
}

/// The segments from the one with the line `first` on, as many as hold what one read returns.
async fn segments(connection: &Connection, attempt: AttemptId, first: u64) -> Result<Vec<LogSegment>, Error> {
    let sql = "SELECT first_line, lines, bytes, data FROM (\
             SELECT first_line, lines, bytes, data, SUM(bytes) OVER (ORDER BY first_line)::bigint - bytes AS before FROM (\
                 SELECT first_line, lines, bytes, data FROM log_segments WHERE job = $1 AND epoch = $2 \
                 AND first_line >= (SELECT COALESCE(MAX(first_line), 0) FROM log_segments \
                     WHERE job = $1 AND epoch = $2 AND first_line <= $3) \
                 AND first_line + lines > $3 ORDER BY first_line LIMIT $4) AS nearest) AS summed \
         WHERE before < $5 ORDER BY first_line";
    let (job, epoch) = (attempt.job.uuid(), i64::from(attempt.epoch.0));
    let first = i64::try_from(first).unwrap_or(i64::MAX);
    let most = i64::try_from(READ_BYTES).unwrap_or(i64::MAX);
    let parameters: [Parameter<'_>; 5] = [&job, &epoch, &first, &SEGMENTS_MAX, &most];
    let segments = all(connection, sql, &parameters, |columns| {
        Ok(LogSegment {
            first_line: columns.number()?,
            lines: columns.number()?,
            bytes: columns.number()?,
            data: columns.take()?,
        })
    });
    segments.await
}

pub(super) async fn state(connection: &Connection, attempt: AttemptId) -> Result<LogState, Error> {
    let sql = "SELECT COALESCE(MAX(first_line + lines), 0), COALESCE(SUM(bytes), 0)::bigint, \
         COALESCE(SUM(OCTET_LENGTH(data)), 0)::bigint FROM log_segments WHERE job = $1 AND epoch = $2";
    let (job, epoch) = (attempt.job.uuid(), i64::from(attempt.epoch.0));
    let parameters: [Parameter<'_>; 2] = [&job, &epoch];
    let states = all(connection, sql, &parameters, |columns| {
        Ok(LogState {
            next_line: columns.number()?,
            bytes: columns.number()?,
            stored_bytes: columns.number()?,
        })
    });
    Ok(states.await?.into_iter().next().unwrap_or_default())
}
