//! The row that says who leads.

use std::time::Duration;

use tokio_postgres::Error as Failure;
use tombolo_core::leadership::{Hold, Record, Term};

use super::connection::Connection;
use super::error;
use super::read::{Parameter, all};
use super::writer::IS_LOCKED;
use crate::port::Error;

/// Where the other masters reach one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Its port for agents, `host:port`.
    pub agents: String,
    /// Its port for users, `host:port`.
    pub users: String,
}

/// What the database says of the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// What its lease is counted by.
    pub record: Record,
    /// Whether anybody has the database's lock.
    pub is_locked: bool,
    /// Where the others reach it, if it said so.
    pub addresses: Option<Addresses>,
    /// The process, as in the names of its sessions.
    pub(super) holder: String,
    /// The installation that the database belongs to; empty if to none yet.
    pub(super) installation: String,
    /// The version of the tables.
    pub(super) tables: usize,
}

/// What a leader says of itself.
#[derive(Debug, Clone)]
pub(super) struct Claim<'a> {
    pub(super) holder: &'a str,
    pub(super) lease: Option<Duration>,
    pub(super) addresses: Option<&'a Addresses>,
    pub(super) installation: &'a str,
}

const TABLES: &str = "SELECT to_regclass('tombolo_migrations') IS NOT NULL, to_regclass('lease') IS NOT NULL";

const TAKE: &str = "UPDATE lease SET term = term + 1, renewals = 0, lease_milliseconds = $3, is_released = FALSE, holder = $4, \
    agents_address = $5, users_address = $6, renewed_at = now(), \
    installation = CASE WHEN $7 = '' THEN installation ELSE $7 END WHERE term = $1 AND renewals = $2";

const RENEW: &str = "UPDATE lease SET renewals = renewals + 1, renewed_at = now() WHERE term = $1 AND NOT is_released";

const RELEASE: &str = "UPDATE lease SET is_released = TRUE WHERE term = $1";

/// Who leads, as far as the database knows.
pub(super) async fn leader(connection: &Connection) -> Result<Leader, Error> {
    let tables = all(connection, TABLES, &[], |columns| {
        Ok((columns.take()?, columns.take()?))
    });
    let (has_migrations, has_lease): (bool, bool) = tables.await?.into_iter().next().unwrap_or_default();
    let version = match has_migrations {
        true => {
            let sql = "SELECT COALESCE(MAX(version), 0)::bigint FROM tombolo_migrations";
            let versions = all(connection, sql, &[], |columns| columns.number()).await?;
            versions.into_iter().next().unwrap_or_default()
        }
        false => 0,
    };
    let tables = usize::try_from(version).unwrap_or(usize::MAX);
    if !has_lease {
        return before_leases(connection, tables).await;
    }
    let sql = format!(
        "SELECT term, renewals, lease_milliseconds, is_released, {IS_LOCKED}, agents_address, users_address, holder, installation \
         FROM lease"
    );
    let leaders = all(connection, &sql, &[], |columns| {
        let (term, renewals, lease) = (Term(columns.number()?), columns.number()?, columns.number()?);
        let is_released: bool = columns.take()?;
        let is_locked = columns.take()?;
        let (agents, users): (String, String) = (columns.take()?, columns.take()?);
        let hold = match lease {
            _ if is_released => Hold::Released,
            0 => Hold::Locked,
            lease => Hold::Renewed(Duration::from_millis(lease)),
        };
        let is_known = !agents.is_empty() && !users.is_empty();
        Ok(Leader {
            record: Record { term, renewals, hold },
            is_locked,
            addresses: is_known.then_some(Addresses { agents, users }),
            holder: columns.take()?,
            installation: columns.take()?,
            tables,
        })
    });
    let found = leaders.await?.into_iter().next();
    found.ok_or_else(|| Error::Corrupt("the table `lease` is empty".to_owned()))
}

/// A database that nobody has led yet, or only a version that knew of no leases.
async fn before_leases(connection: &Connection, tables: usize) -> Result<Leader, Error> {
    let sql = format!("SELECT {IS_LOCKED}");
    let locked = all(connection, &sql, &[], |columns| columns.take());
    Ok(Leader {
        record: Record {
            term: Term(0),
            renewals: 0,
            hold: Hold::Locked,
        },
        is_locked: locked.await?.into_iter().next().unwrap_or_default(),
        addresses: None,
        holder: String::new(),
        installation: String::new(),
        tables,
    })
}

/// Begins the term after that of `record`, unless it has changed meanwhile.
pub(super) async fn take(connection: &Connection, record: Record, claim: &Claim<'_>) -> Result<Option<Term>, Failure> {
    let (term, renewals) = (record.term.0.cast_signed(), record.renewals.cast_signed());
    let lease = claim.lease.unwrap_or_default().as_millis();
    let lease = i64::try_from(lease).unwrap_or(i64::MAX);
    let agents = claim.addresses.map_or("", |addresses| &addresses.agents);
    let users = claim.addresses.map_or("", |addresses| &addresses.users);
    let parameters: [Parameter<'_>; 7] = [
        &term,
        &renewals,
        &lease,
        &claim.holder,
        &agents,
        &users,
        &claim.installation,
    ];
    let taken = connection.client().execute(TAKE, &parameters).await?;
    Ok((taken == 1).then_some(Term(record.term.0 + 1)))
}

/// Renews the lease of a term. False if another term has begun.
pub(super) async fn renew(connection: &Connection, term: Term) -> Result<bool, Error> {
    change(connection, RENEW, term).await
}

/// Says that the leader of a term acts no more. False if another term has begun.
pub(super) async fn release(connection: &Connection, term: Term) -> Result<bool, Error> {
    change(connection, RELEASE, term).await
}

async fn change(connection: &Connection, sql: &str, term: Term) -> Result<bool, Error> {
    let statement = connection.prepared(sql).await.map_err(error::read)?;
    let parameters: [Parameter<'_>; 1] = [&term.0.cast_signed()];
    let changed = connection.client().execute(&statement, &parameters).await;
    Ok(changed.map_err(error::read)? == 1)
}
