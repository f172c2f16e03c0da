//! Where the jobs of a build would go now, without giving any of them out: by the same filter and the same score as placement.
//!
//! What is not known yet is assumed: jobs run when all their parents have ended, those of one depth run together, all leave as
//! much behind, and nobody else takes or gives back room meanwhile.

mod indexes;

use std::collections::{BTreeMap, HashMap};

pub use self::indexes::PlannedIndexes;
use self::indexes::{Tally, to_plan};
use super::builds::{LiveBuild, LiveJob};
use super::clusters::ClusterIndex;
use super::companions::Spread;
use super::record::Build;
use super::schedule::Input;
use super::submit::{live, nodes};
use super::{Control, Refusal, Submission};
use crate::attempt::Revision;
use crate::build::{BuildDefinition, BuildState, JobKind};
use crate::id::{BuildId, JobId, ProjectId};
use crate::name::{ClusterName, JobName};
use crate::placement::{
    Candidate, ClusterVerdict, Comparison, Demand, Explanation, Score, Situation, VolumeNeeds, explain,
};
use crate::share::Usage;
use crate::time::Timestamp;
use crate::volume::VolumeKind;

/// What each job is taken to leave behind, in bytes.
const ASSUMED_OUTPUT: u64 = 1_000_000_000;

/// How often a cluster is looked at for a job, at the most: commands wait meanwhile.
const MAX_LOOKS: usize = 1_000_000;

/// How many clusters are listed at the most of a job that is given to one.
const MAX_COMPARED: usize = 100;

/// Where a job would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedJob {
    /// The job.
    pub name: JobName,
    /// What becomes of it; of an array, of its first index.
    pub place: Place,
    /// Where the indexes would go, if it is an array.
    pub indexes: Option<PlannedIndexes>,
    /// Of a job that is given to a cluster: what each cluster is to it, of [`MAX_COMPARED`] at the most, by name.
    pub compared: Vec<ClusterVerdict>,
}

/// What would become of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It would be given to this cluster.
    Cluster {
        /// Which.
        cluster: ClusterName,
        /// Why that one, in words.
        reason: String,
    },
    /// It would wait for room on a cluster that suits it, for one to connect or to take jobs again, or for a limit to have room.
    Waits(Explanation),
    /// No cluster can run it as things are.
    Nowhere(Explanation),
}

/// What the jobs of a build that are planned already take.
#[derive(Default)]
struct Planned {
    usage: Usage,
    on: HashMap<ClusterIndex, Usage>,
    workspace: Option<ClusterName>,
}

impl Control {
    /// Where the jobs of a build of the project would go now, in the order of the definition; those that run nothing are left out. Refuses
    /// what a submission refuses.
    pub fn plan(&self, project: ProjectId, definition: BuildDefinition) -> Result<Vec<PlannedJob>, Refusal> {
        let project = self.projects.get(project);
        let project = project.ok_or_else(|| Refusal::not_found("project", &"?"))?;
        let mut submission = unborn(project.id, definition);
        self.confine(project.id, &mut submission.definition.jobs);
        self.check_limits(&submission)?;
        self.check_needs(submission.definition.jobs.iter())?;
        self.check_secrets(submission.project, &submission.definition.jobs)?;
        let mut build = live(record(&submission), nodes(&submission)?)?;
        let depths = depths(&build);
        let (jobs, clusters) = (build.jobs.len(), self.clusters.iter().count());
        if jobs.saturating_mul(clusters) > MAX_LOOKS {
            let most = MAX_LOOKS / clusters;
            let message =
                format!("{jobs} jobs on {clusters} clusters are too many to look at each; {most} jobs are not");
            return Err(Refusal::Limit(message));
        }
        let looks_per_job = MAX_LOOKS / jobs.saturating_mul(clusters).max(1);
        let mut places: BTreeMap<u32, (Place, Option<PlannedIndexes>, Vec<ClusterVerdict>)> = BTreeMap::new();
        let mut planned = Planned {
            workspace: project.workspace.clone(),
            ..Planned::default()
        };
        for depth in depths {
            // Whoever came before has ended.
            (planned.usage, planned.on) = (self.usage(project.id), HashMap::new());
            build.spread = Spread::default();
            let mut build_usage = Usage::default();
            let runs = |index: &u32| build.job(*index).is_some_and(|job| job.node.kind == JobKind::Run);
            let depth: Vec<u32> = depth.into_iter().filter(runs).collect();
            for index in depth {
                let mut place = self.plan_job(&build, index, &planned, &build_usage);
                let compared = self.compared(&build, index, &place, &planned);
                let mut tally = Tally::default();
                let (most, count) = build.job(index).map_or((1, 1), |job| to_plan(job, looks_per_job));
                let mut next = place.clone();
                while let Place::Cluster { cluster, .. } = &next {
                    self.note_planned(&mut build, index, cluster, &mut planned, &mut build_usage);
                    tally.add(cluster);
                    if tally.total() >= most {
                        break;
                    }
                    next = self.plan_job(&build, index, &planned, &build_usage);
                }
                let is_array = build.job(index).is_some_and(LiveJob::is_array);
                let indexes = is_array.then(|| tally.counted(&next, count, most));
                if let Some(indexes) = indexes.as_ref().filter(|_| count > 1) {
                    indexes.tell(&mut place);
                }
                places.insert(index, (place, indexes, compared));
            }
        }
        let named = |(index, (place, indexes, compared))| {
            let name = build.job(index)?.node.name.clone();
            Some(PlannedJob {
                name,
                place,
                indexes,
                compared,
            })
        };
        Ok(places.into_iter().filter_map(named).collect())
    }

