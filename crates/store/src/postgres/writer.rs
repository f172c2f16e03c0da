//! The session that leads: one connection that writes, whose lock keeps other masters out.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::MutexGuard;
use tombolo_core::leadership::Term;

use super::connection::{ConnectError, Connection};
use super::error::text;
use super::target::Target;
use super::{lease, read};
use crate::port::{CommitError, Error, LeaderEpoch, Sequence};

/// The lock of the database's master, for as long as its session lives. The second key is the schema: installations in schemas of
/// their own do not meet.
const LOCK: &str = "SELECT pg_try_advisory_lock(1953458540, hashtext(current_schema()))";

/// Who has that lock.
const HOLDER: &str = "SELECT host(client_addr) FROM pg_locks JOIN pg_stat_activity USING (pid) \
    WHERE locktype = 'advisory' AND classid = 1953458540 AND pg_stat_activity.datname = current_database() \
    AND objid = hashtext(current_schema())::bit(32)::bigint::oid LIMIT 1";

/// Whether anybody has it: an expression.
pub(super) const IS_LOCKED: &str = "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 1953458540 \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
    AND objid = hashtext(current_schema())::bit(32)::bigint::oid AND granted)";

/// Ends sessions with names that begin like this, which the server has not missed yet, and waits until they are over. Counts those that
/// are not.
///
/// `MATERIALIZED` keeps the planner from asking for the end of a session before it has looked whose that is.
const END_EARLIER: &str = "WITH earlier AS MATERIALIZED (\
        SELECT pid FROM pg_stat_activity WHERE application_name = ANY($1) AND usename = current_user AND pid <> pg_backend_pid()) \
    SELECT COUNT(*) FROM earlier WHERE NOT pg_terminate_backend(pid, 5000)";

/// Every statement of this session finds its rows by keys. The server would plan them by what it knows of the tables, which is
/// nothing at first: it would read whole tables, and go on to when they have grown. Planned once, not each time.
pub(super) const PLANS: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
    SET jit = off; SET plan_cache_mode = force_generic_plan";

/// How long a session that writes is waited for by another call.
const TURN_MAX: Duration = Duration::from_secs(90);

/// The session that leads. Made anew when it was lost.
#[derive(Debug)]
pub(super) struct Writer {
    target: Target,
    /// The process, in the names by which the server's list of sessions shows it, and no other one.
    holder: String,
    /// The term in which this master leads, once it does: the lock alone is not enough then.
    term: Mutex<Option<Term>>,
    connection: tokio::sync::Mutex<Option<Connection>>,
    /// What the server has said to be committed last.
    acknowledged: Mutex<Option<(LeaderEpoch, Sequence)>>,
}

/// Why the session cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WriterError {
    /// There is no connection.
    #[error("{0}")]
    Connect(ConnectError),
    /// Another master has the lock; with what is known of it.
    #[error("another master uses `{0}`")]
    Held(String),
    /// The database has lost what it had said to be committed.
    #[error("the database has lost commits")]
    Lost,
    /// Another master has begun a later term.
    #[error("another master leads now")]
    Followed,
}

impl WriterError {
    pub(super) fn temporary(reason: impl Into<String>) -> Self {
        Self::Connect(ConnectError {
            reason: reason.into(),
            may_pass: true,
        })
    }
}

