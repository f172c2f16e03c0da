//! Takes in a build.

use super::builds::{JobKey, LiveBuild, LiveJob};
use super::companions::Spread;
use super::edges::Edges;
use super::hooks::Stages;
use super::outbox::Outbox;
use super::record::{Build, Course, JobNode, JobStatus, Loss};
use super::sharing::Sharing;
use super::{Change, Control, EventKind, Known, Refusal, Reply, Rerun, Submission};
use crate::build::{BuildDefinition, BuildState, JobSpec, JobState};
use crate::id::{Epoch, JobId};
use crate::name::JobName;
use crate::share::Usage;
use std::collections::{BTreeSet, HashMap, HashSet};

impl Control {
    pub(super) fn submit(&mut self, outbox: &mut Outbox, mut submission: Submission) -> Result<Reply, Refusal> {
        self.check_limits(&submission)?;
        self.confine(submission.project, &mut submission.definition.jobs);
        self.check_needs(running(&submission))?;
        self.check_secrets(submission.project, running(&submission))?;
        let mut nodes = nodes(&submission)?;
        let (taken_over, indexes) = take_known(&submission, &mut nodes)?;
        let mut live = live_with(
            record_of(&submission, outbox),
            nodes.clone(),
            taken_over,
            edges(&nodes)?,
        );
        live.take_indexes(indexes)
            .map_err(|id| Refusal::not_found("job", &id))?;
        if self.builds.get(submission.id).is_some() || nodes.iter().any(|node| self.builds.key(node.id).is_some()) {
            return Err(Refusal::exists("build", &submission.id));
        }
        let project = self
            .projects
            .get_mut(submission.project)
            .ok_or_else(|| Refusal::not_found("project", &submission.project))?;
        project.last_build += 1;
        live.record.number = project.last_build;
        let record = live.record.clone();
        outbox.changes.push(Change::PutProject(project.clone()));
        outbox.changes.push(Change::InsertBuild {
            build: record.clone(),
            nodes,
            specs: submission.definition.jobs,
        });
        outbox.event(&record, EventKind::Build(record.clone()));
        self.take_live(outbox, live);
        Ok(Reply::Build(record))
    }

    /// Takes the build into memory, and begins with those of its jobs that wait for nobody.
    fn take_live(&mut self, outbox: &mut Outbox, mut live: LiveBuild) {
        let build = live.record.id;
        for (index, job) in (0_u32..).zip(&mut live.jobs) {
            if job.status.state.terminal().is_some() {
                outbox.touch(JobKey { build, index }, job);
            }
        }
        for index in live.arrays.iter_mut().flat_map(|array| array.begun.values_mut()) {
            let key = JobKey {
                build,
                index: index.index,
            };
            outbox.touch(key, index);
        }
        live.count_pending();
        live.find_shared();
        let roots: Vec<u32> = (0_u32..)
            .zip(&live.jobs)
            .filter(|(_, job)| job.pending == 0 && job.status.state.terminal().is_none() && live.is_turn(job))
            .map(|(index, _)| index)
            .collect();
        self.builds.insert(live);
        self.begin(outbox, build, roots);
    }

    pub(super) fn check_limits(&self, submission: &Submission) -> Result<(), Refusal> {
        let settings = &self.settings;
        let count = submission.definition.jobs.len();
        let arrays = submission.definition.jobs.iter().filter_map(JobSpec::array);
        let indexes: usize = arrays.map(|array| array.count as usize).sum();
        if count == 0 {
            return Err(Refusal::NoJobs);
        }
        if count > settings.max_jobs_per_build {
            return Err(Refusal::TooLarge(format!(
                "the build has {count} jobs, the limit is {}",
                settings.max_jobs_per_build
            )));
        }
        if indexes > settings.max_indexes_per_build {
            return Err(Refusal::TooLarge(format!(
                "the arrays of the build have {indexes} indexes, the limit is {}: submit several builds",
                settings.max_indexes_per_build
            )));
        }
        if count + indexes > settings.max_live_jobs {
            let with = if indexes == 0 {
                ""
            } else {
                ", indexes of arrays among them"
            };
            return Err(Refusal::TooLarge(format!(
                "the build has {} jobs{with}, and all running builds together may have {} (`limits.live_jobs`)",
                count + indexes,
                settings.max_live_jobs
            )));
        }
        if self.builds.len() >= settings.max_running_builds {
            return Err(Refusal::Limit(format!(
                "{} builds are running, the limit is {}: try again when one has ended",
                self.builds.len(),
                settings.max_running_builds
            )));
        }
        if self.builds.job_count().saturating_add(count + indexes) > settings.max_live_jobs {
            return Err(Refusal::Limit(format!(
                "the build has {} jobs, the running builds have {}, and the limit for all is {}: try again when some have ended",
                count + indexes,
                self.builds.job_count(),
                settings.max_live_jobs
            )));
        }
        Ok(())
    }
}

