//! Leadership and change sets.

use std::collections::{HashMap, HashSet};

use rusqlite::{CachedStatement, Connection, TransactionBehavior, params};
use serde::Serialize;
use tombolo_core::build::{JobSpec, StateSet};
use tombolo_core::control::Change;
use tombolo_core::control::record::{Build, Cluster, Invite, JobNode, JobStatus, Project, Token};
use tombolo_core::digest::Digest;
use tombolo_core::id::{BuildId, JobId};
use tombolo_core::planted::{Bug, planted};
use tombolo_core::time::Timestamp;

use super::{caches, error, indexes, read, secrets, triggers};
use crate::port::{CommitError, Error, LeaderEpoch, Sequence};

pub(super) const SQL_PUT_STATUS: &str = "\
    UPDATE job_status SET state = ?2, epoch = ?3, cluster = ?4, message = ?5, exit_code = ?6, queued_at = ?7, \
    started_at = ?8, ended_at = ?9, cancel_requested = ?10, output_manifest = ?11, output_bytes = ?12, output_files = ?13, \
    inputs = ?14, log_lines = ?15, replacements = ?16, loss = ?17, output_lost = ?18, course = ?19 WHERE job = ?1";
pub(super) const SQL_INSERT_STATUS: &str = "\
    INSERT INTO job_status (job, state, epoch, cluster, message, exit_code, queued_at, started_at, ended_at, \
    cancel_requested, output_manifest, output_bytes, output_files, inputs, log_lines, replacements, loss, output_lost, course) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";
