//! A master that does not lead (yet): it sees who does, and takes the lead when nobody does.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;
use tombolo_core::leadership::{Hold, Term, Verdict, Watch};
use tombolo_core::time::Moment;

use super::connection::Connection;
use super::lease::{self, Addresses, Claim, Leader};
use super::target::{Location, Target};
use super::writer::{self, Turn, Writer, WriterError, logging, writing};
use super::{MIGRATION_MAX, Postgres, acquire_error, error, migrate, too_long};
use crate::port::{AcquireError, Error};

/// What the server's list of sessions shows.
const NAME: &str = "tombolo candidate";

/// How long the lock of a leader that has stopped acting is waited for: its session is ended before.
const LOCK_MAX: Duration = Duration::from_secs(2);

/// Between two attempts to get that lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// As what a master stands for the lead.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The pin of the installation's certificate authority: a database of another one is not led. Empty: it is not looked at.
    pub installation: String,
    /// Pins of authorities whose place that one takes. A database that belongs to any of them is led, and belongs to all of them then: masters
    /// that have not heard of the new one yet lead it too.
    pub before: Vec<String>,
    /// Leads also what belongs to another installation, and makes it this one's.
    pub adopts: bool,
    /// How long it leads without a renewal. None: for as long as it has the database's lock, and whoever comes second has no hope.
    pub lease: Option<Duration>,
    /// Where others reach it.
    pub addresses: Option<Addresses>,
}