/// The build as it begins.
pub(super) fn live(record: Build, nodes: Vec<JobNode>) -> Result<LiveBuild, Refusal> {
    let edges = edges(&nodes)?;
    let new = vec![None; nodes.len()];
    Ok(live_with(record, nodes, new, edges))
}

fn edges(nodes: &[JobNode]) -> Result<Edges, Refusal> {
    Edges::new(nodes.iter()).map_err(|error| Refusal::Conflict(error.to_string()))
}

/// With jobs that have ended in another build, and are taken over.
fn live_with(record: Build, nodes: Vec<JobNode>, taken_over: Vec<Option<JobStatus>>, edges: Edges) -> LiveBuild {
    let sharing = Sharing::of(nodes.iter());
    let begin = |(node, status): (JobNode, Option<JobStatus>)| {
        let status = status.unwrap_or_else(|| JobStatus::waiting(node.id));
        LiveJob::new(node, status)
    };
    let jobs: Vec<LiveJob> = nodes.into_iter().zip(taken_over).map(begin).collect();
    let mut live = LiveBuild {
        record,
        stages: Stages::of(jobs.iter()),
        jobs,
        arrays: Vec::new(),
        edges,
        sharing,
        usage: Usage::default(),
        spread: Spread::default(),
        held: BTreeSet::new(),
    };
    live.note_arrays(0);
    live
}

/// The jobs that are to run: those that are taken over from another build have run there.
fn running(submission: &Submission) -> impl Iterator<Item = &JobSpec> + Clone {
    let known = submission
        .rerun
        .as_ref()
        .map(|rerun| rerun.jobs.as_slice())
        .unwrap_or_default();
    let jobs = submission.definition.jobs.iter().enumerate();
    jobs.filter(|(index, _)| known.get(*index).is_none_or(|known| known.ended.is_none()))
        .map(|(_, job)| job)
}

/// The build as it is submitted; its number is still to come.
fn record_of(submission: &Submission, outbox: &Outbox) -> Build {
    Build {
        id: submission.id,
        project: submission.project,
        number: 0,
        state: BuildState::Running,
        created_at: outbox.now.wall,
        ended_at: None,
        submitted_by: submission.submitted_by.clone(),
        source: submission.source,
        revision: submission.revision.clone(),
        restarts: submission.rerun.as_ref().map_or(0, |rerun| rerun.restarts),
        released_at: None,
    }
}

/// The fixed parts of the jobs, with parents by index.
pub(super) fn nodes(submission: &Submission) -> Result<Vec<JobNode>, Refusal> {
    let BuildDefinition { jobs } = &submission.definition;
    let ids: HashSet<&JobId> = submission.jobs.iter().collect();
    if submission.jobs.len() != jobs.len() || ids.len() != jobs.len() {
        return Err(Refusal::Conflict(
            "every job of a build needs an id of its own".to_owned(),
        ));
    }
    let indexes: HashMap<&JobName, u32> = jobs.iter().map(|job| &job.name).zip(0..).collect();
    if indexes.len() != jobs.len() {
        return Err(Refusal::Conflict("two jobs of the build have the same name".to_owned()));
    }
    let parents = |job: &crate::build::JobSpec| {
        let edges = job.dependencies.iter().map(|dependency| {
            let unknown = || {
                let (child, parent) = (&job.name, &dependency.job);
                Refusal::Conflict(format!(
                    "job `{child}` depends on `{parent}`, which is not in the build"
                ))
            };
            let index = indexes.get(&dependency.job).ok_or_else(unknown)?;
            Ok((*index, dependency.on))
        });
        edges.collect::<Result<Vec<_>, Refusal>>()
    };
    (0_u32..)
        .zip(jobs)
        .zip(&submission.jobs)
        .map(|((index, job), id)| Ok(JobNode::new(*id, submission.id, index, job, parents(job)?)))
        .collect()
}

