//! The builds that are not over, and their jobs.

use std::collections::{BTreeSet, HashMap};

use std::sync::Arc;

use super::arrays::{FIRST_OF_INDEXES, LiveArray};
use super::companions::Spread;
use super::edges::Edges;
use super::hooks::Stages;
use super::queue::{ClassId, Ticket};
use super::record::{Build, JobNode, JobStatus};
use super::sharing::Sharing;
use super::waits::Waits;
use crate::build::JobState;
use crate::build::extensions::takes_input;
use crate::id::{AttemptId, BuildId, JobId, ProjectId};
use crate::name::JobName;
use crate::placement::Choice;
use crate::planted::{Bug, planted};
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
    /// Its number within the build: its place in the list of jobs, or what an index of an array has instead (see [`arrays`](super::arrays)).
    pub(super) index: u32,
    /// Of an index it is its array's.
    pub(super) node: Arc<JobNode>,
    pub(super) status: JobStatus,
    /// How many of its edges come from parents that are not terminal.
    pub(super) pending: u32,
    /// It is noted in the outbox already.
    pub(super) touched: bool,
    /// The class that it is queued in.
    pub(super) class: Option<ClassId>,
    /// It counts for what its build and its project have.
    pub(super) charged: bool,
    /// Why its attempt is where it is, if this process has placed it.
    pub(super) choice: Option<Choice>,
    /// Why its attempt does not go on, as the agent says.
    pub(super) waits: Option<Box<Waits>>,
    /// Of an index: the state that its array counts it in.
    pub(super) counted: Option<JobState>,
}

impl LiveJob {
    pub(super) fn new(node: JobNode, status: JobStatus) -> Self {
        Self {
            pending: u32::try_from(node.parents.len()).unwrap_or(u32::MAX),
            ..Self::of_index(node.index, Arc::new(node), status)
        }
    }

    /// The index of an array that has this number. What it waits for, its array knows.
    pub(super) fn of_index(index: u32, node: Arc<JobNode>, status: JobStatus) -> Self {
        Self {
            index,
            node,
            counted: Some(status.as_ended().state),
            status,
            pending: 0,
            touched: false,
            class: None,
            charged: false,
            choice: None,
            waits: None,
        }
    }

    /// Its own id.
    pub(super) const fn id(&self) -> JobId {
        self.status.id
    }

    /// Its own name.
    pub(super) fn name(&self) -> JobName {
        name_of(&self.node, self.status.id)
    }

    /// Whether it is an array whose indexes begin, or are over.
    pub(super) fn has_begun_as_array(&self) -> bool {
        self.is_array() && self.status.state != JobState::Waiting
    }

    /// Whether it is an array, which no cluster is ever given.
    pub(super) fn is_array(&self) -> bool {
        self.index < FIRST_OF_INDEXES && self.node.array().is_some()
    }

    /// The index whose output alone it takes of a parent that is an array, if so.
    fn takes_own_index(&self, parent: &Self) -> Option<u32> {
        let says = self.node.extensions.as_deref()?;
        let same = says.input(&parent.node.name)?.same_index;
        let (_, index) = self.id().array_and_index()?;
        (same && parent.is_array()).then_some(index)
    }

    /// Whether it takes of this parent's array what the same index has left, and nothing else.
    pub(super) fn takes_same_index(&self, parent: &Self) -> bool {
        let rule = self
            .node
            .extensions
            .as_deref()
            .and_then(|says| says.input(&parent.node.name));
        rule.is_some_and(|rule| rule.same_index)
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
        let held = held && !self.is_array();
        held.then_some(AttemptId {
            job: self.id(),
            epoch: self.status.epoch,
        })
    }
}

/// The name of the job with this node, or of the index of it that has this id.
pub(super) fn name_of(node: &JobNode, id: JobId) -> JobName {
    let index = id.array_and_index().map(|(_, index)| index);
    // Names that would be too long are refused with the array.
    let of_index = index.and_then(|index| node.name.of_index(index).ok());
    of_index.unwrap_or_else(|| node.name.clone())
}

/// One build.
#[derive(Debug)]
pub(super) struct LiveBuild {
    pub(super) record: Build,
    pub(super) jobs: Vec<LiveJob>,
    /// Those of them that are arrays, in the same order.
    pub(super) arrays: Vec<LiveArray>,
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
    /// The job, or the index of an array that has begun, with this number.
    pub(super) fn job(&self, index: u32) -> Option<&LiveJob> {
        if index < FIRST_OF_INDEXES {
            return self.jobs.get(index as usize);
        }
        let array = self.array_of(index)?;
        array.begun.get(&(index - array.first)).map(Box::as_ref)
    }

