//! Ends jobs, and does what follows: children become ready or are skipped, the build ends with its last job.

use super::builds::{JobKey, LiveBuild, LiveJob};
use super::clusters::Clusters;
use super::outbox::Outbox;
use super::{Change, Control, EventKind};
use crate::build::{BuildState, JobState, TerminalState};
use crate::id::BuildId;

/// The states of jobs that a build takes over, the first that one of its jobs has; else it is finished.
const WORST_FIRST: [TerminalState; 4] = [
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
        self.release(key);
        if let Some(build) = self.builds.get_mut(key.build) {
            build.end_job(outbox, key.index, state);
            if build.job(key.index).is_some_and(LiveJob::was_placed_in_vain) {
                self.sharing_changed(outbox, key.build);
            }
        }
    }

    /// Does what follows from the end of some jobs of a build: in linear time, however deep the graph.
    pub(super) fn follow(&mut self, outbox: &mut Outbox, id: BuildId, mut ended: Vec<u32>) {
        let Some(build) = self.builds.get_mut(id) else { return };
        let mut ready = Vec::new();
        while let Some(parent) = ended.pop() {
            for place in 0..build.edges.children(parent).len() {
                let child = build.edges.children(parent)[place];
                let Some(job) = build.job_mut(child) else { continue };
                job.pending = job.pending.saturating_sub(1);
                if job.pending > 0 || job.status.state != JobState::Waiting {
                    continue;
                }
                match build.what_next(child, &self.clusters) {
                    Next::Queue => ready.push(child),
                    Next::End(state, message) => {
                        build.end_job(outbox, child, state);
                        if let Some(job) = build.job_mut(child) {
                            job.status.message = message;
                        }
                        ended.push(child);
                    }
                }
            }
        }
        if build.open == 0 {
            outbox.ended.push(id);
        }
        ready.sort_unstable();
        for index in ready {
            self.enqueue(outbox, JobKey { build: id, index });
        }
    }

    /// Writes what was noted: every job that changed, and every build that ended, which is then forgotten.
    pub(super) fn write_out(&mut self, outbox: &mut Outbox) {
        for key in std::mem::take(&mut outbox.touched) {
            let Some(build) = self.builds.get_mut(key.build) else {
                continue;
            };
            let Some(job) = build.job_mut(key.index) else { continue };
            job.touched = false;
            let status = job.status.clone();
            let name = job.node.name.clone();
            outbox.changes.push(Change::PutJob(status.clone()));
            outbox.event(&build.record, EventKind::Job { name, status });
        }
        for id in std::mem::take(&mut outbox.ended) {
            let Some(mut build) = self.builds.remove(id) else {
                continue;
            };
            self.release_shared(outbox, &build);
            build.record.state = BuildState::Terminal(build.worst());
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
        for (parent, on) in &job.node.parents {
            let Some(parent) = self.job(*parent) else { continue };
            if let Some(state) = parent.status.state.terminal().filter(|state| !on.contains(*state)) {
                let message = format!("its parent `{}` ended as `{state}`", parent.node.name);
                return Next::End(TerminalState::Skipped, message);
            }
        }
        match self.lost(job, clusters) {
            Some(message) => Next::End(TerminalState::Error, message),
            None => Next::Queue,
        }
    }

    /// Says which input or volume of the job cannot be had any more, if there is one.
    pub(super) fn lost(&self, job: &LiveJob, clusters: &Clusters) -> Option<String> {
        let volume = || self.lost_volume(job, |cluster| clusters.index(cluster).is_some());
        self.lost_input(job, clusters).or_else(volume)
    }

    /// Says which input of the job cannot be had any more, if there is one.
    fn lost_input(&self, job: &LiveJob, clusters: &Clusters) -> Option<String> {
        self.parents(job).find_map(|parent| {
            parent.status.output?;
            let cluster = parent.status.cluster.as_ref()?;
            clusters.index(cluster).is_none().then(|| {
                format!(
                    "the output of its parent `{}` is lost: cluster `{cluster}`, which had it, was removed",
                    parent.node.name
                )
            })
        })
    }

    fn end_job(&mut self, outbox: &mut Outbox, index: u32, state: TerminalState) {
        let key = JobKey {
            build: self.record.id,
            index,
        };
        let Some(job) = self.job_mut(index) else { return };
        job.status.state = JobState::Terminal(state);
        job.status.ended_at.get_or_insert(outbox.now.wall);
        outbox.touch(key, job);
        self.open = self.open.saturating_sub(1);
    }

    fn worst(&self) -> TerminalState {
        let mut states = WORST_FIRST.into_iter();
        let has = |state: &TerminalState| self.jobs.iter().any(|job| job.status.state.terminal() == Some(*state));
        states.find(has).unwrap_or(TerminalState::Finished)
    }
}
