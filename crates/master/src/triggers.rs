//! Triggers: their builds, submitted when the schedule says or somebody asks.

pub mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tombolo_core::build::JobKind;
use tombolo_core::control::record::Build;
use tombolo_core::control::{Command, Firing, Refusal, Reply, Submission};
use tombolo_core::id::{BuildId, JobId, ProjectId};
use tombolo_core::name::TriggerName;
use tombolo_core::time::Timestamp;
use tombolo_core::trigger::{Trigger, TriggerFile};
use tombolo_jobfile::Faults;
use tombolo_store::Store;

use self::schedule::{Due, due};
use crate::Database;
use crate::clock::{self, Clock};
use crate::definitions::{Definitions, Unreadable};
use crate::driver::{ApplyError, Handle};

/// The longest time that the calendar's clock is not looked at: it may be set, or the machine may have slept.
const LOOK_AT_LEAST: Duration = Duration::from_secs(20);

/// The longest text that is kept of why a time made no build.
const OBSTACLE_BYTES: usize = 1024;

/// The most that the variables of a trigger have in all jobs of one build together, as much as those of a job file's own matrices may.
const VARIABLES_BYTES_MAX: usize = 16 << 20;

/// Why a trigger's build was not submitted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such trigger any more.
    #[error("trigger `{0}` does not exist")]
    Gone(TriggerName),
    /// Its job file is not valid (any more): a cluster's capability is gone, say, or the file has a fault.
    #[error("its job file is not valid: {}", first(.0))]
    Invalid(Box<Faults>),
    /// Every job would have them.
    #[error(
        "{runs} jobs with {bytes} bytes of variables each are more than {} MiB: give the trigger fewer of them",
        VARIABLES_BYTES_MAX >> 20
    )]
    TooMuch {
        /// How many jobs would run.
        runs: usize,
        /// What each would have.
        bytes: usize,
    },
    /// The control plane refuses it, or cannot say now.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The source cannot be read now.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The database cannot be read now.
    #[error(transparent)]
    Store(#[from] tombolo_store::Error),
}

impl Error {
    /// Whether a later try may go well.
    const fn may_pass(&self) -> bool {
        match self {
            Self::Gone(_) | Self::Invalid(_) | Self::TooMuch { .. } => false,
            // There is room when others have ended.
            Self::Apply(ApplyError::Refused(Refusal::Limit(_))) => true,
            Self::Apply(ApplyError::Refused(_)) => false,
            Self::Apply(_) | Self::Unreadable(_) | Self::Store(_) => true,
        }
    }
}

fn first(faults: &Faults) -> String {
    let first = faults.faults.first();
    first.map_or_else(String::new, |fault| {
        format!("{}:{}: {}: {}", faults.file, fault.line, fault.path, fault.message)
    })
}

/// Submits the builds of triggers. Cheap to clone; clones are one.
pub struct Triggers<S = Database> {
    handle: Handle,
    store: Arc<S>,
    definitions: Definitions,
    clock: Arc<dyn Clock>,
    changed: Arc<Notify>,
}

impl<S> Clone for Triggers<S> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            store: self.store.clone(),
            definitions: self.definitions.clone(),
            clock: self.clock.clone(),
            changed: self.changed.clone(),
        }
    }
}

impl<S: Store> Triggers<S> {
    /// Triggers of all projects.
    pub fn new(handle: Handle, store: Arc<S>, definitions: Definitions, clock: Arc<dyn Clock>) -> Self {
        Self {
            handle,
            store,
            definitions,
            clock,
            changed: Arc::default(),
        }
    }