    /// Takes a job to have been placed, or one more index of it.
    fn note_planned(
        &self,
        build: &mut LiveBuild,
        index: u32,
        cluster: &ClusterName,
        planned: &mut Planned,
        build_usage: &mut Usage,
    ) {
        let Some(job) = build.job_mut(index) else { return };
        job.status.cluster = Some(cluster.clone());
        let (volumes, resources) = (job.node.volumes, job.node.resources);
        build.note_spread(index, 1);
        *build_usage = build_usage.plus(&resources);
        planned.usage = planned.usage.plus(&resources);
        if let Some(at) = self.clusters.index(cluster) {
            let on = planned.on.entry(at).or_default();
            *on = on.plus(&resources);
        }
        if volumes.contains(VolumeKind::Shared) {
            build.share_on(cluster);
        }
        if volumes.contains(VolumeKind::Workspace) {
            planned.workspace.get_or_insert_with(|| cluster.clone());
        }
    }

    fn plan_job(&self, build: &LiveBuild, index: u32, planned: &Planned, build_usage: &Usage) -> Place {
        let Some(job) = build.job(index) else {
            return Place::Nowhere(Explanation::default());
        };
        if let Some(companion) = build.companion(job)
            && companion.node.kind == JobKind::Run
            && companion.status.cluster.is_none()
        {
            let name = &companion.node.name;
            return Place::Waits(Explanation {
                summary: format!("it runs where `{name}` does (`same_as`), which has no cluster yet"),
                ..Explanation::default()
            });
        }
        let volumes = self.planned_needs(build, job, planned);
        let demand = self.demand_of(build, job, &volumes);
        let limit = self.planned_limit(build, job, planned, build_usage);
        if limit.is_none()
            && let Some(place) = self.best_planned(build, job, &demand, planned)
        {
            return place;
        }
        let candidates = self.clusters.iter().map(|(at, _)| self.planned_candidate(at, planned));
        let explanation = explain(&Situation::Queued(limit.as_deref()), &demand, candidates.flatten());
        match explanation.clusters.iter().any(|verdict| verdict.will_do()) {
            true => Place::Waits(explanation),
            false => Place::Nowhere(explanation),
        }
    }

    /// What each cluster is to a job that is given to one of them.
    fn compared(&self, build: &LiveBuild, index: u32, place: &Place, planned: &Planned) -> Vec<ClusterVerdict> {
        let (Place::Cluster { .. }, Some(job)) = (place, build.job(index)) else {
            return Vec::new();
        };
        let volumes = self.planned_needs(build, job, planned);
        let demand = self.demand_of(build, job, &volumes);
        let candidates = self.clusters.iter().take(MAX_COMPARED);
        let candidates = candidates.filter_map(|(at, _)| self.planned_candidate(at, planned));
        explain(&Situation::Queued(None), &demand, candidates).clusters
    }

    fn planned_needs(&self, build: &LiveBuild, job: &LiveJob, planned: &Planned) -> VolumeNeeds {
        let mut volumes = self.volume_needs(build, job);
        if build.uses_workspace(job) && volumes.workspace_on.is_none() {
            volumes.workspace_on = planned.workspace.clone();
        }
        volumes
    }

    /// The limit that has no room for the job beside what is planned, in words.
    fn planned_limit(&self, build: &LiveBuild, job: &LiveJob, planned: &Planned, own: &Usage) -> Option<String> {
        let (whose, passed) = self.limit_with(build, job, &planned.usage, own)?;
        let now = self.usage(build.record.project);
        Some(match self.limit_with(build, job, &now, &Usage::default()) {
            Some((whose, passed)) => format!("{whose} {passed}"),
            None => format!("{whose} {}", passed.expected()),
        })
    }

