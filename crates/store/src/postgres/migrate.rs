//! The tables, brought up to date.

use tokio_postgres::Client;

use super::connection::Connection;
use super::error::{self, text};
use crate::port::Error;

/// Forward only: a migration that was released is never changed, the next one corrects it.
const STEPS: [&str; 8] = [
    include_str!("../../migrations/postgres/0001_foundation.sql"),
    include_str!("../../migrations/postgres/0002_extensions.sql"),
    include_str!("../../migrations/postgres/0003_secrets.sql"),
    include_str!("../../migrations/postgres/0004_triggers.sql"),
    include_str!("../../migrations/postgres/0005_lease.sql"),
    include_str!("../../migrations/postgres/0006_kept_outputs.sql"),
    include_str!("../../migrations/postgres/0007_restoration_and_handover.sql"),
    include_str!("../../migrations/postgres/0008_invite_pins.sql"),
];

/// Which steps were taken. Their numbers are the versions of the tables, from 1.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS tombolo_migrations (\
    version INTEGER NOT NULL PRIMARY KEY, taken_at TIMESTAMPTZ NOT NULL DEFAULT now())";

/// Only one migrates at a time, whoever leads. The key differs from that of leaders.
const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
    SET LOCAL idle_in_transaction_session_timeout = 0; SELECT pg_advisory_xact_lock(1953458541, hashtext(current_schema()))";

/// Refuses tables of a newer version.
pub(super) fn check(taken: usize) -> Result<(), Error> {
    check_against(taken, &STEPS)
}

fn check_against(taken: usize, steps: &[&str]) -> Result<(), Error> {
    if taken > steps.len() {
        return Err(Error::Corrupt(format!(
            "its tables were made by a newer version (they are of version {taken}, this program knows {}); use that version or a \
             backup",
            steps.len()
        )));
    }
    Ok(())
}

/// Takes the steps that the database lacks, all or none.
pub(super) async fn to_latest(connection: &Connection) -> Result<(), Error> {
    take(connection.client(), &STEPS).await
}

async fn take(client: &Client, steps: &[&str]) -> Result<(), Error> {
    let failed = |failure: tokio_postgres::Error| {
        let reason = text(&failure);
        match failure.code().map(|code| code.code()) {
            Some("42501") => Error::Unavailable(format!(
                "its tables cannot be made: {reason}; the role must own the database or its schema"
            )),
            _ => Error::Unavailable(format!("its tables cannot be brought up to date: {reason}")),
        }
    };
    client.batch_execute(BEGIN).await.map_err(error::read)?;
    let known: Option<String> = client
        .query_one_scalar("SELECT to_regclass('tombolo_migrations')::text", &[])
        .await
        .map_err(failed)?;
    if known.is_none() {
        client.batch_execute(TABLE).await.map_err(failed)?;
    }
    let version: i32 = client
        .query_one_scalar("SELECT COALESCE(MAX(version), 0) FROM tombolo_migrations", &[])
        .await
        .map_err(failed)?;
    let taken = usize::try_from(version).unwrap_or_default();
    check_against(taken, steps)?;
    for (step, number) in steps.iter().zip(1_i32..).skip(taken) {
        client.batch_execute(step).await.map_err(failed)?;
        client
            .execute("INSERT INTO tombolo_migrations (version) VALUES ($1)", &[&number])
            .await
            .map_err(failed)?;
        tracing::info!(version = number, "brought the database's tables up to date");
    }
    client.batch_execute("COMMIT").await.map_err(failed)
}
