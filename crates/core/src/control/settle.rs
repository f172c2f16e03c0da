//! Ends jobs, and does what follows: children become ready or are skipped, the build ends with its last job.

use std::collections::BTreeSet;

use super::builds::{JobKey, LiveBuild, LiveJob};
use super::clusters::Clusters;
use super::outbox::Outbox;
use super::{Change, Control, EventKind};
use crate::build::{BuildState, JobKind, JobState, TerminalState};
use crate::id::BuildId;
use crate::name::ClusterName;

/// The states of jobs that a build takes over, the first that one of its jobs has; else it is finished.
pub(super) const WORST_FIRST: [TerminalState; 4] = [
    TerminalState::Killed,
    TerminalState::Error,
    TerminalState::Failure,
    TerminalState::Unstable,
];

impl Control {
    /// Ends a job that has not ended, and its attempt if it has one. What the job is to say of its end is in its status
    /// already, but for the state and the time.
    pub(super) fn end(&mut self, outbox: &mut Outbox, key: JobKey, state: TerminalState) {
        self.end_only(outbox, key, state);
        self.follow(outbox, key.build, vec![key.index]);
    }

    /// Ends a job without a look at its children: [`Control::follow`] has to be called after it.
    pub(super) fn end_only(&mut self, outbox: &mut Outbox, key: JobKey, state: TerminalState) {
        self.dequeue(key);
        self.keep_choice(key);
        self.release(key);
        self.recoveries.remove(&key);
        self.parked.remove(&key);
        if let Some(build) = self.builds.get_mut(key.build) {
            build.end_job(outbox, key.index, state);
            if build.job(key.index).is_some_and(LiveJob::was_placed_in_vain) {
                self.sharing_changed(outbox, key.build);
            }
        }
    }

    /// Ends a job as `error` without a look at its children.
    pub(super) fn fail_only(&mut self, outbox: &mut Outbox, key: JobKey, message: String) {
        if let Some(job) = self.builds.job_mut(key) {
            job.status.message = message;
        }
        self.end_only(outbox, key, TerminalState::Error);
    }

    /// Does what is next with new jobs of a build that wait for nobody.
    pub(super) fn begin(&mut self, outbox: &mut Outbox, id: BuildId, jobs: Vec<u32>) {
        let mut ended = Vec::new();
        for index in jobs {
            let Some(build) = self.builds.get_mut(id) else { break };
            match build.what_next(index, &self.clusters) {
                Next::Queue => self.enqueue(outbox, JobKey { build: id, index }),
                Next::End(state, message) => {
                    build.end_unrun(outbox, index, state, message);
                    ended.push(index);
                }
            }
        }
        self.follow(outbox, id, ended);
    }

    /// Does what follows from the end of some jobs of a build: in linear time, however deep the graph.
    pub(super) fn follow(&mut self, outbox: &mut Outbox, id: BuildId, mut ended: Vec<u32>) {
        loop {
            while !ended.is_empty() {
                let mut ready = self.settle(outbox, id, &mut ended);
                ready.sort_unstable();
                for index in ready {
                    let key = JobKey { build: id, index };
                    if let Err(message) = self.queue_or_wait(outbox, key, &[]) {
                        self.fail_only(outbox, key, message);
                        ended.push(index);
                    }
                }
            }
            ended = self.begin_stage(outbox, id);
            if ended.is_empty() {
                break;
            }
        }
        if self.builds.get(id).is_some_and(|build| build.stages.are_over()) {
            outbox.ended.push(id);
        }
    }

    /// Ends what is to end because of `ended`, which is empty then, and says which jobs have all that they wait for.
    fn settle(&mut self, outbox: &mut Outbox, id: BuildId, ended: &mut Vec<u32>) -> Vec<u32> {
        let mut ready = Vec::new();
        while let Some(index) = ended.pop() {
            ended.extend(self.stop_useless(outbox, JobKey { build: id, index }));
            let Some(build) = self.builds.get_mut(id) else { break };
            if build.only_array_cares(index) {
                continue;
            }
            for child in build.released(index) {
                if build.job(child).is_some_and(|job| !build.is_turn(job)) {
                    build.stages.hold(child);
                    continue;
                }
                match build.what_next(child, &self.clusters) {
                    Next::Queue => ready.push(child),
                    Next::End(state, message) => {
                        build.end_unrun(outbox, child, state, message);
                        ended.push(child);
                        let key = JobKey {
                            build: id,
                            index: child,
                        };
                        self.recoveries.remove(&key);
                        self.parked.remove(&key);
                    }
                }
            }
        }
        ready
    }

    /// Writes what was noted: every job that changed, and every build that ended, which is then forgotten.
    pub(super) fn write_out(&mut self, outbox: &mut Outbox) {
        let mut counted = BTreeSet::new();
        for key in std::mem::take(&mut outbox.touched) {
            let Some(build) = self.builds.get_mut(key.build) else {
                continue;
            };
            let Some(job) = build.job_mut(key.index) else { continue };
            job.touched = false;
            let (name, status) = (job.name(), job.status.clone());
            outbox.changes.push(Change::PutJob(status.clone()));
            outbox.event(&build.record, EventKind::Job { name, status });
            let graph = build.in_graph(key.index);
            if let Some(array) = build.array_mut(graph) {
                array.recount(key.index);
                counted.insert(JobKey { index: graph, ..key });
            }
        }
        for key in counted {
            if let Some((build, job)) = self.builds.job(key)
                && let Some(array) = build.array(key.index)
            {
                let (array, counts) = (job.id(), array.counts(&job.status));
                outbox.event(&build.record, EventKind::Indexes { array, counts });
            }
        }
        for id in std::mem::take(&mut outbox.ended) {
            let Some(mut build) = self.builds.remove(id) else {
                continue;
            };
            self.release_shared(outbox, &build);
            build.record.state = BuildState::Terminal(build.worst_before(usize::MAX));
            build.record.ended_at = Some(outbox.now.wall);
            outbox.changes.push(Change::PutBuild(build.record.clone()));
            outbox.event(&build.record, EventKind::Build(build.record.clone()));
        }
    }
}

