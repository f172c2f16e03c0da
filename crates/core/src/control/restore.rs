//! Builds the control plane from what is stored.

use super::arrays::LiveArray;
use super::builds::{JobKey, LiveBuild, LiveJob};
use super::clusters::{ClusterIndex, Lease};
use super::companions::Spread;
use super::edges::{self, Edges};
use super::hooks::Stages;
use super::outbox::Outbox;
use super::record::{Build, JobNode, JobStatus};
use super::sharing::Sharing;
use super::{Control, LiveState, Settings};
use crate::build::JobState;
use crate::id::{BuildId, JobId};
use crate::placement::Availability;
use crate::restoration::Restoration;
use crate::share::Usage;
use crate::time::Now;
use std::collections::{BTreeMap, BTreeSet};

/// The stored state contradicts itself. No command leads to such a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A build's project is missing.
    #[error("build {0} belongs to a project that does not exist")]
    UnknownProject(BuildId),
    /// A job's build is missing or over.
    #[error("job {0} belongs to a build that is not running")]
    UnknownBuild(JobId),
    /// A build's jobs are not numbered from 0 without gaps.
    #[error("build {0} lacks some of its jobs, or has one twice")]
    IncompleteBuild(BuildId),
    /// A build is running, but none of its jobs is.
    #[error("build {0} is running, but all its jobs are over")]
    NothingToDo(BuildId),
    /// A build's graph is not one.
    #[error("build {build}: {error}")]
    Graph {
        /// The build.
        build: BuildId,
        /// What is wrong.
        error: edges::Error,
    },
    /// An array's index is none.
    #[error("job {0} is said to be an index of an array, and there is no such array or index")]
    UnknownIndex(JobId),
    /// An attempt's cluster is missing.
    #[error("job {0} has an attempt on a cluster that does not exist")]
    UnknownCluster(JobId),
}

impl Control {
    /// The control plane as it was when `live` was written. The leases of all clusters begin anew at `now`: none of them
    /// is connected, but all are counted on until then.
    pub fn restore(settings: Settings, live: LiveState, now: Now) -> Result<Self, Error> {
        let mut control = Self::new(settings);
        for project in live.projects {
            control.queue.set_share(project.id, project.share.clone());
            control.projects.insert(project);
        }
        live.tokens.into_iter().for_each(|token| control.tokens.insert(token));
        live.secrets
            .into_iter()
            .for_each(|secret| control.secrets.insert(secret));
        live.triggers
            .into_iter()
            .for_each(|trigger| control.triggers.insert(trigger));
        live.invites
            .into_iter()
            .for_each(|invite| control.add_invite(now, invite));
        let lease = Lease::Runs {
            until: now.steady + control.settings.lease,
        };
        for cluster in live.clusters {
            let lease = match cluster.availability {
                Availability::Disabled => Lease::Over,
                _ => lease,
            };
            let is_handing_over = cluster.is_handing_over;
            let index = control.clusters.insert(cluster);
            control.set_lease(index, lease);
            if is_handing_over {
                control.count_handover(index, now.steady);
            }
        }
        control.lowest_epoch = live.restoration.map(Restoration::lowest_epoch).unwrap_or_default();
        control.restore_caches(live.caches, now);
        let mut jobs: BTreeMap<BuildId, Vec<(JobNode, JobStatus)>> = BTreeMap::new();
        let mut arrays: BTreeMap<JobId, BuildId> = BTreeMap::new();
        for job in live.jobs {
            if job.0.array().is_some() {
                arrays.insert(job.0.id, job.0.build);
            }
            jobs.entry(job.0.build).or_default().push(job);
        }
        let mut indexes: BTreeMap<BuildId, Vec<JobStatus>> = BTreeMap::new();
        for status in live.indexes {
            let build = arrays
                .get(&status.id.specified_by())
                .ok_or(Error::UnknownBuild(status.id))?;
            indexes.entry(*build).or_default().push(status);
        }
        for build in live.builds {
            let jobs = jobs.remove(&build.id).unwrap_or_default();
            let indexes = indexes.remove(&build.id).unwrap_or_default();
            control.restore_build(build, jobs, indexes, now)?;
        }
        if let Some((node, _)) = jobs.into_values().flatten().next() {
            return Err(Error::UnknownBuild(node.id));
        }
        let clusters: Vec<ClusterIndex> = control.clusters.iter().map(|(index, _)| index).collect();
        for index in clusters {
            control.note_availability(index, now.steady);
        }
        Ok(control)
    }

