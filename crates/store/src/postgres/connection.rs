//! One connection to the server, with the settings of a session of ours.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error as Failure, Statement};
use tokio_util::task::AbortOnDropHandle;

use super::error::text;
use super::target::Target;

/// How long it may take to get a connection: the socket, TLS, the password, the settings.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(10);

/// The oldest server that is known to work: older ones end no sessions in good time (`pg_terminate_backend` with a deadline).
const OLDEST_SERVER: i32 = 140_000;

/// What each session begins with. The server gives up a statement, a transaction that nobody goes on with, and a peer that is gone;
/// and what it says to be committed is on its disk.
const SETTINGS: &str = "\
    SET statement_timeout = '60s'; SET lock_timeout = '20s'; SET idle_in_transaction_session_timeout = '60s'; \
    SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; \
    SET client_min_messages = 'warning'; SET default_transaction_isolation = 'read committed'; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConnectError {
    /// With what to do about it.
    pub(super) reason: String,
    /// Whether it is worth to try again without a change of settings.
    pub(super) may_pass: bool,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

/// A connection. It ends with this value, whatever is under way on it: the server rolls that back.
pub(super) struct Connection {
    client: Client,
    /// By their text. As many as there are different ones in this crate.
    statements: Mutex<HashMap<String, Statement>>,
    /// Moves the bytes.
    _driver: AbortOnDropHandle<()>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects. `name` is what the server's administrator sees.
    pub(super) async fn open(target: &Target, name: &str) -> Result<Self, ConnectError> {
        match tokio::time::timeout(CONNECT_MAX, Self::open_at_leisure(target, name)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError {
                reason: format!("`{}` does not answer within {} s", target.place, CONNECT_MAX.as_secs()),
                may_pass: true,
            }),
        }
    }

    async fn open_at_leisure(target: &Target, name: &str) -> Result<Self, ConnectError> {
        let mut config = target.config.clone();
        config.application_name(name);
        let failed = |failure: Failure| explain(&failure, target);
        let (client, connection) = config.connect(target.connector.clone()).await.map_err(failed)?;
        let driver = tokio::spawn(async move {
            // Whoever waits for an answer is told by the closed connection.
            if let Err(failure) = connection.await {
                tracing::debug!(reason = text(&failure), "a connection to the database ended");
            }
        });
        let connection = Self {
            client,
            statements: Mutex::default(),
            _driver: AbortOnDropHandle::new(driver),
        };
        connection.client.batch_execute(SETTINGS).await.map_err(failed)?;
        let server = "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding')";
        let row = connection.client.query_typed_one(server, &[]).await.map_err(failed)?;
        let version: i32 = row.try_get(0).map_err(failed)?;
        let encoding: &str = row.try_get(1).map_err(failed)?;
        let unfit = |reason: String| ConnectError {
            reason: format!("`{}` {reason}", target.place),
            may_pass: false,
        };
        if version < OLDEST_SERVER {
            let version = version / 10_000;
            return Err(unfit(format!("is Postgres {version}; version 14 or newer is needed")));
        }
        if encoding != "UTF8" {
            return Err(unfit(format!(
                "has the encoding {encoding}; make the database with UTF8"
            )));
        }
        Ok(connection)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The prepared statement of a text.
    pub(super) async fn prepared(&self, sql: &str) -> Result<Statement, Failure> {
        let known = || self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(statement) = known().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        known().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// What a failed connection is about, in the words of whoever set it up.
fn explain(failure: &Failure, target: &Target) -> ConnectError {
    let (place, user, reason) = (&target.place, &target.user, text(failure));
    let (hint, may_pass) = match failure.code() {
        Some(code) if *code == SqlState::INVALID_PASSWORD => (
            format!("the password for `{user}` is not right; give it by `database.password`"),
            false,
        ),
        Some(code) if code.code().starts_with("28") => (
            format!("the server does not let `{user}` in; see its file pg_hba.conf"),
            false,
        ),
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
            ("make the database before: docs/guide/database.md says how".to_owned(), false)
        }
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => (
            "all connections are taken; a master needs up to 7 (see `max_connections` of the server and limits of the role)"
                .to_owned(),
            true,
        ),
        Some(_) => return temporary(place, &reason),
        None if is_tls(failure) => (
            "the server's certificate must be for the host in the URL, and signed by an authority that this machine or \
             `sslrootcert` trusts"
                .to_owned(),
            false,
        ),
        None if reason.contains("password missing") => (
            format!("the server asks `{user}` for a password; give it by `database.password`"),
            false,
        ),
        None if reason.contains("server does not support TLS") => (
            "turn TLS on there, or give `sslmode=disable` if nobody can listen on the way".to_owned(),
            false,
        ),
        None => return temporary(place, &reason),
    };
    ConnectError {
        reason: format!("cannot connect to `{place}`: {reason}; {hint}"),
        may_pass,
    }
}

fn temporary(place: &str, reason: &str) -> ConnectError {
    ConnectError {
        reason: format!("cannot connect to `{place}`: {reason}"),
        may_pass: true,
    }
}

/// Whether it is about a certificate or another matter of TLS, rather than the way to the server.
fn is_tls(failure: &Failure) -> bool {
    let Some(error) = failure
        .source()
        .and_then(|cause| cause.downcast_ref::<std::io::Error>())
    else {
        return false;
    };
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.is::<rustls::Error>())
}