/// What is known of the jobs from an earlier build: who made them, and how those ended that are taken over, among them indexes of arrays.
fn take_known(
    submission: &Submission,
    nodes: &mut [JobNode],
) -> Result<(Vec<Option<JobStatus>>, Vec<JobStatus>), Refusal> {
    let Some(rerun) = &submission.rerun else {
        return Ok((vec![None; nodes.len()], Vec::new()));
    };
    let Rerun { jobs, .. } = rerun.as_ref();
    if jobs.len() != nodes.len() || jobs.iter().all(|job| job.ended.is_some()) {
        let message = "a build that runs another one again says of each job what becomes of it, and runs one at least";
        return Err(Refusal::Conflict(message.to_owned()));
    }
    let mut indexes = Vec::new();
    let take = |(node, known): (&mut JobNode, &Known)| {
        node.generated_by = known.generated_by;
        let ended = known.indexes.iter().filter(|status| status.ended().is_some());
        indexes.extend(ended.filter_map(|status| {
            let (_, index) = status.id.array_and_index()?;
            Some(status.taken_over(node.id.of_index(index), rerun.of))
        }));
        known.ended.as_ref().map(|ended| ended.taken_over(node.id, rerun.of))
    };
    let taken_over = nodes.iter_mut().zip(jobs).map(take).collect();
    Ok((taken_over, indexes))
}

/// What the message of a job begins with that is taken over. The number of the build follows.
const TAKEN_OVER: &str = "taken over from build ";

impl JobStatus {
    /// The job as it ended in the build with the number `of`, for another build that takes it over as its job `id`: it has had no attempt
    /// there.
    fn taken_over(&self, id: JobId, of: u64) -> Self {
        let lost = self.output_lost().map(str::to_owned);
        let ended = self.as_ended().into_owned();
        let message = match ended.message.as_str() {
            "" => format!("{TAKEN_OVER}{of}"),
            message if message.starts_with(TAKEN_OVER) => message.to_owned(),
            message => format!("{TAKEN_OVER}{of}: {message}"),
        };
        Self {
            message,
            id,
            epoch: Epoch::default(),
            cancel_requested: false,
            log_lines: None,
            replacements: 0,
            course: Some(Course {
                unbegun: ended.unbegun().cloned(),
                copies: ended.copies().to_vec(),
                cluster_removed: ended.cluster.is_some() && ended.present_cluster().is_none(),
                choice: self.choice(),
                ..Course::default()
            })
            .filter(|course| *course != Course::default())
            .map(Box::new),
            loss: lost.map(|reason| {
                Box::new(Loss {
                    reason: Some(reason),
                    epoch: Epoch::default(),
                    end: None,
                })
            }),
            ..ended
        }
    }

    /// Whether it ended in another build, from which this one has it.
    pub fn is_taken_over(&self) -> bool {
        self.as_ended().message.starts_with(TAKEN_OVER)
    }

    /// The status that every job begins with.
    pub fn waiting(id: JobId) -> Self {
        Self {
            id,
            state: JobState::Waiting,
            epoch: Epoch::default(),
            cluster: None,
            message: String::new(),
            exit_code: None,
            queued_at: None,
            started_at: None,
            ended_at: None,
            cancel_requested: false,
            output: None,
            inputs: Vec::new(),
            log_lines: None,
            replacements: 0,
            loss: None,
            course: None,
        }
    }
}
