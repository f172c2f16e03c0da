//! A store that fails on demand, around any other: for tests of whoever uses a store.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tombolo_core::build::array::Counts;
use tombolo_core::build::{JobSpec, JobState};
use tombolo_core::control::Change;
use tombolo_core::control::record::{Build, JobNode, JobStatus};
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, BuildId, JobId, ProjectId};
use tombolo_core::log::LogLine;
use tombolo_core::name::{ClusterName, SecretName, TriggerName};
use tombolo_core::restoration::Restoration;
use tombolo_core::secret::SealedValue;
use tombolo_core::time::Timestamp;
use tombolo_core::trigger::TriggerFile;

use crate::{
    AcquireError, CommitError, Error, JobRecord, KeptBuild, LeaderEpoch, LogState, LogWrite, Sequence, Snapshot, Store,
};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails, and nothing happened.
    Before,
    /// The call succeeds, but its caller does not learn it: a commit's outcome is unknown.
    After,
    /// The call fails with an unknown outcome, and nothing happened.
    Lost,
}

/// Which change sets the database will not have.
type Poison = Box<dyn Fn(&Change) -> bool + Send>;

/// How long the next commit takes: before it is made, and after that.
type Slowness = Box<dyn FnMut() -> (Duration, Duration) + Send>;

/// Who hears of what was committed.
type Witness = Box<dyn Fn(&[Change]) + Send>;

#[derive(Default)]
struct Plan {
    commits: VecDeque<Option<Fault>>,
    away: bool,
    reads: VecDeque<Option<Fault>>,
    poison: Option<Poison>,
    slowness: Option<Slowness>,
    witness: Option<Witness>,
    committed: u64,
    log_writes: u64,
    acquired: u64,
}

/// A store that fails on demand. Clones share their faults.
#[derive(Clone)]
pub struct Faulty<S> {
    inner: Arc<S>,
    plan: Arc<Mutex<Plan>>,
}

impl<S> fmt::Debug for Faulty<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Faulty").finish_non_exhaustive()
    }
}

impl<S> Faulty<S> {
    /// No faults yet.
    pub fn new(inner: S) -> Self {
        Self {
            inner: Arc::new(inner),
            plan: Arc::default(),
        }
    }

    /// The faults of the next commits, in order; none for a commit that goes well.
    pub fn fail_commits(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.plan().commits.extend(faults);
    }

    /// The faults of the next reads (specifications, logs, history, the last commit), in order.
    pub fn fail_reads(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.plan().reads.extend(faults);
    }

    /// From now on, a change set with a change like this is rejected.
    pub fn reject(&self, poison: impl Fn(&Change) -> bool + Send + 'static) {
        self.plan().poison = Some(Box::new(poison));
    }

    /// From now on, commits take the times that `slowness` says: before they are made, and until their callers learn it. Who is gone by then
    /// does not.
    pub fn slow_down(&self, slowness: impl FnMut() -> (Duration, Duration) + Send + 'static) {
        self.plan().slowness = Some(Box::new(slowness));
    }

    /// Tells what is committed at the moment when it is.
    pub fn watch(&self, witness: impl Fn(&[Change]) + Send + 'static) {
        self.plan().witness = Some(Box::new(witness));
    }

    /// From now on nothing works.
    pub fn leave(&self) {
        self.plan().away = true;
    }

    /// Everything works again, but for what is rejected.
    pub fn come_back(&self) {
        let mut plan = self.plan();
        plan.away = false;
        plan.commits.clear();
        plan.reads.clear();
    }

    /// How many commits were made.
    pub fn commits(&self) -> u64 {
        self.plan().committed
    }

    /// How many transactions wrote pieces of logs.
    pub fn log_writes(&self) -> u64 {
        self.plan().log_writes
    }

    /// How many leaderships were begun.
    pub fn leaderships(&self) -> u64 {
        self.plan().acquired
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_fault(&self) -> Result<(), Error> {
        let mut plan = self.plan();
        if plan.away || plan.reads.pop_front().flatten().is_some() {
            return Err(Error::Unavailable("a planned fault".to_owned()));
        }
        Ok(())
    }

    fn commit_fault(&self, changes: &[Change]) -> Result<Option<Fault>, CommitError> {
        let mut plan = self.plan();
        if plan.away {
            return Err(CommitError::Unavailable("away, as planned".to_owned()));
        }
        if plan.poison.as_ref().is_some_and(|poison| changes.iter().any(poison)) {
            return Err(CommitError::Rejected("poison, as planned".to_owned()));
        }
        Ok(plan.commits.pop_front().flatten())
    }
}

/// Without any time, there is not even a turn for others.
async fn pause(length: Duration) {
    if !length.is_zero() {
        tokio::time::sleep(length).await;
    }
}

impl<S: Store> Store for Faulty<S> {
    async fn acquire(&self) -> Result<LeaderEpoch, AcquireError> {
        if self.plan().away {
            return Err(Error::Unavailable("away, as planned".to_owned()).into());
        }
        self.plan().acquired += 1;
        self.inner.acquire().await
    }

    async fn note_restoration(&self, restoration: Restoration) -> Result<(), Error> {
        self.inner.note_restoration(restoration).await
    }

    async fn load(&self) -> Result<Snapshot, Error> {
        if self.plan().away {
            return Err(Error::Unavailable("away, as planned".to_owned()));
        }
        self.inner.load().await
    }