impl Standing {
    /// All pins, as the database remembers them. Empty if it is not looked at.
    fn installation(&self) -> String {
        if self.installation.is_empty() {
            return String::new();
        }
        let pins = std::iter::once(&self.installation).chain(&self.before);
        pins.map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// The pins that a database remembers.
fn pins(installation: &str) -> impl Iterator<Item = &str> {
    installation.split_whitespace()
}

/// A master that does not lead (yet).
#[derive(Debug)]
pub struct Candidate {
    target: Target,
    /// This process, in the names of its sessions.
    holder: String,
    standing: Standing,
    /// Neither commits nor reads are waited for on it.
    connection: tokio::sync::Mutex<Option<Connection>>,
}

/// The lead.
#[derive(Debug)]
pub struct Taken {
    /// The store, to be written by this master.
    pub store: Postgres,
    /// The term that has begun.
    pub term: Term,
    /// When the request was sent that began it: the lease counts from then.
    pub sent: Moment,
}

impl Candidate {
    /// A candidate. Connects when it is asked for something.
    ///
    /// # Errors
    /// Why there can be no such location.
    pub fn new(location: &Location, standing: Standing) -> Result<Self, Error> {
        let target = Target::read(location).map_err(|error| Error::Unavailable(error.to_string()))?;
        let process: u128 = rand::random();
        Ok(Self {
            target,
            holder: format!("{process:032x}"),
            standing,
            connection: tokio::sync::Mutex::default(),
        })
    }

    /// Who leads. That is never this candidate: what it led before counts as released.
    ///
    /// # Errors
    /// [`AcquireError::Foreign`] if the database belongs to another installation.
    pub async fn leader(&self) -> Result<Leader, AcquireError> {
        let leader = self.look().await.map_err(|error| acquire_error(error, &self.target))?;
        self.check(&leader)?;
        Ok(leader)
    }

    /// Begins the term after that of `leader`, who acts no more: ends its sessions, takes the lock, brings the tables up to date. `now` is
    /// read when the request that counts is sent.
    ///
    /// # Errors
    /// [`AcquireError::Held`] if somebody else was faster, or the leader has come back.
    pub async fn take_over(&self, leader: &Leader, now: impl Fn() -> Moment + Send) -> Result<Taken, AcquireError> {
        migrate::check(leader.tables)?;
        self.check(leader)?;
        let writer = Writer::new(self.target.clone(), self.holder.clone());
        let taken = self.take(&writer, leader, now).await?;
        let Some((term, sent)) = taken else {
            let database = self.target.place.clone();
            return Err(AcquireError::Held { database });
        };
        let store = Postgres::led_by(self.target.clone(), writer);
        Ok(Taken { store, term, sent })
    }

    /// Renews the lease of a term. False if it is over.
    ///
    /// # Errors
    /// If that cannot be known.
    pub async fn renew(&self, term: Term) -> Result<bool, Error> {
        let session = self.session().await?;
        let is_current = lease::renew(session.connection(), term).await?;
        session.keep();
        Ok(is_current)
    }

    /// Says that this master acts no more as the leader of a term.
    ///
    /// # Errors
    /// If the database does not know it now; the lease tells it.
    pub async fn release(&self, term: Term) -> Result<(), Error> {
        let session = self.session().await?;
        lease::release(session.connection(), term).await?;
        session.keep();
        Ok(())
    }

    /// Waits for the lead for as long as `patience`, and takes it.
    pub async fn lead_within(&self, patience: Duration) -> Result<Postgres, AcquireError> {
        let began = Instant::now();
        let now = || Moment(began.elapsed());
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(2))
            .without_max_times();
        let mut delays = backoff.build();
        let mut watch = Watch::default();
        loop {
            let failed = match self.look().await {
                Ok(leader) => match watch.observe(now(), leader.record, leader.is_locked) {
                    Verdict::Free => match self.take_over(&leader, now).await {
                        Ok(taken) => return Ok(taken.store),
                        Err(error @ AcquireError::Held { .. }) => error,
                        Err(error) => return Err(error),
                    },
                    Verdict::Held => {
                        self.check(&leader)?;
                        acquire_error(self.held(&leader).await, &self.target)
                    }
                },
                Err(WriterError::Connect(error)) if !error.may_pass => {
                    return Err(AcquireError::Store(Error::Unavailable(error.reason)));
                }
                Err(error) => acquire_error(error, &self.target),
            };
            if began.elapsed() >= patience {
                return Err(failed);
            }
            tracing::warn!(error = %failed, "the database has to be waited for");
            tokio::time::sleep(delays.next().unwrap_or(LOCK_MAX)).await;
        }
    }

    async fn take(
        &self,
        writer: &Writer,
        leader: &Leader,
        now: impl Fn() -> Moment + Send,
    ) -> Result<Option<(Term, Moment)>, AcquireError> {
        let mapped = |error| acquire_error(error, &self.target);
        if !leader.holder.is_empty() {
            let session = self.session().await?;
            let names = [writing(&leader.holder), logging(&leader.holder)];
            writer::end_sessions(session.connection(), &names)
                .await
                .map_err(mapped)?;
            session.keep();
        }
        let turn = locked(writer).await.map_err(mapped)?;
        let migrated = tokio::time::timeout(MIGRATION_MAX, migrate::to_latest(turn.connection())).await;
        migrated.map_err(too_long)??;
        let installation = self.standing.installation();
        let claim = Claim {
            holder: &self.holder,
            lease: self.standing.lease,
            addresses: self.standing.addresses.as_ref(),
            installation: &installation,
        };
        let sent = now();
        let taken = lease::take(turn.connection(), leader.record, &claim)
            .await
            .map_err(error::read)?;
        if let Some(term) = taken {
            writer.lead(term);
            turn.give_back();
        }
        Ok(taken.map(|term| (term, sent)))
    }

    fn check(&self, leader: &Leader) -> Result<(), AcquireError> {
        let Standing {
            installation,
            before,
            adopts,
            ..
        } = &self.standing;
        let theirs = &leader.installation;
        let is_ours = pins(theirs).any(|pin| pin == installation || before.iter().any(|own| own == pin));
        let is_foreign = !theirs.is_empty() && !installation.is_empty() && !is_ours;
        if is_foreign && !adopts {
            return Err(AcquireError::Foreign {
                database: self.target.place.clone(),
                theirs: theirs.clone(),
                own: installation.clone(),
            });
        }
        Ok(())
    }

    async fn look(&self) -> Result<Leader, WriterError> {
        let session = self.connected().await?;
        let leader = lease::leader(session.connection()).await;
        let mut leader = leader.map_err(|error| WriterError::temporary(error.to_string()))?;
        session.keep();
        if leader.holder == self.holder {
            leader.record.hold = Hold::Released;
        }
        Ok(leader)
    }

    /// Who has the lead, in words.
    async fn held(&self, leader: &Leader) -> WriterError {
        let place = &self.target.place;
        match &leader.addresses {
            Some(addresses) => WriterError::Held(format!("{place}` from `{}", addresses.users)),
            None => match self.connected().await {
                Ok(session) => {
                    let held = writer::held(session.connection(), place).await;
                    session.keep();
                    held
                }
                Err(_) => WriterError::Held(place.clone()),
            },
        }
    }

    async fn session(&self) -> Result<Session<'_>, Error> {
        Ok(self.connected().await?)
    }

    async fn connected(&self) -> Result<Session<'_>, WriterError> {
        let mut slot = self.connection.lock().await;
        let connection = match slot.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => Connection::open(&self.target, NAME)
                .await
                .map_err(WriterError::Connect)?,
        };
        Ok(Session { slot, connection })
    }
}

/// The session that writes, with the lock of a leader whose sessions were ended.
async fn locked(writer: &Writer) -> Result<Turn<'_>, WriterError> {
    let until = Instant::now() + LOCK_MAX;
    loop {
        match writer.turn().await {
            Err(WriterError::Held(_)) if Instant::now() < until => tokio::time::sleep(LOCK_PAUSE).await,
            result => return result,
        }
    }
}

/// The candidate's connection, for one call. It ends with this value unless it is kept: its state is not known otherwise.
struct Session<'a> {
    slot: tokio::sync::MutexGuard<'a, Option<Connection>>,
    connection: Connection,
}

impl Session<'_> {
    fn connection(&self) -> &Connection {
        &self.connection
    }

    fn keep(self) {
        let Self { mut slot, connection } = self;
        *slot = Some(connection);
    }
}
