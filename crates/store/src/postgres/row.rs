//! Rows to records. `record.rs` has the way there.

use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
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

use super::error::text;
use super::text::unescaped;
use crate::port::Error;
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
     jobs.cpu_milli, jobs.memory_bytes, jobs.timeout_milliseconds, jobs.volumes, jobs.cache, jobs.priority, jobs.kind, \
     jobs.needs, jobs.generated_by, jobs.extensions, job_status.state, \
     job_status.epoch, job_status.cluster, job_status.message, job_status.exit_code, job_status.queued_at, \
     job_status.started_at, job_status.ended_at, job_status.cancel_requested, job_status.output_manifest, \
     job_status.output_bytes, job_status.output_files, job_status.inputs, job_status.log_lines, job_status.replacements, \
     job_status.loss, job_status.course";

pub(super) const STATUS: &str = "job_status.job, job_status.state, job_status.epoch, job_status.cluster, job_status.message, \
     job_status.exit_code, job_status.queued_at, job_status.started_at, job_status.ended_at, job_status.cancel_requested, \
     job_status.output_manifest, job_status.output_bytes, job_status.output_files, job_status.inputs, job_status.log_lines, \
     job_status.replacements, job_status.loss, job_status.course";

/// Takes the columns of a row one after the other.
pub(super) struct Columns<'row> {
    row: &'row Row,
    index: usize,
}

impl<'row> Columns<'row> {
    pub(super) const fn new(row: &'row Row) -> Self {
        Self { row, index: 0 }
    }

    pub(super) fn take<T: FromSql<'row>>(&mut self) -> Result<T, Error> {
        let value = self.row.try_get(self.index);
        self.index += 1;
        value.map_err(|failure| Error::Corrupt(text(&failure)))
    }

    fn invalid(&self, reason: impl std::fmt::Display) -> Error {
        let name = self
            .row
            .columns()
            .get(self.index - 1)
            .map_or("?", |column| column.name());
        Error::Corrupt(format!("column {name}: {reason}"))
    }

    fn id<T>(&mut self, id: fn(Uuid) -> T) -> Result<T, Error> {
        self.take().map(id)
    }

    pub(super) fn number(&mut self) -> Result<u64, Error> {
        self.take().map(i64::cast_unsigned)
    }

    pub(super) fn optional_number(&mut self) -> Result<Option<u64>, Error> {
        Ok(self.take::<Option<i64>>()?.map(i64::cast_unsigned))
    }

    fn optional_small_number(&mut self) -> Result<Option<u32>, Error> {
        let number = self.optional_number()?;
        number
            .map(|number| u32::try_from(number).map_err(|error| self.invalid(error)))
            .transpose()
    }

    fn tiny_integer(&mut self) -> Result<i8, Error> {
        let number: i32 = self.take()?;
        i8::try_from(number).map_err(|error| self.invalid(error))
    }

    pub(super) fn small_number(&mut self) -> Result<u32, Error> {
        u32::try_from(self.number()?).map_err(|error| self.invalid(error))
    }

    fn time(&mut self) -> Result<Timestamp, Error> {
        self.number().map(Timestamp)
    }

    fn optional_time(&mut self) -> Result<Option<Timestamp>, Error> {
        Ok(self.optional_number()?.map(Timestamp))
    }

    fn digest(&mut self) -> Result<Digest, Error> {
        self.optional_digest()?
            .ok_or_else(|| self.invalid("a digest is missing"))
    }

    fn optional_digest(&mut self) -> Result<Option<Digest>, Error> {
        let bytes: Option<&[u8]> = self.take()?;
        let digest = bytes.map(|bytes| bytes.try_into().map(Digest::new));
        digest.transpose().map_err(|error| self.invalid(error))
    }

    fn text(&mut self) -> Result<String, Error> {
        self.optional_text()?.ok_or_else(|| self.invalid("a text is missing"))
    }

    fn optional_text(&mut self) -> Result<Option<String>, Error> {
        let Some(text) = self.take::<Option<String>>()? else {
            return Ok(None);
        };
        let text = unescaped(text).ok_or_else(|| self.invalid("a text that was never written"))?;
        Ok(Some(text))
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self) -> Result<T, Error> {
        let text = self.text()?;
        text.parse().map_err(|error| self.invalid(error))
    }

    fn optional_parsed<T: FromStr<Err: std::fmt::Display>>(&mut self) -> Result<Option<T>, Error> {
        let text = self.optional_text()?;
        text.map(|text| text.parse().map_err(|error| self.invalid(error)))
            .transpose()
    }

    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let text = self.text()?;
        serde_json::from_str(&text).map_err(|error| self.invalid(error))
    }

    fn optional_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let text = self.optional_text()?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| self.invalid(error)))
            .transpose()
    }

    pub(super) fn known<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Error> {
        let text = self.text()?;
        parse(&text).ok_or_else(|| self.invalid(format_args!("`{text}` is not known")))
    }
}