impl From<WriterError> for Error {
    fn from(error: WriterError) -> Self {
        match error {
            WriterError::Connect(error) => Self::Unavailable(error.reason),
            WriterError::Lost | WriterError::Followed => Self::Deposed,
            error @ WriterError::Held(_) => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<WriterError> for CommitError {
    fn from(error: WriterError) -> Self {
        match Error::from(error) {
            Error::Deposed => Self::Deposed,
            Error::Unavailable(reason) | Error::Corrupt(reason) => Self::Unavailable(reason),
        }
    }
}

/// The session, for one call. It ends with this value unless it is given back: nobody goes on with a transaction that was
/// broken off.
pub(super) struct Turn<'a> {
    slot: MutexGuard<'a, Option<Connection>>,
    connection: Connection,
}

impl Turn<'_> {
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn give_back(self) {
        let Self { mut slot, connection } = self;
        *slot = Some(connection);
    }
}

/// What the server's list of sessions shows of the session that writes.
pub(super) fn writing(holder: &str) -> String {
    format!("tombolo master {holder}")
}

/// The same of the session that writes logs.
pub(super) fn logging(holder: &str) -> String {
    format!("tombolo logs {holder}")
}

/// Ends sessions by their names, and waits for their ends: what is under way on them comes to its end, either way.
pub(super) async fn end_sessions(connection: &Connection, names: &[String]) -> Result<(), WriterError> {
    let left = connection.client().query_one_scalar(END_EARLIER, &[&names]).await;
    let left: i64 = left.map_err(|failure| WriterError::temporary(text(&failure)))?;
    if left > 0 {
        return Err(WriterError::temporary("the session before does not come to its end"));
    }
    Ok(())
}

/// Who has the lock, in words.
pub(super) async fn held(connection: &Connection, place: &str) -> WriterError {
    let holder = connection.client().query_opt(HOLDER, &[]).await.ok().flatten();
    let address: Option<String> = holder.and_then(|row| row.try_get(0).ok()?);
    WriterError::Held(address.map_or(place.to_owned(), |address| format!("{place}` from `{address}")))
}

impl Writer {
    pub(super) fn new(target: Target, holder: String) -> Self {
        Self {
            target,
            holder,
            term: Mutex::default(),
            connection: tokio::sync::Mutex::default(),
            acknowledged: Mutex::default(),
        }
    }

    /// The session, connected and with the lock.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, WriterError> {
        let waiting = tokio::time::timeout(TURN_MAX, self.connection.lock());
        let mut slot = waiting
            .await
            .map_err(|_| WriterError::temporary("what is being written does not come to an end"))?;
        let connection = match slot.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(Turn { slot, connection })
    }

    /// Notes what the server has said to be committed.
    pub(super) fn acknowledge(&self, epoch: LeaderEpoch, sequence: Sequence) {
        *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner) = Some((epoch, sequence));
    }

    /// A new leadership begins with what the database has, whatever that is.
    pub(super) fn forget(&self) {
        *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// From now on the session is of use in this term only.
    pub(super) fn lead(&self, term: Term) {
        *self.term.lock().unwrap_or_else(PoisonError::into_inner) = Some(term);
    }

    /// The term in which this master leads; none before the first.
    pub(super) fn term(&self) -> Option<Term> {
        *self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process, as the names of its sessions have it.
    pub(super) fn holder(&self) -> &str {
        &self.holder
    }

    async fn connect(&self) -> Result<Connection, WriterError> {
        let connection = Connection::open(&self.target, &writing(&self.holder))
            .await
            .map_err(WriterError::Connect)?;
        let failed = |failure: tokio_postgres::Error| WriterError::temporary(text(&failure));
        // What is still under way of the session before comes to its end, either way, before anybody asks for its outcome.
        let client = connection.client();
        client.batch_execute(PLANS).await.map_err(failed)?;
        end_sessions(&connection, &[writing(&self.holder)]).await?;
        let locked: Option<bool> = client.query_one_scalar(LOCK, &[]).await.map_err(failed)?;
        match locked {
            Some(true) => {}
            Some(false) => return Err(held(&connection, &self.target.place).await),
            None => {
                let user = &self.target.user;
                let reason = format!("no schema in the search path of `{user}` exists");
                return Err(WriterError::temporary(reason));
            }
        }
        self.check_term(&connection).await?;
        self.check(&connection).await?;
        Ok(connection)
    }

    /// A master that was followed may find the lock free for a moment, and must not keep it.
    async fn check_term(&self, connection: &Connection) -> Result<(), WriterError> {
        let Some(own) = self.term() else { return Ok(()) };
        let leader = lease::leader(connection).await;
        let leader = leader.map_err(|error| WriterError::temporary(error.to_string()))?;
        match leader.record.term == own {
            true => Ok(()),
            false => Err(WriterError::Followed),
        }
    }

    /// A server that took the place of another one may lack commits. Then what this master has in memory is not what the database
    /// has, and it must begin anew.
    async fn check(&self, connection: &Connection) -> Result<(), WriterError> {
        let acknowledged = *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((epoch, sequence)) = acknowledged else {
            return Ok(());
        };
        let (current, last) = read::leadership(connection)
            .await
            .map_err(|error| WriterError::temporary(error.to_string()))?;
        if current < epoch || (current == epoch && last < sequence) {
            tracing::error!(
                database = self.target.place,
                acknowledged = sequence.0,
                last = last.0,
                "the database has lost commits that it had acknowledged: was an older state restored, or an asynchronous standby \
                 promoted?"
            );
            return Err(WriterError::Lost);
        }
        Ok(())
    }
}
