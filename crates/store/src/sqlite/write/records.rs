//! Projects, clusters, invites and tokens.

use rusqlite::{Connection, params};
use tombolo_core::control::record::{Cluster, Invite, Project, Token};

use super::{digest, json, time};

pub(super) fn put_project(connection: &Connection, project: &Project) -> rusqlite::Result<usize> {
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

pub(super) fn put_cluster(connection: &Connection, cluster: &Cluster) -> rusqlite::Result<usize> {
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

pub(super) fn put_invite(connection: &Connection, invite: &Invite) -> rusqlite::Result<usize> {
    let Invite {
        id,
        secret,
        cluster,
        labels,
        expires_at,
        used_by,
        pin,
    } = invite;
    connection
        .prepare_cached(
            "INSERT INTO invites (id, secret, cluster, labels, expires_at, used_by, pin) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT (id) DO UPDATE SET secret = excluded.secret, cluster = excluded.cluster, \
             labels = excluded.labels, expires_at = excluded.expires_at, used_by = excluded.used_by, pin = excluded.pin",
        )?
        .execute(params![
            id.uuid().as_bytes(),
            secret.as_bytes(),
            cluster.as_str(),
            json(labels),
            time(*expires_at),
            digest(used_by.as_ref()),
            digest(pin.as_ref())
        ])
}

pub(super) fn put_token(connection: &Connection, token: &Token) -> rusqlite::Result<usize> {
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