pub(super) fn project(columns: &mut Columns<'_>) -> Result<Project, Error> {
    Ok(Project {
        id: columns.id(ProjectId::new)?,
        name: columns.parsed()?,
        created_at: columns.time()?,
        last_build: columns.number()?,
        workspace: columns.optional_parsed()?,
        retention: columns.optional_json()?,
        share: columns.json()?,
    })
}

pub(super) fn cluster(columns: &mut Columns<'_>) -> Result<Cluster, Error> {
    Ok(Cluster {
        name: columns.parsed()?,
        labels: columns.json()?,
        key: columns.digest()?,
        joined_at: columns.time()?,
        availability: columns.known(availability)?,
        is_handing_over: columns.take()?,
    })
}

pub(super) fn invite(columns: &mut Columns<'_>) -> Result<Invite, Error> {
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

pub(super) fn token(columns: &mut Columns<'_>) -> Result<Token, Error> {
    Ok(Token {
        id: columns.id(TokenId::new)?,
        name: columns.text()?,
        secret: columns.digest()?,
        right: Right {
            role: columns.known(role)?,
            project: columns.take::<Option<Uuid>>()?.map(ProjectId::new),
        },
        created_at: columns.time()?,
        expires_at: columns.optional_time()?,
    })
}

pub(super) fn cache(columns: &mut Columns<'_>) -> Result<Cache, Error> {
    Ok(Cache {
        key: CacheKey {
            project: columns.id(ProjectId::new)?,
            job: columns.parsed()?,
            branch: columns.text()?,
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

pub(super) fn secret(columns: &mut Columns<'_>) -> Result<Secret, Error> {
    Ok(Secret {
        project: columns.id(ProjectId::new)?,
        name: columns.parsed()?,
        updated_at: columns.time()?,
    })
}

pub(super) fn trigger(columns: &mut Columns<'_>) -> Result<Trigger, Error> {
    columns.json()
}

pub(super) fn build(columns: &mut Columns<'_>) -> Result<Build, Error> {
    Ok(Build {
        id: columns.id(BuildId::new)?,
        project: columns.id(ProjectId::new)?,
        number: columns.number()?,
        state: columns.known(build_state)?,
        created_at: columns.time()?,
        ended_at: columns.optional_time()?,
        submitted_by: columns.text()?,
        source: columns.optional_digest()?,
        revision: Revision {
            branch: columns.optional_text()?,
            commit: columns.optional_text()?,
            tag: columns.optional_text()?,
        },
        restarts: columns.small_number()?,
        released_at: columns.optional_time()?,
    })
}

pub(super) fn job(columns: &mut Columns<'_>) -> Result<(JobNode, JobStatus), Error> {
    let node = node(columns)?;
    let status = status(columns, node.id)?;
    Ok((node, status))
}

/// An index of an array.
pub(super) fn index(columns: &mut Columns<'_>) -> Result<JobStatus, Error> {
    let id = columns.id(JobId::new)?;
    status(columns, id)
}

fn node(columns: &mut Columns<'_>) -> Result<JobNode, Error> {
    Ok(JobNode {
        id: columns.id(JobId::new)?,
        build: columns.id(BuildId::new)?,
        index: columns.small_number()?,
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
        priority: columns.tiny_integer()?,
        kind: columns.known(job_kind)?,
        needs: columns.json()?,
        generated_by: columns.optional_small_number()?,
        extensions: columns.optional_json()?,
    })
}

fn status(columns: &mut Columns<'_>, id: JobId) -> Result<JobStatus, Error> {
    Ok(JobStatus {
        id,
        state: columns.known(job_state)?,
        epoch: Epoch(columns.small_number()?),
        cluster: columns.optional_parsed()?,
        message: columns.text()?,
        exit_code: columns.take()?,
        queued_at: columns.optional_time()?,
        started_at: columns.optional_time()?,
        ended_at: columns.optional_time()?,
        cancel_requested: columns.take()?,
        output: output(columns)?,
        inputs: columns.json()?,
        log_lines: columns.optional_number()?,
        replacements: columns.small_number()?,
        loss: columns.optional_json()?,
        course: columns.optional_json()?,
    })
}

fn output(columns: &mut Columns<'_>) -> Result<Option<OutputReference>, Error> {
    let manifest = columns.optional_digest()?;
    let (bytes, files) = (columns.optional_number()?, columns.optional_number()?);
    Ok(manifest.map(|manifest| OutputReference {
        manifest,
        bytes: bytes.unwrap_or_default(),
        files: files.unwrap_or_default(),
    }))
}