/// What becomes of a job whose parents are all terminal.
pub(super) enum Next {
    /// It waits for a cluster.
    Queue,
    /// It ends without having run.
    End(TerminalState, String),
}

impl LiveBuild {
    /// What becomes of a job whose parents are all terminal.
    pub(super) fn what_next(&self, index: u32, clusters: &Clusters) -> Next {
        let Some(job) = self.job(index) else { return Next::Queue };
        if let Some(end) = self.uncalled(job) {
            return end;
        }
        if let Some(message) = self.refused_by_parent(job) {
            return Next::End(TerminalState::Skipped, message);
        }
        match job.node.kind {
            JobKind::Wait => return Next::End(TerminalState::Finished, String::new()),
            JobKind::Workflow => {
                let (state, message) = self.end_of_workflow(job);
                return Next::End(state, message);
            }
            JobKind::Run => {}
        }
        let exists = |cluster: &ClusterName| clusters.index(cluster).is_some();
        match self
            .lost_volume(job, exists)
            .or_else(|| self.lost_companion(job, exists))
        {
            Some(message) => Next::End(TerminalState::Error, message),
            None => Next::Queue,
        }
    }

    /// Which parent has ended as the job does not ask for, if one has.
    pub(super) fn refused_by_parent(&self, job: &LiveJob) -> Option<String> {
        job.node.parents.iter().find_map(|(parent, on)| {
            let parent = self.job(*parent)?;
            let state = parent.status.ended().filter(|state| !on.contains(*state))?;
            Some(format!("its parent `{}` ended as `{state}`", parent.node.name))
        })
    }

    /// How the jobs of a workflow ended, as a build of these jobs would: those that come before `job`, and whose names begin with its own.
    fn end_of_workflow(&self, job: &LiveJob) -> (TerminalState, String) {
        let mut seen = BTreeSet::new();
        let mut ends = Vec::new();
        let mut children = vec![job];
        while let Some(child) = children.pop() {
            for (index, _) in &child.node.parents {
                let Some(parent) = self.job(*index) else { continue };
                if parent.node.name.is_within(&job.node.name) && seen.insert(*index) {
                    ends.extend(parent.status.ended().map(|state| (state, *index)));
                    children.push(parent);
                }
            }
        }
        let worst = WORST_FIRST.into_iter().find_map(|worst| {
            let of = ends.iter().filter(|(state, _)| *state == worst);
            Some((worst, of.map(|(_, index)| *index).min()?))
        });
        match worst {
            Some((state, index)) => {
                let name = self.job(index).map(|job| job.node.name.as_str()).unwrap_or_default();
                (state, format!("its job `{name}` ended as `{state}`"))
            }
            None if !ends.is_empty() && ends.iter().all(|(state, _)| *state == TerminalState::Skipped) => {
                (TerminalState::Skipped, "all its jobs were skipped".to_owned())
            }
            None => (TerminalState::Finished, String::new()),
        }
    }

    /// Ends a job that no cluster has, and never will.
    pub(super) fn end_unrun(&mut self, outbox: &mut Outbox, index: u32, state: TerminalState, message: String) {
        if let Some(job) = self.job_mut(index) {
            job.status.message = message;
        }
        self.end_job(outbox, index, state);
    }

    /// Ends a job, or the attempt that makes the output of one again that has ended.
    pub(super) fn end_job(&mut self, outbox: &mut Outbox, index: u32, state: TerminalState) {
        let key = JobKey {
            build: self.record.id,
            index,
        };
        let Some(job) = self.job_mut(index) else { return };
        if job.status.is_recovering() {
            job.end_recovery(state);
        } else {
            job.status.state = JobState::Terminal(state);
            job.status.ended_at.get_or_insert(outbox.now.wall);
        }
        job.status.forget_retry();
        outbox.touch(key, job);
        let stage = job.node.stage();
        if self.only_array_cares(index) {
            if let Some(array) = self.array_of_mut(index) {
                array.note_end(index);
                let index = array.job;
                outbox.arrays.push(JobKey { index, ..key });
            }
        } else {
            self.stages.close(stage);
        }
    }

    /// Counts a parent of its children less that has ended, by index, and says which jobs wait for nobody any more by that.
    fn released(&mut self, ended: u32) -> Vec<u32> {
        let parent = self.in_graph(ended);
        let waits = |job: &LiveJob| job.status.state == JobState::Waiting && job.status.retry_at().is_none();
        let mut released = Vec::new();
        for place in 0..self.edges.children(parent).len() {
            let child = self.edges.children(parent)[place];
            let Some(job) = self.job_mut(child) else { continue };
            job.pending = job.pending.saturating_sub(1);
            if job.pending > 0 {
                continue;
            }
            if waits(job) {
                released.push(child);
            } else if let Some(array) = self.array(child) {
                let waiting = array.begun.values().filter(|index| waits(index));
                released.extend(waiting.map(|index| index.index));
            }
        }
        released
    }
}
