//! Hooks of builds: jobs that wait until the others are over.
//!
//! A build goes through stages: its jobs, then those for a build that went wrong, then those for any. A stage begins when all jobs of the stages before it
//! are over. That is counted, not written: which stage a build is in follows from the states of its jobs.

use std::collections::BTreeSet;

use super::Control;
use super::builds::{JobKey, LiveBuild, LiveJob};
use super::outbox::Outbox;
use super::record::{JobNode, JobStatus};
use super::settle::{Next, WORST_FIRST};
use crate::build::extensions::Extensions;
use crate::build::hook::Hook;
use crate::build::{JobState, TerminalState};
use crate::id::BuildId;

/// The build's jobs, and those of each list of hooks.
const STAGES: usize = 1 + Hook::ALL.len();

/// How many jobs of a build are not over, by stage.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Stages {
    open: [usize; STAGES],
    /// The jobs that are hooks, by index.
    hooks: Vec<u32>,
    /// Hooks that had begun, had to wait again for what they need, and could go on but for a job before them that makes its output again.
    held: BTreeSet<u32>,
}

impl Stages {
    pub(super) fn of<'a>(jobs: impl Iterator<Item = &'a LiveJob>) -> Self {
        let mut stages = Self::default();
        for job in jobs {
            stages.add(job);
        }
        stages
    }

    /// A job comes to the build.
    pub(super) fn add(&mut self, job: &LiveJob) {
        if job.node.hook().is_some() {
            self.hooks.push(job.node.index);
        }
        if job.status.state.terminal().is_none() {
            self.open[job.node.stage()] += 1;
        }
    }

    /// A job that was over is not over any more: it makes its output again.
    pub(super) fn reopen(&mut self, stage: usize) {
        self.open[stage] += 1;
    }

    /// A job is over.
    pub(super) fn close(&mut self, stage: usize) {
        self.open[stage] = self.open[stage].saturating_sub(1);
    }

    /// A job could go on, and its stage has to come again first.
    pub(super) fn hold(&mut self, number: u32) {
        self.held.insert(number);
    }

    /// Whether all jobs are over.
    pub(super) fn are_over(&self) -> bool {
        self.open == [0; STAGES]
    }

    /// Whether everything before a stage is over.
    fn has_come(&self, stage: usize) -> bool {
        self.open[..stage].iter().all(|open| *open == 0)
    }
}

impl JobNode {
    /// The list of hooks that it is in, if it is in one.
    pub fn hook(&self) -> Option<Hook> {
        Extensions::hook_of(self.extensions.as_deref())
    }

    /// The place of its stage among the stages of its build.
    pub(super) fn stage(&self) -> usize {
        match self.hook() {
            None => 0,
            Some(Hook::OnError) => 1,
            Some(Hook::After) => 2,
        }
    }
}

impl LiveBuild {
    /// Whether the stage of a job has come.
    pub(super) fn is_turn(&self, job: &LiveJob) -> bool {
        self.stages.has_come(job.node.stage())
    }

    /// How the build would end if there were no jobs of this stage, nor of those after it.
    pub(super) fn worst_before(&self, stage: usize) -> TerminalState {
        let mut states = WORST_FIRST.into_iter();
        let before = || self.jobs.iter().filter(|job| job.node.stage() < stage);
        let has = |state: &TerminalState| before().any(|job| job.status.ended() == Some(*state));
        states.find(has).unwrap_or(TerminalState::Finished)
    }

    /// Why a hook whose stage has come has nothing to do, if that is so.
    pub(super) fn uncalled(&self, job: &LiveJob) -> Option<Next> {
        let hook = job.node.hook()?;
        let state = self.worst_before(job.node.stage());
        (!hook.is_called_by(state)).then(|| {
            let message =
                format!("it runs if the build would end as `error` or `failure`, and without it it is `{state}`");
            Next::End(TerminalState::Skipped, message)
        })
    }

    /// Hooks whose stage has come, and that nobody has begun with, or that were held until it came again.
    pub(super) fn due_hooks(&self) -> BTreeSet<u32> {
        let due = |number: &u32| {
            self.job(*number).filter(|job| {
                let waits = job.status.state == JobState::Waiting && job.status.retry_at().is_none();
                waits && self.pending(*number) == 0 && self.is_turn(job)
            })
        };
        let is_new = |number: &&u32| due(number).is_some_and(|job| !job.status.is_recovering());
        let new = self.stages.hooks.iter().filter(is_new);
        let go_on = self.stages.held.iter().filter(|number| due(number).is_some());
        new.chain(go_on).copied().collect()
    }

    /// The jobs that went wrong before a hook, for whoever reports it.
    pub(super) fn failed_before(&self, stage: usize) -> impl Iterator<Item = &LiveJob> {
        let is_bad = |status: &JobStatus| status.ended().is_some_and(|state| WORST_FIRST.contains(&state));
        self.jobs
            .iter()
            .filter(move |job| job.node.stage() < stage && is_bad(&job.status))
    }
}

impl Control {
    /// Begins with the hooks whose stage has come. Says which of them have ended by that.
    pub(super) fn begin_stage(&mut self, outbox: &mut Outbox, id: BuildId) -> Vec<u32> {
        let Some(build) = self.builds.get_mut(id) else {
            return Vec::new();
        };
        let mut due = build.due_hooks();
        build.stages.held.retain(|number| !due.contains(number));
        due.retain(|index| {
            !self.parked.contains(&JobKey {
                build: id,
                index: *index,
            })
        });
        let mut ended = Vec::new();
        for index in due {
            let Some(build) = self.builds.get_mut(id) else { break };
            match build.what_next(index, &self.clusters) {
                Next::Queue => {
                    let key = JobKey { build: id, index };
                    if let Err(message) = self.queue_or_wait(outbox, key, &[]) {
                        self.fail_only(outbox, key, message);
                        ended.push(index);
                    }
                }
                Next::End(state, message) => {
                    build.end_unrun(outbox, index, state, message);
                    ended.push(index);
                }
            }
        }
        ended
    }

    /// Whether a build that is cancelled spares its jobs for afterwards: so it is until nothing but they goes on, or all else has been told to stop.
    pub(super) fn spares_hooks(&self, id: BuildId) -> bool {
        let goes_on = |job: &&LiveJob| job.status.state.terminal().is_none() && !job.status.cancel_requested;
        self.builds.get(id).is_some_and(|build| {
            let mut others = build.all().filter(|job| job.node.hook() != Some(Hook::After));
            others.any(|job| goes_on(&job))
        })
    }
}