const SQL_INSERT_JOB: &str = "\
    INSERT INTO jobs (id, build, position, name, parents, selector, prefer, cpu_milli, memory_bytes, \
    timeout_milliseconds, spec, volumes, cache, priority, kind, needs, generated_by, extensions, output_keep_days) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

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
                insert_build(&transaction, build)?;
                insert_jobs(&transaction, nodes, specs, &last)?;
                inserted.extend(nodes.iter().map(|node| node.id));
            }
            Change::ExtendBuild {
                nodes, specs, parents, ..
            } => {
                insert_jobs(&transaction, nodes, specs, &last)?;
                inserted.extend(nodes.iter().map(|node| node.id));
                for (job, parents) in parents {
                    put_parents(&transaction, *job, parents)?;
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
        Change::PutProject(project) => put_project(connection, project),
        Change::DeleteProject(id) => delete(connection, "DELETE FROM projects WHERE id = ?1", id.uuid().as_bytes()),
        Change::PutCluster(cluster) => put_cluster(connection, cluster),
        Change::DeleteCluster(name) => delete(connection, "DELETE FROM clusters WHERE name = ?1", &name.as_str()),
        Change::PutInvite(invite) => put_invite(connection, invite),
        Change::DeleteInvite(id) => delete(connection, "DELETE FROM invites WHERE id = ?1", id.uuid().as_bytes()),
        Change::PutToken(token) => put_token(connection, token),
        Change::DeleteToken(id) => delete(connection, "DELETE FROM tokens WHERE id = ?1", id.uuid().as_bytes()),
        Change::PutCache(cache) => caches::put(connection, cache),
        Change::DeleteCache(key) => caches::delete(connection, key),
        Change::PutSecret(sealed) => secrets::put(connection, sealed),
        Change::DeleteSecret { project, name } => secrets::delete(connection, *project, name),
        Change::PutTrigger(trigger) => triggers::put(connection, trigger),
        Change::PutTriggerFile { project, name, file } => triggers::put_file(connection, *project, name, file),
        Change::DeleteTrigger { project, name } => triggers::delete(connection, *project, name),
        Change::PutBuild(build) => update_build(connection, build),
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

fn put_project(connection: &Connection, project: &Project) -> rusqlite::Result<usize> {
    let Project {
        id,
        name,
        created_at,
        last_build,
        workspace,
        retention,
        share,
    } = project;
    connection
        .prepare_cached(
            "INSERT INTO projects (id, name, created_at, last_build, workspace, retention, share) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, created_at = excluded.created_at, last_build = excluded.last_build, \
             workspace = excluded.workspace, retention = excluded.retention, share = excluded.share",
        )?
        .execute(params![
            id.uuid().as_bytes(),
            name.as_str(),
            time(*created_at),
            last_build.cast_signed(),
            workspace.as_ref().map(|name| name.as_str()),
            retention.as_ref().map(json),
            json(share)
        ])
}

fn put_cluster(connection: &Connection, cluster: &Cluster) -> rusqlite::Result<usize> {
    let Cluster {
        name,
        labels,
        key,
        joined_at,
        availability,
        is_handing_over,
    } = cluster;
    connection
        .prepare_cached(
            "INSERT INTO clusters (name, labels, key, joined_at, availability, is_handing_over) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) \
             DO UPDATE SET labels = excluded.labels, key = excluded.key, joined_at = excluded.joined_at, \
             availability = excluded.availability, is_handing_over = excluded.is_handing_over",
        )?
        .execute(params![
            name.as_str(),
            json(labels),
            key.as_bytes(),
            time(*joined_at),
            availability.as_str(),
            is_handing_over
        ])
}

fn put_invite(connection: &Connection, invite: &Invite) -> rusqlite::Result<usize> {
    let Invite {
        id,
        secret,
        cluster,
        labels,
        expires_at,
        used_by,
    } = invite;
    connection
        .prepare_cached(
            "INSERT INTO invites (id, secret, cluster, labels, expires_at, used_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (id) DO UPDATE SET secret = excluded.secret, cluster = excluded.cluster, \
             labels = excluded.labels, expires_at = excluded.expires_at, used_by = excluded.used_by",
        )?
        .execute(params![
            id.uuid().as_bytes(),
            secret.as_bytes(),
            cluster.as_str(),
            json(labels),
            time(*expires_at),
            digest(used_by.as_ref())
        ])
}

fn put_token(connection: &Connection, token: &Token) -> rusqlite::Result<usize> {
    let Token {
        id,
        name,
        secret,
        right,
        created_at,
        expires_at,
    } = token;
    connection
        .prepare_cached(
            "INSERT INTO tokens (id, name, secret, role, project, created_at, expires_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
             secret = excluded.secret, role = excluded.role, project = excluded.project, \
             created_at = excluded.created_at, expires_at = excluded.expires_at",
        )?
        .execute(params![
            id.uuid().as_bytes(),
            name,
            secret.as_bytes(),
            right.role.as_str(),
            right.project.map(|project| *project.uuid().as_bytes()),
            time(*created_at),
            expires_at.map(time)
        ])
}

fn insert_build(connection: &Connection, build: &Build) -> Result<(), CommitError> {
    connection
        .prepare_cached(
            "INSERT INTO builds (id, project, number, state, created_at, ended_at, submitted_by, source, \
             revision_branch, revision_commit, revision_tag, restarts, released_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )
        .and_then(|mut statement| bind_build(&mut statement, build))
        .map_err(error::statement)?;
    Ok(())
}

fn update_build(connection: &Connection, build: &Build) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(
        "UPDATE builds SET project = ?2, number = ?3, state = ?4, created_at = ?5, ended_at = ?6, submitted_by = ?7, \
         source = ?8, revision_branch = ?9, revision_commit = ?10, revision_tag = ?11, restarts = ?12, released_at = ?13 \
         WHERE id = ?1",
    )?;
    bind_build(&mut statement, build)
}

fn bind_build(statement: &mut CachedStatement<'_>, build: &Build) -> rusqlite::Result<usize> {
    let Build {
        id,
        project,
        number,
        state,
        created_at,
        ended_at,
        submitted_by,
        source,
        revision,
        restarts,
        released_at,
    } = build;
    statement.execute(params![
        id.uuid().as_bytes(),
        project.uuid().as_bytes(),
        number.cast_signed(),
        state.as_str(),
        time(*created_at),
        ended_at.map(time),
        submitted_by,
        digest(source.as_ref()),
        revision.branch,
        revision.commit,
        revision.tag,
        restarts,
        released_at.map(time)
    ])
}

fn insert_jobs(
    connection: &Connection,
    nodes: &[JobNode],
    specs: &[JobSpec],
    last: &HashMap<JobId, &JobStatus>,
) -> Result<(), CommitError> {
    if nodes.len() != specs.len() {
        return Err(CommitError::Rejected(format!(
            "{} jobs have {} specifications",
            nodes.len(),
            specs.len()
        )));
    }
    let insert = || {
        let mut job = connection.prepare_cached(SQL_INSERT_JOB)?;
        let mut status = connection.prepare_cached(SQL_INSERT_STATUS)?;
        for (node, spec) in nodes.iter().zip(specs) {
            bind_job(&mut job, node, spec)?;
            match last.get(&node.id) {
                Some(last) => bind_status(&mut status, last)?,
                None => bind_status(&mut status, &JobStatus::waiting(node.id))?,
            };
        }
        Ok(())
    };
    insert().map_err(error::statement)
}

/// The parents of a job that is there.
fn put_parents(connection: &Connection, job: JobId, parents: &[(u32, StateSet)]) -> Result<(), CommitError> {
    let written = connection
        .prepare_cached("UPDATE jobs SET parents = ?2 WHERE id = ?1")
        .and_then(|mut statement| statement.execute(params![job.uuid().as_bytes(), json(&parents)]))
        .map_err(error::statement)?;
    match written {
        0 => Err(CommitError::Rejected(format!("there is no {job:?} to change"))),
        _ => Ok(()),
    }
}

fn bind_job(statement: &mut CachedStatement<'_>, node: &JobNode, spec: &JobSpec) -> rusqlite::Result<usize> {
    let JobNode {
        id,
        build,
        index,
        name,
        parents,
        selector,
        prefer,
        resources,
        timeout,
        volumes,
        cache,
        priority,
        kind,
        needs,
        generated_by,
        extensions,
    } = node;
    statement.execute(params![
        id.uuid().as_bytes(),
        build.uuid().as_bytes(),
        index,
        name.as_str(),
        json(parents),
        json(selector),
        prefer.as_ref().map(|name| name.as_str()),
        resources.cpu_milli.cast_signed(),
        resources.memory_bytes.cast_signed(),
        u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).cast_signed(),
        json(spec),
        json(volumes),
        cache,
        priority,
        kind.as_str(),
        json(needs),
        generated_by,
        extensions.as_deref().map(json),
        node.output_keep_days()
    ])
}

pub(super) fn bind_status(statement: &mut CachedStatement<'_>, status: &JobStatus) -> rusqlite::Result<usize> {
    let JobStatus {
        id,
        state,
        epoch,
        cluster,
        message,
        exit_code,
        queued_at,
        started_at,
        ended_at,
        cancel_requested,
        output,
        inputs,
        log_lines,
        replacements,
        loss,
        course,
    } = status;
    statement.execute(params![
        id.uuid().as_bytes(),
        state.as_str(),
        epoch.0,
        cluster.as_ref().map(|name| name.as_str()),
        message,
        exit_code,
        queued_at.map(time),
        started_at.map(time),
        ended_at.map(time),
        cancel_requested,
        digest(output.as_ref().map(|output| &output.manifest)),
        output.map(|output| output.bytes.cast_signed()),
        output.map(|output| output.files.cast_signed()),
        json(inputs),
        log_lines.map(u64::cast_signed),
        replacements,
        loss.as_deref().map(json),
        status.output_lost().is_some(),
        course.as_deref().map(json)
    ])
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
