//! The attempts that this cluster has: each a folder on the disk, and a task that brings it to its end.
//!
//! What an attempt has reached is recorded in its folder before anybody is told. An agent that comes back finds all of it and
//! goes on: commands that run are attached to, everything else is done again, which costs little (chunks that arrived stay).

mod inputs;
mod life;
mod log;
mod outcome;
mod phases;
mod prepare;
mod publish;
mod reasons;
mod recover;
mod secrets;
mod wish;

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tombolo_core::attempt::{Outcome, Phase};
use tombolo_core::build::TerminalState;
use tombolo_core::id::AttemptId;
use tombolo_core::session::AttemptReport;
use tombolo_core::time::Timestamp;
use tombolo_runtime::clock;

use self::life::{Begin, Life};
use self::wish::Wish;
use crate::executor::{Executor, is_exclusive};
use crate::folder::AttemptFolder;
use crate::link::{Granted, Lease};
use crate::seam::{Instruction, Notice};
use crate::secrets::Source;
use crate::shipper::Shipper;
use crate::volumes::Volumes;

pub use self::inputs::Inputs;

/// How attempts are treated.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder that the attempts' folders are in; made if it does not exist.
    pub folder: PathBuf,
    /// How many commands run (or are being prepared or published) at once. At least one.
    pub slots: usize,
    /// How long an attempt that may be forgotten waits until the master has its log.
    pub log_patience: Duration,
}

/// What attempts need of the rest of the agent.
pub struct Surroundings<E> {
    /// Runs the commands.
    pub executor: E,
    /// Brings sources and inputs.
    pub inputs: Inputs,
    /// Brings the logs to the master.
    pub shipper: Shipper,
    /// Knows the values of secrets.
    pub secrets: Arc<dyn Source>,
    /// The volumes that attempts work with.
    pub volumes: Volumes,
    /// Where what happens is told.
    pub notices: mpsc::Sender<Notice>,
}

/// Why the attempts cannot be looked after.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of the attempts cannot be made or read.
    #[error("the folder of the attempts, {}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The attempts that an earlier agent has left on the disk.
pub struct Found {
    attempts: Vec<recover::Recovered>,
}

impl Found {
    /// Looks for them; what was never accepted is removed, and what `executor` knows to be lost has ended.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn look(settings: &Settings, executor: &impl Executor) -> Result<Self, Error> {
        let attempts = recover::find(&settings.folder, executor).map_err(|source| Error::Folder {
            path: settings.folder.clone(),
            source,
        })?;
        Ok(Self { attempts })
    }

    /// Which they are.
    pub fn attempts(&self) -> impl Iterator<Item = AttemptId> {
        self.attempts.iter().map(|recovered| recovered.attempt)
    }

    /// Those whose command ends with the lease.
    pub fn exclusive(&self) -> impl Iterator<Item = AttemptId> {
        let exclusive = |recovered: &&recover::Recovered| match &recovered.begin {
            Begin::Resume(assignment) => is_exclusive(assignment),
            _ => false,
        };
        self.attempts
            .iter()
            .filter(exclusive)
            .map(|recovered| recovered.attempt)
    }

    /// What a hello says of them.
    pub fn reports(&self) -> Vec<AttemptReport> {
        let report = |recovered: &recover::Recovered| AttemptReport {
            attempt: recovered.attempt,
            phase: recovered.phase.clone(),
        };
        self.attempts.iter().map(report).collect()
    }
}

pub(crate) struct Shared<E> {
    pub(crate) settings: Settings,
    pub(crate) surroundings: Surroundings<E>,
    /// Whether the agent may start commands.
    pub(crate) lease: Lease,
    pub(crate) slots: Arc<Semaphore>,
}

/// All attempts of this cluster.
pub struct Attempts<E: Executor> {
    shared: Arc<Shared<E>>,
    tasks: JoinSet<()>,
    /// By task, what it is about.
    owners: HashMap<Id, AttemptId>,
    wishes: HashMap<AttemptId, watch::Sender<Wish>>,
    lease: watch::Sender<Option<Granted>>,
    /// The leases of those whose command ends with that.
    holds: HashMap<AttemptId, watch::Sender<Option<Granted>>>,
}

impl<E: Executor> Attempts<E> {
    /// Goes on with the attempts that were found. To be called within a runtime.
    pub fn resume(settings: Settings, found: Found, surroundings: Surroundings<E>) -> Self {
        let slots = Arc::new(Semaphore::new(settings.slots.max(1)));
        let (lease, granted) = watch::channel(None);
        let mut attempts = Self {
            shared: Arc::new(Shared {
                settings,
                surroundings,
                lease: Lease::new(granted),
                slots,
            }),
            tasks: JoinSet::new(),
            owners: HashMap::new(),
            wishes: HashMap::new(),
            lease,
            holds: HashMap::new(),
        };
        for recovered in found.attempts {
            if let Begin::Resume(assignment) = &recovered.begin {
                let prepared = attempts.folder_of(recovered.attempt).prepared().exists();
                attempts.shared.surroundings.volumes.adopt(assignment, prepared);
            }
            attempts.begin(recovered.attempt, recovered.begin);
        }
        attempts
    }

