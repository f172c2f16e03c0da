//! Rows to records.

use std::str::FromStr;
use std::time::Duration;

use rusqlite::Row;
use rusqlite::types::{FromSql, Type};
use serde::de::DeserializeOwned;
use tombolo_core::access::Right;
use tombolo_core::attempt::{OutputReference, Revision};
use tombolo_core::cache::{Cache, CacheKey};
use tombolo_core::control::record::{Build, Cluster, Invite, JobNode, JobStatus, Project, Token};
use tombolo_core::digest::Digest;
use tombolo_core::id::{BuildId, Epoch, InviteId, JobId, ProjectId, TokenId};
use tombolo_core::resources::Resources;
use tombolo_core::secret::Secret;
use tombolo_core::time::Timestamp;
use tombolo_core::trigger::Trigger;
use uuid::Uuid;

use crate::state::{availability, build_state, job_kind, job_state, role};

pub(super) const PROJECT: &str = "id, name, created_at, last_build, workspace, retention, share";
pub(super) const CLUSTER: &str = "name, labels, key, joined_at, availability, is_handing_over";
pub(super) const INVITE: &str = "id, secret, cluster, labels, expires_at, used_by, pin";
pub(super) const TOKEN: &str = "id, name, secret, role, project, created_at, expires_at";
pub(super) const CACHE: &str = "project, job, branch, cluster, manifest, bytes, files, build, saved_at, used_at";
pub(super) const SECRET: &str = "project, name, updated_at";
pub(super) const TRIGGER: &str = "record";
pub(super) const BUILD: &str = "builds.id, builds.project, builds.number, builds.state, builds.created_at, builds.ended_at, \
     builds.submitted_by, builds.source, builds.revision_branch, builds.revision_commit, builds.revision_tag, builds.restarts, \
     builds.released_at";
pub(super) const JOB: &str = "jobs.id, jobs.build, jobs.position, jobs.name, jobs.parents, jobs.selector, jobs.prefer, \
     jobs.cpu_milli, jobs.memory_bytes, jobs.timeout_milliseconds, jobs.volumes, jobs.cache, jobs.priority, jobs.kind, jobs.needs, \
     jobs.generated_by, jobs.extensions, job_status.state, job_status.epoch, job_status.cluster, \
     job_status.message, job_status.exit_code, job_status.queued_at, job_status.started_at, job_status.ended_at, \
     job_status.cancel_requested, job_status.output_manifest, job_status.output_bytes, job_status.output_files, \
     job_status.inputs, job_status.log_lines, job_status.replacements, job_status.loss, job_status.course";

pub(super) const STATUS: &str = "job_status.job, job_status.state, job_status.epoch, job_status.cluster, job_status.message, \
     job_status.exit_code, job_status.queued_at, job_status.started_at, job_status.ended_at, job_status.cancel_requested, \
     job_status.output_manifest, job_status.output_bytes, job_status.output_files, job_status.inputs, job_status.log_lines, \
     job_status.replacements, job_status.loss, job_status.course";

/// Takes the columns of a row one after the other.
pub(super) struct Columns<'row> {
    row: &'row Row<'row>,
    index: usize,
}

impl<'row> Columns<'row> {
    pub(super) const fn new(row: &'row Row<'row>) -> Self {
        Self { row, index: 0 }
    }

    pub(super) fn take<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let value = self.row.get(self.index);
        self.index += 1;
        value
    }

    fn invalid(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(self.index - 1, Type::Text, error.into())
    }

    fn id<T>(&mut self, id: fn(Uuid) -> T) -> rusqlite::Result<T> {
        Ok(id(Uuid::from_bytes(self.take()?)))
    }

    fn number(&mut self) -> rusqlite::Result<u64> {
        Ok(self.take::<i64>()?.cast_unsigned())
    }

    fn optional_number(&mut self) -> rusqlite::Result<Option<u64>> {
        Ok(self.take::<Option<i64>>()?.map(i64::cast_unsigned))
    }

    fn time(&mut self) -> rusqlite::Result<Timestamp> {
        self.number().map(Timestamp)
    }

    pub(super) fn optional_time(&mut self) -> rusqlite::Result<Option<Timestamp>> {
        Ok(self.optional_number()?.map(Timestamp))
    }

    fn digest(&mut self) -> rusqlite::Result<Digest> {
        self.take().map(Digest::new)
    }

    fn optional_digest(&mut self) -> rusqlite::Result<Option<Digest>> {
        Ok(self.take::<Option<[u8; 32]>>()?.map(Digest::new))
    }

    fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(&mut self) -> rusqlite::Result<T> {
        self.take::<String>()?.parse().map_err(|error| self.invalid(error))
    }

    fn optional_parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &mut self,
    ) -> rusqlite::Result<Option<T>> {
        let text: Option<String> = self.take()?;
        text.map(|text| text.parse().map_err(|error| self.invalid(error)))
            .transpose()
    }

    fn json<T: DeserializeOwned>(&mut self) -> rusqlite::Result<T> {
        let text: String = self.take()?;
        serde_json::from_str(&text).map_err(|error| self.invalid(error))
    }

    fn optional_json<T: DeserializeOwned>(&mut self) -> rusqlite::Result<Option<T>> {
        let text: Option<String> = self.take()?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| self.invalid(error)))
            .transpose()
    }

    pub(super) fn known<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<T> {
        let text: String = self.take()?;
        parse(&text).ok_or_else(|| self.invalid(format!("`{text}` is not known")))
    }
}

