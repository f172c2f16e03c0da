//! Records to rows. `row.rs` has the way back.

use tombolo_core::build::{JobSpec, StateSet};
use tombolo_core::cache::{Cache, CacheKey};
use tombolo_core::control::record::{Build, Cluster, Invite, JobNode, JobStatus, Project, Token};
use tombolo_core::id::{JobId, ProjectId};
use tombolo_core::name::{SecretName, TriggerName};
use tombolo_core::secret::{SealedSecret, Secret};
use tombolo_core::trigger::{Trigger, TriggerFile};

use super::table::Value;

/// One row, in the order of its table's columns.
pub(super) type Row<'a> = Vec<Value<'a>>;

pub(super) fn project(project: &Project) -> Row<'_> {
    let Project {
        id,
        name,
        created_at,
        last_build,
        workspace,
        retention,
        share,
    } = project;
    vec![
        Value::Id(id.uuid()),
        Value::text(name.as_str()),
        Value::time(*created_at),
        Value::number(*last_build),
        Value::optional_text(workspace.as_ref().map(|name| name.as_str())),
        Value::optional_json(retention.as_ref()),
        Value::json(share),
    ]
}

pub(super) fn cluster(cluster: &Cluster) -> Row<'_> {
    let Cluster {
        name,
        labels,
        key,
        joined_at,
        availability,
        is_handing_over,
    } = cluster;
    vec![
        Value::text(name.as_str()),
        Value::json(labels),
        Value::digest(key),
        Value::time(*joined_at),
        Value::text(availability.as_str()),
        Value::Flag(*is_handing_over),
    ]
}

pub(super) fn invite(invite: &Invite) -> Row<'_> {
    let Invite {
        id,
        secret,
        cluster,
        labels,
        expires_at,
        used_by,
        pin,
    } = invite;
    vec![
        Value::Id(id.uuid()),
        Value::digest(secret),
        Value::text(cluster.as_str()),
        Value::json(labels),
        Value::time(*expires_at),
        Value::optional_digest(used_by.as_ref()),
        Value::optional_digest(pin.as_ref()),
    ]
}

pub(super) fn token(token: &Token) -> Row<'_> {
    let Token {
        id,
        name,
        secret,
        right,
        created_at,
        expires_at,
    } = token;
    vec![
        Value::Id(id.uuid()),
        Value::text(name),
        Value::digest(secret),
        Value::text(right.role.as_str()),
        right.project.map_or(Value::Null, |project| Value::Id(project.uuid())),
        Value::time(*created_at),
        Value::optional_time(*expires_at),
    ]
}

pub(super) fn cache_key(key: &CacheKey) -> Row<'_> {
    let CacheKey {
        project,
        job,
        branch,
        cluster,
    } = key;
    vec![
        Value::Id(project.uuid()),
        Value::text(job.as_str()),
        Value::text(branch),
        Value::text(cluster.as_str()),
    ]
}

pub(super) fn cache(cache: &Cache) -> Row<'_> {
    let Cache {
        key,
        content,
        build,
        saved_at,
        used_at,
    } = cache;
    let mut row = cache_key(key);
    row.extend([
        Value::digest(&content.manifest),
        Value::number(content.bytes),
        Value::number(content.files),
        Value::number(*build),
        Value::time(*saved_at),
        Value::time(*used_at),
    ]);
    row
}

pub(super) fn secret_key(project: ProjectId, name: &SecretName) -> Row<'_> {
    vec![Value::Id(project.uuid()), Value::text(name.as_str())]
}

pub(super) fn secret(sealed: &SealedSecret) -> Row<'_> {
    let SealedSecret {
        secret: Secret {
            project,
            name,
            updated_at,
        },
        value,
    } = sealed;
    let mut row = secret_key(*project, name);
    row.extend([
        Value::time(*updated_at),
        Value::text(&value.key),
        Value::Bytes(&value.bytes),
    ]);
    row
}

pub(super) fn trigger_key(project: ProjectId, name: &TriggerName) -> Row<'_> {
    vec![Value::Id(project.uuid()), Value::text(name.as_str())]
}

pub(super) fn trigger(trigger: &Trigger) -> Row<'_> {
    let mut row = trigger_key(trigger.project, &trigger.name);
    row.extend([Value::optional_digest(trigger.source.as_ref()), Value::json(trigger)]);
    row
}

pub(super) fn trigger_file<'a>(project: ProjectId, name: &'a TriggerName, file: &TriggerFile) -> Row<'a> {
    let mut row = trigger_key(project, name);
    row.push(Value::json(file));
    row
}

pub(super) fn build(build: &Build) -> Row<'_> {
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
    vec![
        Value::Id(id.uuid()),
        Value::Id(project.uuid()),
        Value::number(*number),
        Value::text(state.as_str()),
        Value::time(*created_at),
        Value::optional_time(*ended_at),
        Value::text(submitted_by),
        Value::optional_digest(source.as_ref()),
        Value::optional_text(revision.branch.as_deref()),
        Value::optional_text(revision.commit.as_deref()),
        Value::optional_text(revision.tag.as_deref()),
        Value::number((*restarts).into()),
        Value::optional_time(*released_at),
    ]
}

pub(super) fn job<'a>(node: &'a JobNode, spec: &'a JobSpec) -> Row<'a> {
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
    vec![
        Value::Id(id.uuid()),
        Value::Id(build.uuid()),
        Value::number((*index).into()),
        Value::text(name.as_str()),
        Value::json(parents),
        Value::json(selector),
        Value::optional_text(prefer.as_ref().map(|name| name.as_str())),
        Value::number(resources.cpu_milli),
        Value::number(resources.memory_bytes),
        Value::number(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        Value::json(volumes),
        Value::Flag(*cache),
        Value::Integer((*priority).into()),
        Value::text(kind.as_str()),
        Value::json(needs),
        Value::optional_number(generated_by.map(u64::from)),
        Value::optional_json(extensions.as_deref()),
        Value::optional_number(node.output_keep_days().map(u64::from)),
        Value::json(spec),
    ]
}

pub(super) fn parents<'a>(job: JobId, parents: &[(u32, StateSet)]) -> Row<'a> {
    vec![Value::Id(job.uuid()), Value::json(&parents)]
}

pub(super) fn status(status: &JobStatus) -> Row<'_> {
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
    vec![
        Value::Id(id.uuid()),
        Value::text(state.as_str()),
        Value::number(epoch.0.into()),
        Value::optional_text(cluster.as_ref().map(|name| name.as_str())),
        Value::text(message),
        exit_code.map_or(Value::Null, Value::Integer),
        Value::optional_time(*queued_at),
        Value::optional_time(*started_at),
        Value::optional_time(*ended_at),
        Value::Flag(*cancel_requested),
        Value::optional_digest(output.as_ref().map(|output| &output.manifest)),
        Value::optional_number(output.map(|output| output.bytes)),
        Value::optional_number(output.map(|output| output.files)),
        Value::json(inputs),
        Value::optional_number(*log_lines),
        Value::number((*replacements).into()),
        Value::optional_json(loss.as_deref()),
        Value::Flag(status.output_lost().is_some()),
        Value::optional_json(course.as_deref()),
    ]
}
