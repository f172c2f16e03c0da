//! One attempt, from acceptance to oblivion.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tombolo_core::attempt::{Assignment, Outcome, Phase};
use tombolo_core::id::{AttemptId, ProjectId};
use tombolo_core::time::Timestamp;
use tombolo_runtime::blocking;

use super::outcome::Verdict;
use super::phases::{Start, limits};
use super::prepare::{Prepared, bring_again, prepare};
use super::reasons::tell_reasons;
use super::wish::{Wish, unless_stopped, until_forgotten, until_stopped};
use super::{Shared, faulty, inputs, log, progressed, secrets, wall};
use crate::executor::{self, Collected, Executor, Running, Urgency, is_exclusive};
use crate::folder::{AttemptFolder, Durability, read_record, write_record};
use crate::link::Lease;
use crate::mask::Masker;
use crate::pauses::Pauses;
use crate::seam::Notice;
use crate::secrets::Values;
use crate::supervisor::{Ending, Exit, Usage};

/// How long to wait before something that the disk or the system refused is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Where a life begins.
pub(super) enum Begin {
    /// It was just assigned.
    Accept(Box<Assignment>),
    /// It was accepted by an earlier agent.
    Resume(Box<Assignment>),
    /// It has ended.
    Ended(Box<Outcome>),
    /// It cannot go on, for this reason; something of it may run.
    Broken(String),
    /// It is not here at all.
    Nothing,
}

pub(super) struct Life<E> {
    pub(super) shared: Arc<Shared<E>>,
    attempt: AttemptId,
    pub(super) folder: AttemptFolder,
    wish: watch::Receiver<Wish>,
    /// The lease, if the command ends with that.
    held: Lease,
    /// Whose it is, as far as that is known.
    project: Option<ProjectId>,
    /// Takes its secrets out of messages; none before they are known.
    pub(super) masker: Option<Masker>,
}

/// Why an attempt does not get to the end of its command.
pub(super) enum Broken {
    /// Somebody wants its end before its command has started.
    Stopped,
    /// The system fails it.
    Fault(String),
    /// Inputs did not come; those are named that nobody gave.
    Input(Box<inputs::Error>),
    /// The job itself is at fault.
    Job(String),
}

impl<E: Executor> Life<E> {
    pub(super) fn new(
        shared: Arc<Shared<E>>,
        attempt: AttemptId,
        folder: AttemptFolder,
        (wish, held): (watch::Receiver<Wish>, Lease),
    ) -> Self {
        Self {
            shared,
            attempt,
            folder,
            wish,
            held,
            project: None,
            masker: None,
        }
    }

    /// Lives until the attempt is to be forgotten, and then removes what is left of it.
    pub(super) async fn run(mut self, begin: Begin) {
        let mut wish = self.wish.clone();
        let shipper = self.shared.surroundings.shipper.clone();
        shipper.ship(self.attempt, self.folder.log());
        let ended = tokio::select! {
            ended = self.live(begin) => ended,
            () = until_forgotten(&mut wish) => false,
        };
        if ended {
            // Nobody forgets an attempt before its end is known, so that its log has had a start by then.
            let patience = self.shared.settings.log_patience;
            let shipping = async {
                until_forgotten(&mut wish).await;
                tokio::time::sleep(patience).await;
            };
            let drained = async {
                shipper.drained(self.attempt).await;
                until_forgotten(&mut self.wish.clone()).await;
            };
            tokio::select! {
                () = drained => {}
                () = shipping => {
                    tracing::warn!(attempt = %self.attempt, "the end of a log did not reach the master in time; it is removed");
                }
            }
        }
        shipper.stop(self.attempt);
        self.remove().await;
        self.shared.surroundings.volumes.let_go(self.attempt);
        self.tell(Notice::Forgotten(self.attempt)).await;
        if let Some(project) = self.project {
            self.shared.surroundings.inputs.end_upload(project, self.attempt).await;
        }
    }

    /// Brings the attempt to its recorded end. Whether it has one worth keeping until it is forgotten.
    async fn live(&mut self, begin: Begin) -> bool {
        let outcome = match begin {
            Begin::Nothing => {
                std::future::pending::<()>().await;
                return false;
            }
            Begin::Ended(outcome) => *outcome,
            Begin::Accept(assignment) => {
                self.accept(&assignment).await;
                self.conclude(&assignment).await
            }
            Begin::Resume(assignment) => self.conclude(&assignment).await,
            Begin::Broken(reason) => {
                let outcome = self.broken_off(Broken::Fault(reason)).await;
                self.record(&outcome).await;
                outcome
            }
        };
        self.report(Phase::Ended(outcome)).await;
        true
    }

