//! Users who run builds again, as the master's REST does: it reads the database, plans, and submits a moment later.

use rand::RngExt;
use tombolo_core::attempt::Revision;
use tombolo_core::build::BuildState;
use tombolo_core::control::record::{Build, JobNode, JobStatus};
use tombolo_core::control::{Rerun, Submission};
use tombolo_core::id::{BuildId, JobId};
use tombolo_core::rerun::{self, Indexes, Scope};

use crate::keeping::gone;
use crate::master::PROJECT;
use crate::users::Act;
use crate::world::{Item, World};

/// The latest of a user's looks is so long before what follows from it.
const MOST_COMMITS: u32 = 3;

impl World {
    pub(crate) fn plan_reruns(&mut self) {
        if self.scenario.keeping.is_none() && self.rng.random_bool(0.7) {
            return;
        }
        for _ in 0..self.rng.random_range(1..=4) {
            let at = self.draw_time(self.scenario.heal_at);
            self.schedule.at(at, Item::User(Act::RerunAny));
        }
    }

    /// Runs a build again that is over, or some of it.
    pub(crate) fn rerun_any(&mut self) {
        let Some(clock) = self.draw_leader().and_then(|life| self.master.clock_of(life)) else {
            return;
        };
        let store = self.master.store();
        let over = store.builds.values().filter(|build| build.state != BuildState::Running);
        let over: Vec<Build> = over.cloned().collect();
        if over.is_empty() {
            return;
        }
        let build = &over[self.rng.random_range(0..over.len())];
        let jobs = self.jobs_of(build.id);
        let scope = match self.rng.random_range(0..4) {
            0 => Scope::All,
            1 => Scope::Failed,
            _ => Scope::Job {
                name: jobs[self.rng.random_range(0..jobs.len())].0.name.clone(),
                descendants: self.rng.random_bool(0.5),
            },
        };
        let now = self.now_at(clock).wall;
        let store = self.master.store();
        let specs = jobs.iter().filter_map(|(node, _)| store.specs.get(&node.id).cloned());
        let specs: Vec<_> = specs.collect();
        let mut indexes = Indexes::default();
        for (node, _) in jobs.iter().filter(|(node, _)| node.array().is_some()) {
            let all = store.statuses.range(node.id.of_index(0)..=node.id.of_index(u32::MAX));
            indexes.insert(node.id, all.map(|(_, status)| status.clone()).collect());
        }
        let keeping = self.scenario.keeping.as_ref();
        let gone = |node: &JobNode, status: &JobStatus| gone(keeping, build, node, status, now);
        let Ok(plan) = rerun::plan(&scope, &jobs, &specs, &indexes, &gone) else {
            return;
        };
        let ids = plan.definition.jobs.iter().map(|job| job.array().is_some());
        let ids: Vec<bool> = ids.collect();
        let jobs = ids.into_iter().map(|is_array| self.fresh_job(is_array)).collect();
        let submission = Submission {
            id: BuildId::from_u128(self.fresh()),
            project: PROJECT,
            definition: plan.definition,
            jobs,
            source: None,
            revision: Revision::default(),
            submitted_by: "user".to_owned(),
            rerun: Some(Box::new(Rerun {
                of: build.number,
                restarts: build.restarts + 1,
                jobs: plan.jobs,
            })),
        };
        let delay = self.draw_time(self.scenario.commit_time * MOST_COMMITS);
        let act = Act::Submit(Box::new(submission));
        self.schedule.after(delay, Item::User(act));
    }

    /// The jobs of a build with how they are, by index.
    fn jobs_of(&self, build: BuildId) -> Vec<(JobNode, JobStatus)> {
        let store = self.master.store();
        let of_build = store.nodes.values().filter(|node| node.build == build);
        let with_status = |node: &JobNode| Some((node.clone(), store.statuses.get(&node.id)?.clone()));
        let mut jobs: Vec<_> = of_build.filter_map(with_status).collect();
        jobs.sort_by_key(|(node, _)| node.index);
        jobs
    }

    /// A number for a job. That of an array leaves room for its indexes.
    pub(crate) fn fresh_job(&mut self, is_array: bool) -> JobId {
        let bits = self.fresh();
        JobId::from_u128(if is_array { bits << 32 } else { bits })
    }
}
