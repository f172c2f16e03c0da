//! Jobs, and where they stand.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, params};
use tombolo_core::build::{JobSpec, StateSet};
use tombolo_core::control::record::{JobNode, JobStatus};
use tombolo_core::id::JobId;

use super::super::error;
use super::{digest, json, time};
use crate::port::CommitError;

pub(in crate::sqlite) const SQL_PUT_STATUS: &str = "\
    UPDATE job_status SET state = ?2, epoch = ?3, cluster = ?4, message = ?5, exit_code = ?6, queued_at = ?7, \
    started_at = ?8, ended_at = ?9, cancel_requested = ?10, output_manifest = ?11, output_bytes = ?12, output_files = ?13, \
    inputs = ?14, log_lines = ?15, replacements = ?16, loss = ?17, output_lost = ?18, course = ?19 WHERE job = ?1";
pub(in crate::sqlite) const SQL_INSERT_STATUS: &str = "\
    INSERT INTO job_status (job, state, epoch, cluster, message, exit_code, queued_at, started_at, ended_at, \
    cancel_requested, output_manifest, output_bytes, output_files, inputs, log_lines, replacements, loss, output_lost, course) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";
const SQL_INSERT_JOB: &str = "\
    INSERT INTO jobs (id, build, position, name, parents, selector, prefer, cpu_milli, memory_bytes, \
    timeout_milliseconds, spec, volumes, cache, priority, kind, needs, generated_by, extensions, output_keep_days) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

pub(super) fn insert(
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
pub(super) fn put_parents(connection: &Connection, job: JobId, parents: &[(u32, StateSet)]) -> Result<(), CommitError> {
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

pub(in crate::sqlite) fn bind_status(
    statement: &mut CachedStatement<'_>,
    status: &JobStatus,
) -> rusqlite::Result<usize> {
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