    /// Records the assignment. As long as that is not possible, the master is not told and asks again.
    async fn accept(&self, assignment: &Assignment) {
        let root = self.shared.settings.folder.clone();
        self.persistently("record an assignment", || {
            let (root, folder, assignment) = (root.clone(), self.folder.clone(), assignment.clone());
            blocking::run(move || {
                match std::fs::create_dir(folder.path()) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
                write_record(&folder.assignment(), &assignment, Durability::Synced)?;
                std::fs::File::open(&root)?.sync_all()
            })
        })
        .await;
        self.report(Phase::Accepted).await;
    }

    /// Carries it out and records the outcome.
    async fn conclude(&mut self, assignment: &Assignment) -> Outcome {
        let outcome = match self.carry_out(assignment).await {
            Ok(outcome) => outcome,
            Err(broken) => self.broken_off(broken).await,
        };
        self.record(&outcome).await;
        outcome
    }

    async fn record(&self, outcome: &Outcome) {
        self.persistently("record the end of an attempt", || {
            let (path, outcome) = (self.folder.ended(), outcome.clone());
            blocking::run(move || write_record(&path, &outcome, Durability::Synced))
        })
        .await;
    }

    async fn carry_out(&mut self, assignment: &Assignment) -> Result<Outcome, Broken> {
        let _slot = self.slot().await?;
        self.project = Some(assignment.build.project);
        let prepared = match read_record(&self.folder.prepared()).map_err(fault)? {
            Some(prepared) => prepared,
            None => {
                self.report(Phase::Preparing).await;
                let mut wish = self.wish.clone();
                tokio::select! {
                    prepared = prepare(&self.shared, &self.folder, assignment) => prepared?,
                    () = until_stopped(&mut wish) => return Err(Broken::Stopped),
                }
            }
        };
        self.hint();
        let result = self.command(assignment, &prepared).await?;
        self.publish(assignment, result, prepared.inputs).await
    }

    /// The right to use the machine. Attempts that run already have been given theirs first.
    async fn slot(&mut self) -> Result<OwnedSemaphorePermit, Broken> {
        let slots = Arc::clone(&self.shared.slots);
        tokio::select! {
            slot = slots.acquire_owned() => Ok(slot.expect("the slots are never closed")),
            () = until_stopped(&mut self.wish) => Err(Broken::Stopped),
        }
    }

    /// Runs the command to its end, and stores what it leaves behind.
    async fn command(&mut self, assignment: &Assignment, prepared: &Prepared) -> Result<(Exit, Collected), Broken> {
        let mut lease = match is_exclusive(assignment) {
            true => self.held.clone(),
            false => self.shared.lease.clone(),
        };
        let shared = Arc::clone(&self.shared);
        let mut values = Values::default();
        if !self.folder.started().exists() && !self.folder.exit().exists() {
            let permitted = async {
                lease.valid().await;
                secrets::find(&shared, assignment).await
            };
            let permitted = unless_stopped(&mut self.wish, permitted).await;
            values = permitted.ok_or(Broken::Stopped)??;
            self.masker = Some(Masker::new(&values));
        }
        let start = Start::now(&limits(assignment));
        let mut running = shared
            .surroundings
            .executor
            .start(
                &self.folder,
                assignment,
                &values,
                is_exclusive(assignment).then(|| lease.clone()),
            )
            .await
            .map_err(broken)?;
        let reasons = tell_reasons(running.reason(), self.attempt, shared.surroundings.notices.clone());
        let again = bring_again(&shared, assignment, running.losses());
        tokio::select! {
            result = self.go_on(&mut running, &start, lease, prepared) => result,
            error = again => Err(Broken::Input(Box::new(error))),
            () = reasons => Err(fault("nobody is told any more why an attempt waits")),
        }
    }

    /// Waits for the beginning and the end of a command that was started, and for what it leaves behind.
    async fn go_on(
        &mut self,
        running: &mut E::Running,
        start: &Start,
        mut lease: Lease,
        prepared: &Prepared,
    ) -> Result<(Exit, Collected), Broken> {
        let shared = Arc::clone(&self.shared);
        let attempt = self.attempt;
        let on_output = || shared.surroundings.shipper.hint(attempt);
        let mut stopping = false;
        let begun = start
            .until_begun(running, &mut lease, on_output, &mut self.wish, &mut stopping)
            .await?;
        if let Some(started_at) = begun {
            let inputs = prepared.inputs.clone();
            self.report(Phase::Running { started_at, inputs }).await;
        }
        let exit = loop {
            tokio::select! {
                ended = running.ended(on_output) => break ended.map_err(broken)?,
                () = until_stopped(&mut self.wish), if !stopping => {
                    stopping = true;
                    running.stop(Urgency::Graceful).await.map_err(broken)?;
                }
            }
        };
        self.report(Phase::Publishing).await;
        let collected = running.collect().await.map_err(broken)?;
        Ok((exit, collected))
    }

