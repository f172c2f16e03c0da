//! The round of a master that is one of several: stand by, lead, stand by again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tombolo_core::leadership::{Lease, Verdict, Watch};
use tombolo_runtime::shutdown::{self, TaskGroup};
use tombolo_store::postgres::{Addresses, Candidate, Leader, Taken};
use tombolo_store::{AcquireError, Postgres};

use super::renewal::Renewal;
use super::{Known, Role, Tenure};
use crate::clock::Clock;
use crate::driver;
use crate::run::Error;

/// Between two looks at who leads.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// How long a master that could not lead leaves that to others.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// How long the tasks of a leader have to end when they were asked to.
const GRACE: Duration = Duration::from_secs(20);

/// How long those of one that has lost the lead have: nothing that they still do counts.
const GRACE_OF_THE_DEPOSED: Duration = Duration::from_secs(1);

/// What a leader is given, and what it says.
#[derive(Clone)]
pub(crate) struct Mandate {
    /// For how long it may act.
    pub(crate) tenure: Tenure,
    /// Cancelled when it is to end.
    pub(crate) stopping: CancellationToken,
    /// To be cancelled by it when it changes nothing any more.
    pub(crate) over: CancellationToken,
    /// What the master is, as far as its driver knows.
    pub(crate) roles: watch::Sender<Role>,
}

impl Mandate {
    /// Of a master that is the only one.
    pub(crate) fn unlimited(clock: Arc<dyn Clock>, stopping: CancellationToken, roles: watch::Sender<Role>) -> Self {
        Self {
            tenure: Tenure::unlimited(clock),
            stopping,
            over: CancellationToken::new(),
            roles,
        }
    }
}

/// The round.
pub(crate) struct Campaign {
    pub(crate) candidate: Arc<Candidate>,
    pub(crate) clock: Arc<dyn Clock>,
    /// How long this master leads without a renewal.
    pub(crate) lease: Duration,
    /// Its own addresses: connections are never passed on to those.
    pub(crate) own: Addresses,
    pub(crate) roles: watch::Sender<Role>,
    pub(crate) stopping: CancellationToken,
}

impl Campaign {
    /// Goes round until `stopping` is cancelled. `lead` starts what a leader does.
    pub(crate) async fn run<L, F>(self, lead: L) -> Result<(), Error>
    where
        L: Fn(Postgres, Mandate) -> F,
        F: Future<Output = Result<TaskGroup, Error>>,
    {
        while let Some(taken) = self.stand_by().await? {
            let deposed = self.lead(taken, &lead).await?;
            if self.stopping.is_cancelled() {
                break;
            }
            self.roles.send_replace(Role::Standby(None));
            if let Deposed::Unfit = deposed {
                self.stopping
                    .run_until_cancelled(tokio::time::sleep(PAUSE_AFTER_FAILURE))
                    .await;
            }
        }
        Ok(())
    }

    /// Waits until this master leads. None when it is to stop.
    async fn stand_by(&self) -> Result<Option<Taken>, Error> {
        let mut watch = Watch::default();
        let mut blind = false;
        loop {
            let look = tokio::time::timeout(LOOK_MAX, self.candidate.leader());
            let Some(looked) = self.stopping.run_until_cancelled(look).await else {
                return Ok(None);
            };
            let looked = looked.unwrap_or_else(|_| {
                let reason = "it does not answer".to_owned();
                Err(AcquireError::Store(tombolo_store::Error::Unavailable(reason)))
            });
            let was_blind = std::mem::replace(&mut blind, looked.is_err());
            match looked {
                Ok(leader) => {
                    if let Some(taken) = self.follow(&leader, &mut watch).await? {
                        return Ok(Some(taken));
                    }
                }
                Err(error @ AcquireError::Foreign { .. }) => return Err(database(error)),
                // Whoever leads may be seen by its agents and users nevertheless: they are passed on as before.
                Err(error) if !was_blind => tracing::warn!(%error, "cannot see who leads; trying again"),
                Err(_) => {}
            }
            let pause = tokio::time::sleep(LOOK_AGAIN);
            if self.stopping.run_until_cancelled(pause).await.is_none() {
                return Ok(None);
            }
        }
    }

