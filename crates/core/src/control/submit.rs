//! Takes in a build.

use super::builds::{JobKey, LiveBuild, LiveJob};
use super::edges::Edges;
use super::outbox::Outbox;
use super::record::{Build, JobNode, JobStatus};
use super::volumes::Sharing;
use super::{Change, Control, EventKind, Refusal, Reply, Submission};
use crate::build::{BuildDefinition, BuildState, JobState};
use crate::id::{Epoch, JobId};
use crate::name::JobName;
use crate::share::Usage;
use std::collections::{BTreeSet, HashMap, HashSet};

impl Control {
    pub(super) fn submit(&mut self, outbox: &mut Outbox, submission: Submission) -> Result<Reply, Refusal> {
        self.check_limits(&submission)?;
        let nodes = nodes(&submission)?;
        let edges = edges(&nodes)?;
        if self.builds.get(submission.id).is_some() || nodes.iter().any(|node| self.builds.key(node.id).is_some()) {
            return Err(Refusal::exists("build", &submission.id));
        }
        let project = self
            .projects
            .get_mut(submission.project)
            .ok_or_else(|| Refusal::not_found("project", &submission.project))?;
        project.last_build += 1;
        let record = Build {
            id: submission.id,
            project: project.id,
            number: project.last_build,
            state: BuildState::Running,
            created_at: outbox.now.wall,
            ended_at: None,
            submitted_by: submission.submitted_by,
            source: submission.source,
            revision: submission.revision,
            restarts: 0,
            released_at: None,
        };
        outbox.changes.push(Change::PutProject(project.clone()));
        outbox.changes.push(Change::InsertBuild {
            build: record.clone(),
            nodes: nodes.clone(),
            specs: submission.definition.jobs,
        });
        outbox.event(&record, EventKind::Build(record.clone()));
        let build = record.id;
        let live = live_with(record.clone(), nodes, edges);
        let roots: Vec<u32> = (0_u32..)
            .zip(&live.jobs)
            .filter(|(_, job)| job.pending == 0)
            .map(|(index, _)| index)
            .collect();
        self.builds.insert(live);
        for index in roots {
            self.enqueue(outbox, JobKey { build, index });
        }
        Ok(Reply::Build(record))
    }

    pub(super) fn check_limits(&self, submission: &Submission) -> Result<(), Refusal> {
        let settings = &self.settings;
        let count = submission.definition.jobs.len();
        if count == 0 {
            return Err(Refusal::Conflict("a build needs at least one job".to_owned()));
        }
        if count > settings.max_jobs_per_build {
            return Err(Refusal::Limit(format!(
                "the build has {count} jobs, the limit is {}",
                settings.max_jobs_per_build
            )));
        }
        if self.builds.len() >= settings.max_running_builds {
            return Err(Refusal::Limit(format!(
                "{} builds are running, the limit is {}: try again when one has ended",
                self.builds.len(),
                settings.max_running_builds
            )));
        }
        if self.builds.job_count().saturating_add(count) > settings.max_live_jobs {
            return Err(Refusal::Limit(format!(
                "the running builds have {} jobs, the limit is {}: try again when some have ended",
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
    Ok(live_with(record, nodes, edges))
}

fn edges(nodes: &[JobNode]) -> Result<Edges, Refusal> {
    Edges::new(nodes).map_err(|error| Refusal::Conflict(error.to_string()))
}

fn live_with(record: Build, nodes: Vec<JobNode>, edges: Edges) -> LiveBuild {
    let sharing = Sharing::of(&nodes);
    let begin = |node: JobNode| {
        let status = JobStatus::waiting(node.id);
        LiveJob::new(node, status)
    };
    let jobs: Vec<LiveJob> = nodes.into_iter().map(begin).collect();
    LiveBuild {
        record,
        open: jobs.len(),
        jobs,
        edges,
        sharing,
        usage: Usage::default(),
        held: BTreeSet::new(),
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
        .map(|((index, job), id)| {
            Ok(JobNode {
                id: *id,
                build: submission.id,
                index,
                name: job.name.clone(),
                parents: parents(job)?,
                selector: job.selector.clone(),
                prefer: job.prefer.clone(),
                priority: job.priority,
                resources: job.resources,
                timeout: job.timeout,
                volumes: job.volumes,
                cache: job.cache,
            })
        })
        .collect()
}

impl JobStatus {
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
        }
    }
}