    /// The best cluster that suits the job and has room beside what is planned.
    fn best_planned(&self, build: &LiveBuild, job: &LiveJob, demand: &Demand<'_>, planned: &Planned) -> Option<Place> {
        let inputs: Vec<Input> = build
            .givers(job)
            .filter_map(|parent| {
                let at = self.clusters.index(parent.status.cluster.as_ref()?)?;
                Some(Input::new(at, ASSUMED_OUTPUT))
            })
            .collect();
        let crowds = self.crowds(build, &demand.wishes);
        let fitting = self.clusters.iter().filter_map(|(at, _)| {
            let candidate = self.planned_candidate(at, planned)?;
            let fits = candidate.suits(demand) && candidate.has_room(&demand.resources) && !candidate.kept;
            let moving = self.cost_of_moving(&inputs, at);
            let (weight, crowd) = self.liking(&demand.wishes, &crowds, at);
            let score = Score::new(weight, crowd, moving, &self.settings.costs);
            let score = score.with_room(candidate.held_up, candidate.free_share());
            let of_build = planned.on.get(&at).map(|usage| usage.attempts).unwrap_or_default();
            fits.then_some((std::cmp::Reverse(score), of_build, candidate.name))
        });
        let mut fitting: Vec<_> = fitting.collect();
        fitting.sort_unstable();
        let (score, _, cluster) = fitting.first()?;
        let mut comparison = Comparison::default();
        fitting.iter().for_each(|(score, ..)| comparison.add(&score.0));
        let choice = comparison.choice(cluster, &score.0, &demand.wishes, demand.volumes.beside.is_some());
        Some(Place::Cluster {
            cluster: (*cluster).clone(),
            reason: choice.expected(&demand.wishes),
        })
    }

    /// A cluster with what is planned on it.
    fn planned_candidate(&self, at: ClusterIndex, planned: &Planned) -> Option<Candidate<'_>> {
        let member = self.clusters.get(at)?;
        let candidate = member.candidate();
        let more = planned.on.get(&at).copied().unwrap_or_default();
        Some(Candidate {
            kept: member.is_kept_from(None),
            used: candidate.used.plus(&more.resources),
            attempts: candidate.attempts.saturating_add(more.attempts),
            ..candidate
        })
    }
}

/// The submission of a build that will never be.
fn unborn(project: ProjectId, definition: BuildDefinition) -> Submission {
    Submission {
        id: BuildId::from_u128(0),
        project,
        jobs: (0..definition.jobs.len() as u128).map(JobId::from_u128).collect(),
        definition,
        source: None,
        revision: Revision::default(),
        submitted_by: String::new(),
        rerun: None,
    }
}

fn record(submission: &Submission) -> Build {
    Build {
        id: submission.id,
        project: submission.project,
        number: 0,
        state: BuildState::Running,
        created_at: Timestamp::default(),
        ended_at: None,
        submitted_by: String::new(),
        source: None,
        revision: Revision::default(),
        restarts: 0,
        released_at: None,
    }
}

/// The jobs that can run together, by index: those without parents first. Within a depth, those of higher priority come first.
fn depths(build: &LiveBuild) -> Vec<Vec<u32>> {
    let mut pending: Vec<u32> = build.jobs.iter().map(|job| job.pending).collect();
    let mut depths = Vec::new();
    let ready = |pending: &[u32], stage: usize| -> Vec<u32> {
        let is_first = |job: &&LiveJob| pending.get(job.node.index as usize) == Some(&0) && job.node.stage() == stage;
        build.jobs.iter().filter(is_first).map(|job| job.node.index).collect()
    };
    // Hooks come when the others are over.
    let stages = build.jobs.iter().map(|job| job.node.stage()).max().unwrap_or(0);
    let mut stages = 1..=stages;
    let mut depth = ready(&pending, 0);
    loop {
        if depth.is_empty() {
            match stages.next() {
                Some(stage) => depth = ready(&pending, stage),
                None => break,
            }
        }
        depth.sort_by_key(|index| std::cmp::Reverse(build.job(*index).map(|job| job.node.priority)));
        let mut next = Vec::new();
        for child in depth.iter().flat_map(|index| build.edges.children(*index)) {
            let Some(left) = pending.get_mut(*child as usize) else {
                continue;
            };
            *left = left.saturating_sub(1);
            if *left == 0 {
                next.push(*child);
            }
        }
        next.sort_unstable();
        depths.push(std::mem::replace(&mut depth, next));
    }
    depths
}
