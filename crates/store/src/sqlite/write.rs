//! Leadership and change sets.

mod builds;
mod jobs;
mod records;

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, TransactionBehavior};
use serde::Serialize;
use tombolo_core::control::Change;
use tombolo_core::control::record::JobStatus;
use tombolo_core::digest::Digest;
use tombolo_core::id::{BuildId, JobId};
use tombolo_core::planted::{Bug, planted};
use tombolo_core::time::Timestamp;

pub(super) use self::jobs::{SQL_INSERT_STATUS, SQL_PUT_STATUS, bind_status};
use super::{caches, error, indexes, read, secrets, triggers};
use crate::port::{CommitError, Error, LeaderEpoch, Sequence};

/// Begins the next leadership.
pub(super) fn acquire(connection: &mut Connection) -> Result<LeaderEpoch, Error> {
    let begin = |connection: &mut Connection| {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("UPDATE leadership SET epoch = epoch + 1, sequence = 0", [])?;
        let (epoch, _) = read::leadership(&transaction)?;
        transaction.commit()?;
        Ok(epoch)
    };
    begin(connection).map_err(error::read)
}

/// Writes a change set under an epoch.
pub(super) fn commit(
    connection: &mut Connection,
    epoch: LeaderEpoch,
    sequence: Sequence,
    changes: &[Change],
) -> Result<(), CommitError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(error::statement)?;
    fence(&transaction, epoch, sequence)?;
    let superseded = superseded(changes);
    let mut inserted = HashSet::new();
    let last = last_statuses(changes);
    for (index, change) in changes.iter().enumerate() {
        if superseded.contains(&index) {
            continue;
        }
        if let Change::PutJob(status) = change
            && let Some((array, index)) = status.id.array_and_index()
        {
            indexes::put(&transaction, array, index, status)?;
            continue;
        }
        match change {
            Change::InsertBuild { build, nodes, specs } => {
                builds::insert(&transaction, build)?;
                jobs::insert(&transaction, nodes, specs, &last)?;
                inserted.extend(nodes.iter().map(|node| node.id));
            }
            Change::ExtendBuild {
                nodes, specs, parents, ..
            } => {
                jobs::insert(&transaction, nodes, specs, &last)?;
                inserted.extend(nodes.iter().map(|node| node.id));
                for (job, parents) in parents {
                    jobs::put_parents(&transaction, *job, parents)?;
                }
            }
            Change::PutJob(status) if inserted.contains(&status.id) => {}
            change => write(&transaction, change)?,
        }
    }
    transaction.commit().map_err(error::commit)
}

fn fence(connection: &Connection, epoch: LeaderEpoch, sequence: Sequence) -> Result<(), CommitError> {
    let written = connection
        .prepare_cached("UPDATE leadership SET sequence = ?2 WHERE epoch = ?1 AND sequence < ?2")
        .and_then(|mut statement| statement.execute([epoch.0.cast_signed(), sequence.0.cast_signed()]))
        .map_err(error::statement)?;
    if written == 1 || planted(Bug::CommitUnfenced) {
        return Ok(());
    }
    let (current, last) = read::leadership(connection).map_err(error::statement)?;
    if current != epoch {
        return Err(CommitError::Deposed);
    }
    Err(CommitError::Rejected(format!(
        "commit {} comes after commit {}",
        sequence.0, last.0
    )))
}

/// The places of changes that a later one in the same set writes over. Several steps of one job often meet in one set.
fn superseded(changes: &[Change]) -> HashSet<usize> {
    let (mut jobs, mut builds) = (HashSet::<JobId>::new(), HashSet::<BuildId>::new());
    let mut superseded = HashSet::new();
    for (index, change) in changes.iter().enumerate().rev() {
        let later = match change {
            Change::PutJob(status) => !jobs.insert(status.id),
            Change::PutBuild(build) => !builds.insert(build.id),
            _ => false,
        };
        if later {
            superseded.insert(index);
        }
    }
    superseded
}

/// The last status of each job that the set has one for.
fn last_statuses(changes: &[Change]) -> HashMap<JobId, &JobStatus> {
    let inserts = changes
        .iter()
        .any(|change| matches!(change, Change::InsertBuild { .. } | Change::ExtendBuild { .. }));
    let statuses = changes.iter().filter(|_| inserts).filter_map(|change| match change {
        Change::PutJob(status) => Some((status.id, status)),
        _ => None,
    });
    statuses.collect()
}

fn write(connection: &Connection, change: &Change) -> Result<(), CommitError> {
    let written = match change {
        Change::PutProject(project) => records::put_project(connection, project),
        Change::DeleteProject(id) => delete(connection, "DELETE FROM projects WHERE id = ?1", id.uuid().as_bytes()),
        Change::PutCluster(cluster) => records::put_cluster(connection, cluster),
        Change::DeleteCluster(name) => delete(connection, "DELETE FROM clusters WHERE name = ?1", &name.as_str()),
        Change::PutInvite(invite) => records::put_invite(connection, invite),
        Change::DeleteInvite(id) => delete(connection, "DELETE FROM invites WHERE id = ?1", id.uuid().as_bytes()),
        Change::PutToken(token) => records::put_token(connection, token),
        Change::DeleteToken(id) => delete(connection, "DELETE FROM tokens WHERE id = ?1", id.uuid().as_bytes()),
        Change::PutCache(cache) => caches::put(connection, cache),
        Change::DeleteCache(key) => caches::delete(connection, key),
        Change::PutSecret(sealed) => secrets::put(connection, sealed),
        Change::DeleteSecret { project, name } => secrets::delete(connection, *project, name),
        Change::PutTrigger(trigger) => triggers::put(connection, trigger),
        Change::PutTriggerFile { project, name, file } => triggers::put_file(connection, *project, name, file),
        Change::DeleteTrigger { project, name } => triggers::delete(connection, *project, name),
        Change::PutBuild(build) => builds::update(connection, build),
        Change::PutJob(status) => connection
            .prepare_cached(SQL_PUT_STATUS)
            .and_then(|mut statement| bind_status(&mut statement, status)),
        Change::InsertBuild { .. } | Change::ExtendBuild { .. } => unreachable!("jobs are inserted by the caller"),
    };
    match (written.map_err(error::statement)?, change) {
        (0, Change::PutBuild(build)) => Err(CommitError::Rejected(format!("there is no {:?} to change", build.id))),
        (0, Change::PutJob(status)) => Err(CommitError::Rejected(format!("there is no {:?} to change", status.id))),
        _ => Ok(()),
    }
}

fn delete(connection: &Connection, sql: &str, key: &dyn rusqlite::ToSql) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute([key])
}

pub(super) fn time(time: Timestamp) -> i64 {
    time.0.cast_signed()
}

pub(super) fn digest(digest: Option<&Digest>) -> Option<&[u8; 32]> {
    digest.map(Digest::as_bytes)
}

pub(super) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("records have text keys and no failing serializers")
}