    async fn commit(
        &self,
        epoch: LeaderEpoch,
        sequence: Sequence,
        changes: Arc<Vec<Change>>,
    ) -> Result<(), CommitError> {
        let (before, after) = self.plan().slowness.as_mut().map(|slow| slow()).unwrap_or_default();
        pause(before).await;
        let fault = self.commit_fault(&changes)?;
        match fault {
            Some(Fault::Before) => return Err(CommitError::Unavailable("a planned fault".to_owned())),
            Some(Fault::Lost) => return Err(CommitError::Unknown("a planned fault".to_owned())),
            Some(Fault::After) | None => {}
        }
        self.inner.commit(epoch, sequence, Arc::clone(&changes)).await?;
        {
            let mut plan = self.plan();
            plan.committed += 1;
            plan.witness.iter().for_each(|witness| witness(&changes));
        }
        pause(after).await;
        if fault.is_some() {
            return Err(CommitError::Unknown("a planned fault".to_owned()));
        }
        Ok(())
    }

    async fn committed(&self, epoch: LeaderEpoch) -> Result<Sequence, Error> {
        self.read_fault()?;
        self.inner.committed(epoch).await
    }

    async fn specs(&self, jobs: Vec<JobId>) -> Result<Vec<(JobId, JobSpec)>, Error> {
        self.read_fault()?;
        self.inner.specs(jobs).await
    }

    async fn builds(&self, project: ProjectId, before: Option<u64>, limit: u32) -> Result<Vec<Build>, Error> {
        self.read_fault()?;
        self.inner.builds(project, before, limit).await
    }

    async fn kept_builds(
        &self,
        project: ProjectId,
        before: Option<u64>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<KeptBuild>, Error> {
        self.read_fault()?;
        self.inner.kept_builds(project, before, limit, now).await
    }

    async fn are_sources(&self, project: ProjectId, manifests: Vec<Digest>) -> Result<Vec<bool>, Error> {
        self.read_fault()?;
        self.inner.are_sources(project, manifests).await
    }

    async fn are_wanted(
        &self,
        cluster: ClusterName,
        project: ProjectId,
        manifests: Vec<Digest>,
        now: Timestamp,
    ) -> Result<Vec<bool>, Error> {
        self.read_fault()?;
        self.inner.are_wanted(cluster, project, manifests, now).await
    }

    async fn build_by_number(&self, project: ProjectId, number: u64) -> Result<Option<Build>, Error> {
        self.read_fault()?;
        self.inner.build_by_number(project, number).await
    }

    async fn build(&self, build: BuildId) -> Result<Option<Build>, Error> {
        self.read_fault()?;
        self.inner.build(build).await
    }

    async fn jobs(&self, build: BuildId, first: u32, limit: u32) -> Result<Vec<(JobNode, JobStatus)>, Error> {
        self.read_fault()?;
        self.inner.jobs(build, first, limit).await
    }

    async fn indexes(
        &self,
        array: JobId,
        first: u32,
        limit: u32,
        state: Option<JobState>,
    ) -> Result<Vec<JobStatus>, Error> {
        self.read_fault()?;
        self.inner.indexes(array, first, limit, state).await
    }

    async fn index_counts(&self, array: JobId) -> Result<Counts, Error> {
        self.read_fault()?;
        self.inner.index_counts(array).await
    }

    async fn job(&self, job: JobId) -> Result<Option<JobRecord>, Error> {
        self.read_fault()?;
        self.inner.job(job).await
    }

    async fn are_caches(
        &self,
        cluster: ClusterName,
        project: ProjectId,
        manifests: Vec<Digest>,
    ) -> Result<Vec<bool>, Error> {
        self.read_fault()?;
        self.inner.are_caches(cluster, project, manifests).await
    }

    async fn secrets(
        &self,
        project: ProjectId,
        names: Vec<SecretName>,
    ) -> Result<Vec<(SecretName, SealedValue)>, Error> {
        self.read_fault()?;
        self.inner.secrets(project, names).await
    }

    async fn secret_keys(&self) -> Result<Vec<String>, Error> {
        self.read_fault()?;
        self.inner.secret_keys().await
    }

    async fn trigger_file(&self, project: ProjectId, name: TriggerName) -> Result<Option<TriggerFile>, Error> {
        self.read_fault()?;
        self.inner.trigger_file(project, name).await
    }

    async fn append_log(&self, epoch: LeaderEpoch, writes: Vec<LogWrite>) -> Result<(), Error> {
        let fault = self
            .commit_fault(&[])
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        if matches!(fault, Some(Fault::Before | Fault::Lost)) {
            return Err(Error::Unavailable("a planned fault".to_owned()));
        }
        self.inner.append_log(epoch, writes).await?;
        self.plan().log_writes += 1;
        match fault {
            Some(_) => Err(Error::Unavailable("a planned fault".to_owned())),
            None => Ok(()),
        }
    }

    async fn read_log(&self, attempt: AttemptId, first: u64, limit: u32) -> Result<Vec<LogLine>, Error> {
        self.read_fault()?;
        self.inner.read_log(attempt, first, limit).await
    }

    async fn log_state(&self, attempt: AttemptId) -> Result<LogState, Error> {
        self.read_fault()?;
        self.inner.log_state(attempt).await
    }
}