    /// The outcome of an attempt whose command did not run, or was lost. Nothing of it goes on.
    async fn broken_off(&self, broken: Broken) -> Outcome {
        let executor = &self.shared.surroundings.executor;
        if let Err(error) = executor.clear(&self.folder, self.attempt).await {
            tracing::warn!(attempt = %self.attempt, %error, "cannot clear up after an attempt");
        }
        let started: Option<crate::supervisor::Started> = read_record(&self.folder.started()).unwrap_or_default();
        let started_at = started.map(|started| started.started_at);
        let prepared: Prepared = read_record(&self.folder.prepared())
            .unwrap_or_default()
            .unwrap_or_default();
        let message = match &broken {
            Broken::Stopped => "cancelled before its command started".to_owned(),
            Broken::Fault(reason) | Broken::Job(reason) => reason.clone(),
            Broken::Input(error) => error.to_string(),
        };
        let message = match &self.masker {
            Some(masker) => masker.text(&message).into_owned(),
            None => message,
        };
        // Without a log, the message in the outcome has to do.
        let log_lines = log::note(&self.folder, vec![message.clone()]).await.unwrap_or(0);
        match broken {
            Broken::Stopped => {
                Verdict::killed(&message).outcome(&no_exit(started_at), log_lines, prepared.inputs, None)
            }
            Broken::Job(_) => {
                Verdict::failure(&message).outcome(&no_exit(started_at), log_lines, prepared.inputs, None)
            }
            Broken::Fault(_) => Outcome {
                started_at,
                inputs: prepared.inputs,
                log_lines,
                ..faulty(message, wall())
            },
            Broken::Input(error) => Outcome {
                lost_inputs: error.lost_inputs(),
                inputs: error.receipts(),
                log_lines,
                ..faulty(message, wall())
            },
        }
    }

    /// Removes what is left of the attempt, however often that has to be tried.
    async fn remove(&self) {
        let executor = &self.shared.surroundings.executor;
        let mut pauses = Pauses::new(PAUSES);
        while let Err(error) = executor.clear(&self.folder, self.attempt).await {
            tracing::warn!(attempt = %self.attempt, %error, "cannot clear up after an attempt; trying again");
            tokio::time::sleep(pauses.next()).await;
        }
        self.persistently("remove the folder of an attempt", || {
            let path = self.folder.path().to_owned();
            blocking::run(move || tombolo_artifact::remove_tree(&path))
        })
        .await;
    }

    /// Does what must be done, again and again: a full disk gets room, a broken one gets replaced.
    async fn persistently<T: Future<Output = io::Result<()>>>(&self, what: &'static str, work: impl Fn() -> T) {
        let mut pauses = Pauses::new(PAUSES);
        while let Err(error) = work().await {
            let pause = pauses.next();
            tracing::error!(attempt = %self.attempt, %error, ?pause, "cannot {what}; trying again");
            tokio::time::sleep(pause).await;
        }
    }

    /// The log has grown.
    pub(super) fn hint(&self) {
        self.shared.surroundings.shipper.hint(self.attempt);
    }

    async fn report(&self, phase: Phase) {
        self.tell(progressed(self.attempt, phase)).await;
    }

    /// Nobody listens when the agent is stopping; the next one tells.
    async fn tell(&self, notice: Notice) {
        let _ = self.shared.surroundings.notices.send(notice).await;
    }
}

pub(super) fn broken(error: executor::Error) -> Broken {
    match error {
        executor::Error::Job(reason) => Broken::Job(reason),
        executor::Error::Stopped => Broken::Stopped,
        error => fault(error),
    }
}

pub(super) fn fault(error: impl std::fmt::Display) -> Broken {
    Broken::Fault(error.to_string())
}

fn no_exit(started_at: Option<Timestamp>) -> Exit {
    Exit {
        ending: Ending::Stopped,
        started_at,
        ended_at: wall(),
        log_lines: 0,
        usage: Usage::default(),
    }
}