    /// Carries out instructions until `shutdown`. What runs then goes on without the agent, and is found by the next one.
    ///
    /// # Errors
    /// None at present; faults of single attempts are their outcomes.
    pub async fn run(
        mut self,
        instructions: impl Stream<Item = Instruction>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut instructions = pin!(instructions);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                instruction = instructions.next() => match instruction {
                    Some(instruction) => self.instruct(instruction),
                    None => break,
                },
                Some(joined) = self.tasks.join_next_with_id() => self.joined(joined),
            }
        }
        // Only what this process does of them ends; commands have supervisors of their own.
        self.tasks.shutdown().await;
        Ok(())
    }

    fn instruct(&mut self, instruction: Instruction) {
        match instruction {
            Instruction::Start(assignment) if self.wishes.contains_key(&assignment.attempt) => {
                tracing::warn!(attempt = %assignment.attempt, "an attempt that is here was to be started again");
            }
            Instruction::Start(assignment) => self.begin(assignment.attempt, Begin::Accept(assignment)),
            Instruction::Stop { attempt, reason } => {
                if let Some(wish) = self.wishes.get(&attempt) {
                    wish.send_if_modified(|wish| {
                        let first = *wish == Wish::Run;
                        if first {
                            *wish = Wish::Stop(reason);
                        }
                        first
                    });
                }
            }
            Instruction::Lease(lease) => {
                self.lease.send_replace(Some(lease));
            }
            Instruction::Hold { attempt, lease } => {
                if let Some(hold) = self.holds.get(&attempt) {
                    hold.send_replace(Some(lease));
                }
            }
            Instruction::Release(volume) => {
                let release = self.shared.surroundings.volumes.clone().release(volume);
                self.tasks.spawn(release);
            }
            Instruction::Prefetch(prefetch) => {
                let surroundings = &self.shared.surroundings;
                if let Some(copied) = surroundings.inputs.prefetch(*prefetch) {
                    // The master asks again.
                    let _ = surroundings.notices.try_send(Notice::Copied(copied));
                }
            }
            Instruction::Forget(attempt) => match self.wishes.get(&attempt) {
                Some(wish) => {
                    wish.send_replace(Wish::Forget);
                }
                None => self.begin_forgetting(attempt),
            },
        }
    }

    fn begin(&mut self, attempt: AttemptId, begin: Begin) {
        self.begin_with(attempt, begin, Wish::Run);
    }

    /// Of an attempt that is not here nothing should be left; it is looked all the same.
    fn begin_forgetting(&mut self, attempt: AttemptId) {
        self.begin_with(attempt, Begin::Nothing, Wish::Forget);
    }

    fn begin_with(&mut self, attempt: AttemptId, begin: Begin, wish: Wish) {
        let (sender, receiver) = watch::channel(wish);
        let folder = self.folder_of(attempt);
        let (hold, held) = watch::channel(None);
        let life = Life::new(Arc::clone(&self.shared), attempt, folder, (receiver, Lease::new(held)));
        let task = self.tasks.spawn(life.run(begin));
        self.owners.insert(task.id(), attempt);
        self.wishes.insert(attempt, sender);
        self.holds.insert(attempt, hold);
    }

    fn folder_of(&self, attempt: AttemptId) -> AttemptFolder {
        AttemptFolder::new(self.shared.settings.folder.join(attempt.to_string()))
    }

    /// A task that ended well has left nothing of its attempt. One that panicked met a bug of ours, which is an error of its
    /// attempt and of no other.
    fn joined(&mut self, joined: Result<(Id, ()), JoinError>) {
        let (id, panicked) = match joined {
            Ok((id, ())) => (id, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        let Some(attempt) = self.owners.remove(&id) else { return };
        let wish = self.wishes.remove(&attempt);
        self.holds.remove(&attempt);
        if !panicked {
            return;
        }
        tracing::error!(%attempt, "the task of an attempt panicked");
        let wish = wish.map_or(Wish::Run, |wish| *wish.borrow());
        let reason = "the agent has met a bug of its own; its log says which".to_owned();
        self.begin_with(attempt, Begin::Broken(reason), wish);
    }
}

/// The outcome of an attempt that the system failed before there was anything to tell.
pub(crate) fn faulty(message: impl Into<String>, ended_at: Timestamp) -> Outcome {
    Outcome {
        state: TerminalState::Error,
        exit_code: None,
        message: message.into(),
        started_at: None,
        ended_at,
        output: None,
        cache: None,
        inputs: Vec::new(),
        lost_inputs: Vec::new(),
        lease_ended: false,
        lost: false,
        log_lines: 0,
        generated: None,
    }
}

pub(crate) fn wall() -> Timestamp {
    Timestamp(clock::now().wall_milliseconds)
}

/// The notice of a phase.
pub(crate) const fn progressed(attempt: AttemptId, phase: Phase) -> Notice {
    Notice::Progressed { attempt, phase }
}