    fn restore_build(
        &mut self,
        record: Build,
        mut jobs: Vec<(JobNode, JobStatus)>,
        indexes: Vec<JobStatus>,
        now: Now,
    ) -> Result<(), Error> {
        let id = record.id;
        self.projects.get(record.project).ok_or(Error::UnknownProject(id))?;
        jobs.sort_unstable_by_key(|(node, _)| node.index);
        let complete = jobs
            .iter()
            .zip(0..)
            .all(|((node, status), index)| node.index == index && status.id == node.id);
        if !complete {
            return Err(Error::IncompleteBuild(id));
        }
        let (nodes, statuses): (Vec<JobNode>, Vec<JobStatus>) = jobs.into_iter().unzip();
        let edges = Edges::new(nodes.iter()).map_err(|error| Error::Graph { build: id, error })?;
        let sharing = Sharing::of(nodes.iter());
        let jobs: Vec<LiveJob> = nodes
            .into_iter()
            .zip(statuses)
            .map(|(node, status)| LiveJob::new(node, status))
            .collect();
        let stages = Stages::of(jobs.iter());
        let mut build = LiveBuild {
            record,
            jobs,
            arrays: Vec::new(),
            edges,
            sharing,
            stages,
            usage: Usage::default(),
            spread: Spread::default(),
            held: BTreeSet::new(),
        };
        build.note_arrays(0);
        build.take_indexes(indexes).map_err(Error::UnknownIndex)?;
        let recovering = |array: &LiveArray| array.begun.values().filter(|job| job.status.is_recovering()).count();
        for array in &build.arrays {
            let Some(stage) = build.jobs.get(array.job as usize).map(|job| job.node.stage()) else {
                continue;
            };
            (0..recovering(array)).for_each(|_| build.stages.reopen(stage));
        }
        if build.stages.are_over() {
            return Err(Error::NothingToDo(id));
        }
        build.count_pending();
        build.find_shared();
        self.builds.insert(build);
        self.resume(id, now)
    }

    /// Puts the build's queued jobs into the queue and its attempts on their clusters.
    fn resume(&mut self, id: BuildId, now: Now) -> Result<(), Error> {
        let jobs = self
            .builds
            .get(id)
            .into_iter()
            .flat_map(|build| build.all().map(move |job| (build, job)));
        let (mut queued, mut placed, mut retried, mut held) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (build, job) in jobs {
            let index = job.index;
            let key = JobKey { build: id, index };
            if job.status.is_recovering() {
                self.recoveries.insert(key);
            }
            if let Some(due) = job.status.retry_at() {
                retried.push((key, due));
            } else if job.status.state == JobState::Waiting && build.pending(index) == 0 {
                match build.is_turn(job) {
                    true => drop(self.parked.insert(key)),
                    false => held.push(index),
                }
            }
            if job.is_queued() {
                queued.push(key);
            } else if job.attempt().is_some() {
                let cluster = job
                    .status
                    .cluster
                    .as_ref()
                    .and_then(|name| self.clusters.by_name_mut(name));
                let (cluster, _) = cluster.ok_or(Error::UnknownCluster(job.id()))?;
                self.clusters.occupy(cluster, key, &job.node.resources);
                placed.push(key);
            }
        }
        if let Some(build) = self.builds.get_mut(id) {
            held.into_iter().for_each(|number| build.stages.hold(number));
        }
        placed.into_iter().for_each(|key| self.charge(key));
        for (key, due) in retried {
            self.resume_retry(key, due, now);
        }
        // Nothing of this is new: what would be written is dropped.
        let mut unchanged = Outbox::new(now);
        for key in queued {
            self.enqueue(&mut unchanged, key);
            if let Some(job) = self.builds.job_mut(key) {
                job.touched = false;
            }
        }
        Ok(())
    }
}

impl LiveBuild {
    /// Counts for each job the edges from parents that are not terminal; of a parent that is an array, also the indexes that make their
    /// outputs again.
    pub(super) fn count_pending(&mut self) {
        self.count_pending_from(0);
    }

    /// The same for the jobs from an index on.
    pub(super) fn count_pending_from(&mut self, first: usize) {
        let mut open: Vec<u32> = self
            .jobs
            .iter()
            .map(|job| u32::from(job.status.state.terminal().is_none()))
            .collect();
        for array in &self.arrays {
            let recovering = array.begun.values().filter(|job| job.status.is_recovering());
            if let Some(open) = open.get_mut(array.job as usize) {
                *open += u32::try_from(recovering.count()).unwrap_or(u32::MAX);
            }
        }
        for job in self.jobs.iter_mut().skip(first) {
            let parents = job.node.parents.iter();
            job.pending = parents
                .map(|(parent, _)| open.get(*parent as usize).copied().unwrap_or(1))
                .sum();
        }
    }
}