pub(super) fn project(columns: &mut Columns<'_>) -> rusqlite::Result<Project> {
    Ok(Project {
        id: columns.id(ProjectId::new)?,
        name: columns.parsed()?,
        created_at: columns.time()?,
        last_build: columns.number()?,
        workspace: columns.optional_parsed()?,
        retention: columns.optional_json()?,
        share: columns.optional_json()?.unwrap_or_default(),
    })
}

pub(super) fn cluster(columns: &mut Columns<'_>) -> rusqlite::Result<Cluster> {
    Ok(Cluster {
        name: columns.parsed()?,
        labels: columns.json()?,
        key: columns.digest()?,
        joined_at: columns.time()?,
        availability: columns.known(availability)?,
        is_handing_over: columns.take()?,
    })
}

pub(super) fn invite(columns: &mut Columns<'_>) -> rusqlite::Result<Invite> {
    Ok(Invite {
        id: columns.id(InviteId::new)?,
        secret: columns.digest()?,
        cluster: columns.parsed()?,
        labels: columns.json()?,
        expires_at: columns.time()?,
        used_by: columns.optional_digest()?,
        pin: columns.optional_digest()?,
    })
}

pub(super) fn token(columns: &mut Columns<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        id: columns.id(TokenId::new)?,
        name: columns.take()?,
        secret: columns.digest()?,
        right: Right {
            role: columns.known(role)?,
            project: columns
                .take::<Option<[u8; 16]>>()?
                .map(|bytes| ProjectId::new(Uuid::from_bytes(bytes))),
        },
        created_at: columns.time()?,
        expires_at: columns.optional_time()?,
    })
}

pub(super) fn cache(columns: &mut Columns<'_>) -> rusqlite::Result<Cache> {
    Ok(Cache {
        key: CacheKey {
            project: columns.id(ProjectId::new)?,
            job: columns.parsed()?,
            branch: columns.take()?,
            cluster: columns.parsed()?,
        },
        content: OutputReference {
            manifest: columns.digest()?,
            bytes: columns.number()?,
            files: columns.number()?,
        },
        build: columns.number()?,
        saved_at: columns.time()?,
        used_at: columns.time()?,
    })
}

pub(super) fn secret(columns: &mut Columns<'_>) -> rusqlite::Result<Secret> {
    Ok(Secret {
        project: columns.id(ProjectId::new)?,
        name: columns.parsed()?,
        updated_at: columns.time()?,
    })
}

pub(super) fn trigger(columns: &mut Columns<'_>) -> rusqlite::Result<Trigger> {
    columns.json()
}

pub(super) fn build(columns: &mut Columns<'_>) -> rusqlite::Result<Build> {
    Ok(Build {
        id: columns.id(BuildId::new)?,
        project: columns.id(ProjectId::new)?,
        number: columns.number()?,
        state: columns.known(build_state)?,
        created_at: columns.time()?,
        ended_at: columns.optional_time()?,
        submitted_by: columns.take()?,
        source: columns.optional_digest()?,
        revision: Revision {
            branch: columns.take()?,
            commit: columns.take()?,
            tag: columns.take()?,
        },
        restarts: columns.take()?,
        released_at: columns.optional_time()?,
    })
}

pub(super) fn job(columns: &mut Columns<'_>) -> rusqlite::Result<(JobNode, JobStatus)> {
    let node = node(columns)?;
    let status = status(columns, node.id)?;
    Ok((node, status))
}

/// An index of an array.
pub(super) fn index(columns: &mut Columns<'_>) -> rusqlite::Result<JobStatus> {
    let id = columns.id(JobId::new)?;
    status(columns, id)
}

fn node(columns: &mut Columns<'_>) -> rusqlite::Result<JobNode> {
    Ok(JobNode {
        id: columns.id(JobId::new)?,
        build: columns.id(BuildId::new)?,
        index: columns.take()?,
        name: columns.parsed()?,
        parents: columns.json()?,
        selector: columns.json()?,
        prefer: columns.optional_parsed()?,
        resources: Resources {
            cpu_milli: columns.number()?,
            memory_bytes: columns.number()?,
        },
        timeout: Duration::from_millis(columns.number()?),
        volumes: columns.json()?,
        cache: columns.take()?,
        priority: columns.take()?,
        kind: columns.known(job_kind)?,
        needs: columns.json()?,
        generated_by: columns.take()?,
        extensions: columns.optional_json()?,
    })
}

fn status(columns: &mut Columns<'_>, id: JobId) -> rusqlite::Result<JobStatus> {
    Ok(JobStatus {
        id,
        state: columns.known(job_state)?,
        epoch: Epoch(columns.take()?),
        cluster: columns.optional_parsed()?,
        message: columns.take()?,
        exit_code: columns.take()?,
        queued_at: columns.optional_time()?,
        started_at: columns.optional_time()?,
        ended_at: columns.optional_time()?,
        cancel_requested: columns.take()?,
        output: output(columns)?,
        inputs: columns.json()?,
        log_lines: columns.optional_number()?,
        replacements: columns.take()?,
        loss: columns.optional_json()?,
        course: columns.optional_json()?,
    })
}

fn output(columns: &mut Columns<'_>) -> rusqlite::Result<Option<OutputReference>> {
    let manifest = columns.optional_digest()?;
    let (bytes, files) = (columns.optional_number()?, columns.optional_number()?);
    Ok(manifest.map(|manifest| OutputReference {
        manifest,
        bytes: bytes.unwrap_or_default(),
        files: files.unwrap_or_default(),
    }))
}
