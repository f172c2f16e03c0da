//! The builds that are not over, and their jobs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::companions::Spread;
use super::edges::Edges;
use super::hooks::Stages;
use super::queue::{ClassId, Ticket};
use super::record::{Build, JobNode, JobStatus};
use super::volumes::Sharing;
use super::waits::Waits;
use crate::build::JobState;
use crate::build::extensions::takes_input;
use crate::id::{AttemptId, BuildId, JobId, ProjectId};
use crate::name::JobName;
use crate::share::Usage;

/// Where a job is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct JobKey {
    pub(super) build: BuildId,
    pub(super) index: u32,
}

/// One job. A million of them may be queued: what is added here is paid for a million times.
#[derive(Debug)]
pub(super) struct LiveJob {
    pub(super) node: JobNode,
    pub(super) status: JobStatus,
    /// How many of its edges come from parents that are not terminal.
    pub(super) pending: u32,
    /// It is noted in the outbox already.
    pub(super) touched: bool,
    /// The class that it is queued in.
    pub(super) class: Option<ClassId>,
    /// It counts for what its build and its project have.
    pub(super) charged: bool,
    /// Why its attempt does not go on, as the agent says.
    pub(super) waits: Option<Box<Waits>>,
}

impl LiveJob {
    pub(super) fn new(node: JobNode, status: JobStatus) -> Self {
        Self {
            pending: u32::try_from(node.parents.len()).unwrap_or(u32::MAX),
            node,
            status,
            touched: false,
            class: None,
            charged: false,
            waits: None,
        }
    }

    /// Whether it is given the output of this parent.
    pub(super) fn takes(&self, parent: &JobName) -> bool {
        takes_input(self.node.extensions.as_deref(), parent)
    }

    /// The attempt that a cluster has in hands now.
    pub(super) fn attempt(&self) -> Option<AttemptId> {
        let held = matches!(
            self.status.state,
            JobState::Assigned | JobState::Preparing | JobState::Running | JobState::Publishing
        );
        held.then_some(AttemptId {
            job: self.node.id,
            epoch: self.status.epoch,
        })
    }
}

/// One build.
#[derive(Debug)]
pub(super) struct LiveBuild {
    pub(super) record: Build,
    pub(super) jobs: Vec<LiveJob>,
    pub(super) edges: Edges,
    /// What the jobs that use its shared volume ask for; none if no job does.
    pub(super) sharing: Option<Box<Sharing>>,
    /// How many of its jobs are not terminal, and whose turn it is.
    pub(super) stages: Stages,
    /// What its attempts take.
    pub(super) usage: Usage,
    /// How many of its attempts are where that are to be spread.
    pub(super) spread: Spread,
    /// Queued jobs that its limits had no room for when it was their turn: they are in no class until it has.
    pub(super) held: BTreeSet<Ticket>,
}

impl LiveBuild {
    pub(super) fn job(&self, index: u32) -> Option<&LiveJob> {
        self.jobs.get(index as usize)
    }

    pub(super) fn job_mut(&mut self, index: u32) -> Option<&mut LiveJob> {
        self.jobs.get_mut(index as usize)
    }

    /// The direct parents whose outputs the job takes, as far as they leave one.
    pub(super) fn givers<'a>(&'a self, job: &'a LiveJob) -> impl Iterator<Item = &'a LiveJob> {
        self.parents(job).filter(|parent| job.takes(&parent.node.name))
    }

    /// The direct parents, in the order of the dependencies.
    pub(super) fn parents<'a>(&'a self, job: &'a LiveJob) -> impl Iterator<Item = &'a LiveJob> {
        job.node.parents.iter().filter_map(|(parent, _)| self.job(*parent))
    }
}

/// All builds that are not over.
#[derive(Debug, Default)]
pub(super) struct Builds {
    /// In boxes, since a tree of large values is large itself, and slow to walk.
    by_id: BTreeMap<BuildId, Box<LiveBuild>>,
    jobs: HashMap<JobId, JobKey>,
    running: HashMap<ProjectId, usize>,
}

impl Builds {
    pub(super) fn iter(&self) -> impl Iterator<Item = &LiveBuild> {
        self.by_id.values().map(Box::as_ref)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many jobs they have.
    pub(super) fn job_count(&self) -> usize {
        self.jobs.len()
    }

    /// How many builds of a project there are.
    pub(super) fn running_in(&self, project: ProjectId) -> usize {
        self.running.get(&project).copied().unwrap_or_default()
    }

    pub(super) fn get(&self, id: BuildId) -> Option<&LiveBuild> {
        self.by_id.get(&id).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, id: BuildId) -> Option<&mut LiveBuild> {
        self.by_id.get_mut(&id).map(Box::as_mut)
    }

    pub(super) fn key(&self, id: JobId) -> Option<JobKey> {
        self.jobs.get(&id).copied()
    }

    pub(super) fn job(&self, key: JobKey) -> Option<(&LiveBuild, &LiveJob)> {
        let build = self.get(key.build)?;
        Some((build, build.job(key.index)?))
    }

    pub(super) fn job_mut(&mut self, key: JobKey) -> Option<&mut LiveJob> {
        self.get_mut(key.build)?.job_mut(key.index)
    }

    pub(super) fn job_by_id(&self, id: JobId) -> Option<(&LiveBuild, &LiveJob)> {
        self.job(self.key(id)?)
    }

    pub(super) fn insert(&mut self, build: LiveBuild) {
        for (index, job) in (0_u32..).zip(&build.jobs) {
            let key = JobKey {
                build: build.record.id,
                index,
            };
            self.jobs.insert(job.node.id, key);
        }
        *self.running.entry(build.record.project).or_default() += 1;
        self.by_id.insert(build.record.id, Box::new(build));
    }

    /// Adds jobs to a build, after those that it has. Its edges have to be turned round again.
    pub(super) fn extend(&mut self, id: BuildId, jobs: Vec<LiveJob>) {
        let Some(build) = self.by_id.get_mut(&id) else { return };
        for job in jobs {
            build.stages.add(&job);
            let index = u32::try_from(build.jobs.len()).unwrap_or(u32::MAX);
            self.jobs.insert(job.node.id, JobKey { build: id, index });
            build.jobs.push(job);
        }
    }

    pub(super) fn remove(&mut self, id: BuildId) -> Option<LiveBuild> {
        let build = *self.by_id.remove(&id)?;
        for job in &build.jobs {
            self.jobs.remove(&job.node.id);
        }
        if let Some(count) = self.running.get_mut(&build.record.project) {
            *count -= 1;
            if *count == 0 {
                self.running.remove(&build.record.project);
            }
        }
        Some(build)
    }
}