    /// Says that there may be another schedule.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
    }

    /// Keeps to the schedules until `stopping`.
    pub async fn run(self, stopping: CancellationToken) {
        let keeping = async {
            loop {
                let pause = self.look().await.min(LOOK_AT_LEAST);
                // Whether it was that or this: all is looked at again.
                let _ = tokio::time::timeout(pause, self.changed.notified()).await;
            }
        };
        let _: Option<()> = stopping.run_until_cancelled(keeping).await;
    }

    /// Fires what is due, and tells how long there is nothing more to do.
    async fn look(&self) -> Duration {
        let triggers = self.handle.query(|control| {
            control
                .triggers()
                .filter(|one| one.schedule.is_some())
                .cloned()
                .collect::<Vec<_>>()
        });
        let Ok(triggers) = triggers.await else {
            return LOOK_AT_LEAST;
        };
        let mut pause = LOOK_AT_LEAST;
        // For all of them: who comes last must not be late because others took their time.
        let now = self.clock.now().wall;
        for trigger in triggers {
            match due(&trigger, now) {
                Due::Fire(time) => self.fire_scheduled(&trigger, time).await,
                Due::Missed(time) => {
                    let obstacle = "no master was there at this time".to_owned();
                    self.pass(&trigger, time, obstacle).await;
                }
                Due::Later(time) => pause = pause.min(Duration::from_millis(time.0 - now.0)),
                Due::Never => {}
            }
        }
        let took = self.clock.now().wall.0.saturating_sub(now.0);
        pause.saturating_sub(Duration::from_millis(took))
    }

    async fn fire_scheduled(&self, trigger: &Trigger, time: Timestamp) {
        let (project, name) = (trigger.project, &trigger.name);
        match self.fire(project, name, Some(time), &BTreeMap::new(), None).await {
            Ok(build) => tracing::info!(%project, trigger = %name, build = build.number, "a trigger fired"),
            Err(error) if error.may_pass() => {
                tracing::warn!(%project, trigger = %name, %error, "a trigger cannot fire yet; trying again");
            }
            Err(error) => {
                tracing::warn!(%project, trigger = %name, %error, "a trigger did not fire");
                self.pass(trigger, time, error.to_string()).await;
            }
        }
    }

    async fn pass(&self, trigger: &Trigger, scheduled: Timestamp, mut obstacle: String) {
        obstacle.truncate(obstacle.floor_char_boundary(OBSTACLE_BYTES));
        let passed = self.handle.apply(Command::PassTrigger {
            project: trigger.project,
            name: trigger.name.clone(),
            scheduled,
            obstacle,
        });
        // It is looked at again soon.
        if let Err(error) = passed.await {
            tracing::warn!(trigger = %trigger.name, %error, "that a trigger did not fire was not noted");
        }
    }

    /// Submits the build of a trigger: for a time of its schedule, or because somebody asked. `environment` outranks the trigger's own.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) async fn fire(
        &self,
        project: ProjectId,
        name: &TriggerName,
        scheduled: Option<Timestamp>,
        environment: &BTreeMap<String, String>,
        caller: Option<String>,
    ) -> Result<Build, Error> {
        let gone = || Error::Gone(name.clone());
        let wanted = name.clone();
        let found = self
            .handle
            .query(move |control| control.trigger(project, &wanted).cloned());
        let trigger = found.await?.ok_or_else(gone)?;
        let file = self.store.trigger_file(project, name.clone()).await?;
        let TriggerFile { name: file, text } = file.ok_or_else(gone)?;
        let read = self
            .definitions
            .read(project, trigger.source, file, text.into_bytes())
            .await?;
        let mut definition = read.map_err(|faults| Error::Invalid(Box::new(faults)))?;
        let variables = variables(&trigger, scheduled, environment);
        let runs = definition.jobs.iter().filter(|job| job.kind == JobKind::Run).count();
        let bytes: usize = variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        if runs.saturating_mul(bytes) > VARIABLES_BYTES_MAX {
            return Err(Error::TooMuch { runs, bytes });
        }
        for job in definition.jobs.iter_mut().filter(|job| job.kind == JobKind::Run) {
            for (variable, value) in &variables {
                job.secrets.remove(variable);
                job.environment.insert(variable.clone(), value.clone());
                job.passes_on.insert(variable.clone());
            }
        }
        let fresh = || clock::fresh_id(&*self.clock);
        let submission = Submission {
            id: BuildId::new(fresh()),
            project,
            jobs: definition.jobs.iter().map(|_| JobId::new(fresh())).collect(),
            definition,
            source: trigger.source,
            revision: trigger.revision,
            submitted_by: caller.unwrap_or_else(|| format!("trigger {name}")),
            rerun: None,
        };
        let firing = Firing {
            trigger: name.clone(),
            scheduled,
            submission,
        };
        match self.handle.apply(Command::Fire(Box::new(firing))).await? {
            Reply::Build(build) => Ok(build),
            reply => Err(Error::Apply(ApplyError::Refused(Refusal::Conflict(format!(
                "a trigger's reply is of another kind: {reply:?}"
            ))))),
        }
    }
}

/// What a trigger gives to the jobs of its build, the weakest first.
fn variables(
    trigger: &Trigger,
    scheduled: Option<Timestamp>,
    more: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for family in ["INFRABOX", "TOMBOLO"] {
        variables.insert(format!("{family}_CRONJOB"), scheduled.is_some().to_string());
        variables.insert(format!("{family}_CRONJOB_NAME"), trigger.name.to_string());
    }
    for given in [&trigger.environment, more] {
        variables.extend(given.iter().map(|(variable, value)| (variable.clone(), value.clone())));
    }
    variables
}

#[cfg(test)]
mod tests;