    pub(super) fn job_mut(&mut self, index: u32) -> Option<&mut LiveJob> {
        if index < FIRST_OF_INDEXES {
            return self.jobs.get_mut(index as usize);
        }
        let array = self.array_of_mut(index)?;
        array.begun.get_mut(&(index - array.first)).map(Box::as_mut)
    }

    /// The jobs whose outputs the job takes, as far as they leave one: direct parents, and indexes of those that are arrays.
    pub(super) fn givers<'a>(&'a self, job: &'a LiveJob) -> impl Iterator<Item = &'a LiveJob> {
        let taken = self.parents(job).filter(|parent| job.takes(&parent.node.name));
        let leaving = taken.flat_map(|parent| self.leaving(parent, job.takes_own_index(parent)));
        leaving.skip(usize::from(planted(Bug::InputLeftOut)))
    }

    /// The direct parent of a job, or the index of one that is an array, that has this id.
    pub(super) fn giver<'a>(&'a self, job: &'a LiveJob, id: JobId) -> Option<&'a LiveJob> {
        let in_graph = id.specified_by();
        let parent = self.parents(job).find(|parent| parent.node.id == in_graph)?;
        let index = id.array_and_index().map(|(_, index)| index);
        self.leaving(parent, index).find(|leaving| leaving.id() == id)
    }

    /// The direct parents, in the order of the dependencies.
    pub(super) fn parents<'a>(&'a self, job: &'a LiveJob) -> impl Iterator<Item = &'a LiveJob> {
        job.node.parents.iter().filter_map(|(parent, _)| self.job(*parent))
    }
}

/// All builds that are not over.
#[derive(Debug, Default)]
pub(super) struct Builds {
    /// In boxes, since a table of large values is large itself.
    by_id: HashMap<BuildId, Box<LiveBuild>>,
    /// All of them: in the order of their ids, which is the same in each process.
    order: BTreeSet<BuildId>,
    /// Indexes of arrays are not in it: their ids say whose they are.
    jobs: HashMap<JobId, JobKey>,
    /// How many indexes all arrays have.
    indexes: usize,
    running: HashMap<ProjectId, usize>,
}

impl Builds {
    pub(super) fn iter(&self) -> impl Iterator<Item = &LiveBuild> {
        self.order.iter().filter_map(|id| self.get(*id))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many jobs they have, with all indexes of arrays.
    pub(super) fn job_count(&self) -> usize {
        self.jobs.len() + self.indexes
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

    /// Where the job is kept, or the index of an array would be that has not begun.
    pub(super) fn key(&self, id: JobId) -> Option<JobKey> {
        let Some((array, index)) = id.array_and_index() else {
            return self.jobs.get(&id).copied();
        };
        let key = *self.jobs.get(&array)?;
        let array = self.get(key.build)?.array(key.index)?;
        (index < array.array.count).then(|| JobKey {
            index: array.first.saturating_add(index),
            ..key
        })
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
        self.indexes += build
            .arrays
            .iter()
            .map(|array| array.array.count as usize)
            .sum::<usize>();
        *self.running.entry(build.record.project).or_default() += 1;
        self.order.insert(build.record.id);
        self.by_id.insert(build.record.id, Box::new(build));
    }

    /// Adds jobs to a build, after those that it has. Its edges have to be turned round again.
    pub(super) fn extend(&mut self, id: BuildId, jobs: Vec<LiveJob>) {
        let Some(build) = self.by_id.get_mut(&id) else { return };
        let (first, arrays) = (build.jobs.len(), build.arrays.len());
        for job in jobs {
            build.stages.add(&job);
            let index = u32::try_from(build.jobs.len()).unwrap_or(u32::MAX);
            self.jobs.insert(job.node.id, JobKey { build: id, index });
            build.jobs.push(job);
        }
        build.note_arrays(first);
        let new = build.arrays.iter().skip(arrays);
        self.indexes += new.map(|array| array.array.count as usize).sum::<usize>();
    }

    pub(super) fn remove(&mut self, id: BuildId) -> Option<LiveBuild> {
        self.order.remove(&id);
        let build = *self.by_id.remove(&id)?;
        for job in &build.jobs {
            self.jobs.remove(&job.node.id);
        }
        self.indexes -= build
            .arrays
            .iter()
            .map(|array| array.array.count as usize)
            .sum::<usize>();
        if let Some(count) = self.running.get_mut(&build.record.project) {
            *count -= 1;
            if *count == 0 {
                self.running.remove(&build.record.project);
            }
        }
        Some(build)
    }
}
