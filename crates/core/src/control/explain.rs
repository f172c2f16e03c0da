//! Why jobs are where they are.

use super::Control;
use super::builds::{JobKey, LiveBuild, LiveJob};
use super::volumes::demand;
use crate::build::JobState;
use crate::id::JobId;
use crate::placement::{Candidate, Demand, Explanation, Placed, Situation, VolumeNeeds, explain};

/// What a hook waits for.
const TURN: &str = "waits until the jobs that come before it in the build are over";

impl Control {
    /// Why the job is where it is, or is nowhere: every cluster with what it misses. Of a job that a cluster has, these say what they would if it was placed
    /// once more now. None if its build is over.
    pub fn explain(&self, job: JobId) -> Option<Explanation> {
        let Some((build, job)) = self.builds.job_by_id(job) else {
            return self.explain_unbegun(job);
        };
        if job.has_begun_as_array() && job.status.state.terminal().is_none() {
            return self.explain_array(build, job);
        }
        let queued = job.status.state == JobState::Queued;
        let limit = self.limit_on(build, job).filter(|_| queued);
        let held_up = self.held_up(job);
        let situation = match (job.status.state, job.status.cluster.as_ref()) {
            (JobState::Waiting, _) if !build.is_turn(job) => Situation::Held(TURN),
            (JobState::Waiting, _) if build.pending(job.index) == 0 => Situation::Held(&job.status.message),
            (JobState::Waiting, _) => Situation::WaitsFor(
                build
                    .parents(job)
                    .filter(|parent| parent.status.state.terminal().is_none())
                    .map(|parent| &parent.node.name)
                    .collect(),
            ),
            (JobState::Terminal(state), _) => Situation::Ended(state),
            (JobState::Queued, _) | (_, None) => Situation::Queued(limit.as_deref()),
            (_, Some(cluster)) => Situation::Placed(Placed {
                cluster,
                choice: job.choice,
                held_up: held_up.as_deref(),
            }),
        };
        let volumes = self.volume_needs(build, job);
        let candidates = self.candidates_for(build, job);
        let demand = self.demand_of(build, job, &volumes);
        let mut explanation = explain(&situation, &demand, candidates);
        let status = &job.status;
        explanation.retry_at = status.retry_at();
        if let (Some(end), Some(reason)) = (status.ended(), status.output_lost()) {
            let summary = match status.is_recovering() {
                true => format!("and is made again: {}", explanation.summary),
                false => "for good".to_owned(),
            };
            explanation.summary = format!("it is over: {end}; its output was lost ({reason}) {summary}");
        }
        Some(explanation)
    }

    /// Keeps with a job that ends why its cluster was chosen: what was compared then cannot be worked out later.
    pub(super) fn keep_choice(&mut self, key: JobKey) {
        let Some(job) = self.builds.job_mut(key) else { return };
        // How a job has ended does not change by an attempt that only makes its output again. Indexes of arrays are many, and stay for as long as
        // their build.
        let is_index = job.id().array_and_index().is_some();
        let ends = job.attempt().is_some() && !job.status.is_recovering() && !is_index;
        if let Some(choice) = job.choice.filter(|_| ends) {
            job.status.keep_choice(choice);
        }
    }

    /// What a job asks of a cluster, for people to be told of it.
    pub(super) fn demand_of<'a>(
        &'a self,
        build: &'a LiveBuild,
        job: &'a LiveJob,
        volumes: &'a VolumeNeeds,
    ) -> Demand<'a> {
        let project = self.projects.get(build.record.project);
        Demand {
            project: project.map(|project| &project.name),
            share: project.map(|project| &project.share),
            ..demand(build, job, volumes)
        }
    }

    /// The clusters as one more job like this one finds them, or as they were without it if one of them has it.
    fn candidates_for<'a>(&'a self, build: &'a LiveBuild, job: &'a LiveJob) -> impl Iterator<Item = Candidate<'a>> {
        let has_it = job.attempt().and(job.status.cluster.as_ref());
        self.clusters.iter().map(move |(_, member)| {
            if has_it == Some(&member.record.name) {
                return member.candidate_without(build.key(job), &job.node.resources);
            }
            Candidate {
                kept: member.is_kept_from(job.class),
                ..member.candidate()
            }
        })
    }
}

impl LiveBuild {
    pub(super) const fn key(&self, job: &LiveJob) -> JobKey {
        JobKey {
            build: self.record.id,
            index: job.index,
        }
    }
}