    /// Stands by while `leader` may still act, and takes its place when it acts no more.
    async fn follow(&self, leader: &Leader, watch: &mut Watch) -> Result<Option<Taken>, Error> {
        let now = self.clock.now().steady;
        if watch.observe(now, leader.record, leader.is_locked) == Verdict::Held {
            self.note(Role::Standby(Some(self.known(leader))));
            return Ok(None);
        }
        self.note(Role::Taking);
        tracing::info!(term = leader.record.term.0, "nobody leads; taking the lead");
        let taken = self.candidate.take_over(leader, || self.clock.now().steady).await;
        match taken {
            Ok(taken) => return Ok(Some(taken)),
            Err(error @ AcquireError::Foreign { .. }) => return Err(database(error)),
            Err(AcquireError::Held { .. }) => tracing::info!("another master was faster"),
            Err(error) => {
                tracing::error!(%error, "this master cannot lead");
                self.note(Role::Standby(None));
                self.stopping
                    .run_until_cancelled(tokio::time::sleep(PAUSE_AFTER_FAILURE))
                    .await;
            }
        }
        watch.forget();
        self.note(Role::Standby(None));
        Ok(None)
    }

    fn known(&self, leader: &Leader) -> Known {
        let others = |addresses: &Addresses| addresses.agents != self.own.agents && addresses.users != self.own.users;
        Known {
            term: leader.record.term,
            addresses: leader.addresses.clone().filter(others),
        }
    }

    fn note(&self, role: Role) {
        self.roles.send_if_modified(|present| {
            let is_new = *present != role;
            if is_new {
                if let Role::Standby(Some(known)) = &role {
                    tracing::info!(term = known.term.0, leader = ?known.addresses, "standing by");
                }
                *present = role;
            }
            is_new
        });
    }

    /// Leads until the lead is lost, or the process is to stop.
    async fn lead<L, F>(&self, taken: Taken, lead: &L) -> Result<Deposed, Error>
    where
        L: Fn(Postgres, Mandate) -> F,
        F: Future<Output = Result<TaskGroup, Error>>,
    {
        let lease = Lease::taken(self.lease, taken.sent);
        let lost = CancellationToken::new();
        let mandate = Mandate {
            tenure: Tenure::until(self.clock.clone(), lease.until()),
            stopping: self.stopping.child_token(),
            over: CancellationToken::new(),
            roles: self.roles.clone(),
        };
        let renewal = Renewal {
            candidate: self.candidate.clone(),
            clock: self.clock.clone(),
            term: taken.term,
            lease,
            tenure: mandate.tenure.clone(),
            over: mandate.over.clone(),
            lost: lost.clone(),
        };
        let renewal = AbortOnDropHandle::new(tokio::spawn(renewal.run()));
        let Some(started) = lost.run_until_cancelled(lead(taken.store, mandate.clone())).await else {
            mandate.stopping.cancel();
            return Ok(Deposed::Lost);
        };
        let led = match started {
            Ok(group) => {
                self.roles.send_replace(Role::Leader);
                tracing::info!(term = taken.term.0, "this master leads");
                self.serve(group, &mandate, &lost).await
            }
            Err(error) => {
                tracing::error!(%error, "this master cannot lead");
                Ok(Deposed::Unfit)
            }
        };
        mandate.over.cancel();
        // It ends by itself, and soon, one way or the other.
        if let Err(error) = renewal.await {
            tracing::error!(%error, "the renewal of the lead failed");
        }
        led
    }

    async fn serve(&self, group: TaskGroup, mandate: &Mandate, lost: &CancellationToken) -> Result<Deposed, Error> {
        let ending = async {
            lost.cancelled().await;
            mandate.stopping.cancel();
            self.note(Role::Standby(None));
            tokio::time::sleep(GRACE_OF_THE_DEPOSED).await;
        };
        tokio::select! {
            ended = group.run(GRACE) => match ended {
                Ok(()) => Ok(Deposed::Lost),
                Err(error) if is_deposed(&error) => {
                    tracing::warn!(%error, "this master was deposed");
                    Ok(Deposed::Lost)
                }
                Err(_) if lost.is_cancelled() => Ok(Deposed::Lost),
                Err(error) => Err(error.into()),
            },
            // What is still under way is dropped with its tasks.
            () = ending => Ok(Deposed::Lost),
        }
    }
}

/// Why a master leads no more.
enum Deposed {
    /// It has lost the lead, or let go of it.
    Lost,
    /// It cannot lead, for a reason of its own.
    Unfit,
}

/// Whether the driver ended because another master leads.
fn is_deposed(error: &shutdown::Error) -> bool {
    let shutdown::Error::Failed { reason, .. } = error else {
        return false;
    };
    let is_followed = |error: &driver::Error| {
        matches!(
            error,
            driver::Error::Deposed
                | driver::Error::Acquire(AcquireError::Followed { .. } | AcquireError::Held { .. })
                | driver::Error::Load(tombolo_store::Error::Deposed)
        )
    };
    reason.downcast_ref::<driver::Error>().is_some_and(is_followed)
}

fn database(error: AcquireError) -> Error {
    Error::Database(error.into())
}
