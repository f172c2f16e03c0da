//! Pieces of logs.

use rusqlite::types::Type;
use rusqlite::{Connection, TransactionBehavior, params};
use tombolo_core::id::AttemptId;
use tombolo_core::log::LogLine;
use tombolo_core::planted::{Bug, planted};

use super::{error, read};
use crate::log::{LogSegment, LogState, LogWrite, READ_BYTES};
use crate::port::{Error, LeaderEpoch};

pub(super) fn append(connection: &mut Connection, epoch: LeaderEpoch, writes: &[LogWrite]) -> Result<(), Error> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(error::read)?;
    let (current, _) = read::leadership(&transaction).map_err(error::read)?;
    if current != epoch && !planted(Bug::LogUnfenced) {
        return Err(Error::Deposed);
    }
    for write in writes {
        append_segment(&transaction, write).map_err(error::read)?;
    }
    transaction.commit().map_err(error::read)
}

fn append_segment(connection: &Connection, LogWrite { attempt, segment }: &LogWrite) -> rusqlite::Result<()> {
    let job = attempt.job.uuid();
    let LogSegment {
        first_line,
        lines,
        bytes,
        data,
    } = segment;
    let after = first_line.saturating_add(*lines);
    connection
        .prepare_cached(
            "DELETE FROM log_segments WHERE job = ?1 AND epoch = ?2 AND first_line >= ?3 AND first_line < ?4",
        )?
        .execute(params![
            job.as_bytes(),
            attempt.epoch.0,
            first_line.cast_signed(),
            after.cast_signed()
        ])?;
    connection
        .prepare_cached(
            "INSERT INTO log_segments (job, epoch, first_line, lines, bytes, data) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM jobs WHERE id = ?1)",
        )?
        .execute(params![
            job.as_bytes(),
            attempt.epoch.0,
            first_line.cast_signed(),
            lines.cast_signed(),
            bytes.cast_signed(),
            data
        ])?;
    Ok(())
}

pub(super) fn read(
    connection: &Connection,
    attempt: AttemptId,
    first: u64,
    limit: u32,
) -> rusqlite::Result<Vec<LogLine>> {
    let limit = limit as usize;
    let mut statement = connection.prepare_cached(
        "SELECT first_line, lines, bytes, data FROM log_segments WHERE job = ?1 AND epoch = ?2 AND first_line >= \
         (SELECT COALESCE(MAX(first_line), 0) FROM log_segments WHERE job = ?1 AND epoch = ?2 AND first_line <= ?3) \
         ORDER BY first_line",
    )?;
    let first_line = i64::try_from(first).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![attempt.job.uuid().as_bytes(), attempt.epoch.0, first_line])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while found.len() < limit
        && bytes < READ_BYTES
        && let Some(row) = rows.next()?
    {
        let segment = LogSegment {
            first_line: row.get::<_, i64>(0)?.cast_unsigned(),
            lines: row.get::<_, i64>(1)?.cast_unsigned(),
            bytes: row.get::<_, i64>(2)?.cast_unsigned(),
            data: row.get(3)?,
        };
        let lines = segment
            .decode(first)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, Type::Blob, Box::new(error)))?;
        for line in lines {
            if found.len() == limit || (bytes >= READ_BYTES && !found.is_empty()) {
                break;
            }
            bytes += line.weight();
            found.push(line);
        }
    }
    Ok(found)
}

pub(super) fn state(connection: &Connection, attempt: AttemptId) -> rusqlite::Result<LogState> {
    connection
        .prepare_cached(
            "SELECT COALESCE(MAX(first_line + lines), 0), COALESCE(SUM(bytes), 0), COALESCE(SUM(LENGTH(data)), 0) \
             FROM log_segments WHERE job = ?1 AND epoch = ?2",
        )?
        .query_row(params![attempt.job.uuid().as_bytes(), attempt.epoch.0], |row| {
            Ok(LogState {
                next_line: row.get::<_, i64>(0)?.cast_unsigned(),
                bytes: row.get::<_, i64>(1)?.cast_unsigned(),
                stored_bytes: row.get::<_, i64>(2)?.cast_unsigned(),
            })
        })
}
