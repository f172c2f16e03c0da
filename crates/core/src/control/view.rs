//! What the control plane shows: read access for the drivers, the API and the services around it.

use super::Control;
use super::builds::{LiveBuild, LiveJob, name_of};
use super::caches::CacheView;
use super::clusters::{ClusterIndex, Member};
use super::drain::{Drain, DrainView};
use super::prefetch::MAX_CHILDREN;
use super::record::{Build, Cluster, Invite, JobNode, JobStatus, Project, Token};
use super::volumes::demand;
use crate::attempt::{BuildOutcome, OutputReference};
use crate::build::{JobState, TerminalState};
use crate::digest::Digest;
use crate::id::{AttemptId, BuildId, JobId, ProjectId, SessionId};
use crate::label::Labels;
use crate::name::{ClusterName, JobName, ProjectName};
use crate::resources::Resources;
use crate::session::{Capability, Nodes};
use crate::time::{Moment, Timestamp};
use crate::volume::VolumeSet;

/// How the control plane stands with a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Contact {
    /// Its agent is connected and its lease runs: jobs can be placed there.
    Connected,
    /// Nothing is heard of it, but its running attempts are not given up yet.
    Away,
    /// Nothing is expected of it any more, until it connects.
    Lost,
}

/// A cluster as the control plane knows it.
#[derive(Debug, Clone, Copy)]
pub struct ClusterView<'a> {
    /// What is kept of it.
    pub record: &'a Cluster,
    /// All labels that selectors see: the master's, `cluster=<name>`, and the agent's own facts under `node.`.
    pub labels: &'a Labels,
    /// How the control plane stands with it.
    pub contact: Contact,
    /// The session of its present connection.
    pub session: Option<SessionId>,
    /// Until when the process of its agent that has ended, or is about to, counts on another one to take its place; none if that is not so.
    pub handing_over_until: Option<Moment>,
    /// When it was last heard of; never by this process if none.
    pub last_heard: Option<Moment>,
    /// What its agent last said of itself; none before its first hello to this process.
    pub agent: Option<&'a AgentFacts>,
    /// What its attempts take of its capacity.
    pub used: Resources,
    /// How many attempts it has.
    pub attempts: usize,
    /// What is left to do before it can go, if it is being drained.
    pub drain: Option<DrainView<'a>>,
}

/// What an agent says of itself in its hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFacts {
    /// The version of its program.
    pub version: String,
    /// What it has for jobs, in all.
    pub capacity: Resources,
    /// Its nodes, if it may look at them.
    pub nodes: Option<Nodes>,
    /// How many attempts it runs at once at the most.
    pub slots: u32,
    /// What its executor can do.
    pub capabilities: Vec<Capability>,
    /// The address (`host:port`) at which it takes peers, if it does.
    pub peer_address: Option<String>,
}

/// A job of a build that is not over.
#[derive(Debug, Clone, Copy)]
pub struct JobView<'a> {
    /// Its build.
    pub build: &'a Build,
    /// What never changes of it; of an index of an array, its array's.
    pub node: &'a JobNode,
    /// Where it stands.
    pub status: &'a JobStatus,
}

impl JobView<'_> {
    /// Its own id.
    pub const fn id(&self) -> JobId {
        self.status.id
    }

    /// Its own name.
    pub fn name(&self) -> JobName {
        name_of(self.node, self.status.id)
    }
}

/// The latest attempt of a job of a build that is not over.
#[derive(Debug, Clone, Copy)]
pub struct AttemptView<'a> {
    /// The cluster that it was given to: no other may speak for it.
    pub cluster: &'a ClusterName,
    /// Where its job stands; terminal if the attempt is over.
    pub state: JobState,
    /// Its build.
    pub build: BuildId,
    /// The project of its build.
    pub project: ProjectId,
    /// Somebody asked for the job's end.
    pub cancel_requested: bool,
}

/// What an [`Assignment`](crate::attempt::Assignment) is made from, except for the job's specification, addresses and
/// grants.
#[derive(Debug, Clone)]
pub struct AssignmentView<'a> {
    /// The attempt.
    pub attempt: AttemptId,
    /// The cluster that it was given to.
    pub cluster: &'a ClusterName,
    /// Its project.
    pub project: &'a Project,
    /// Its build.
    pub build: &'a Build,
    /// The job; of an index of an array, its array.
    pub node: &'a JobNode,
    /// All direct parents, in the order of the dependencies. All have ended.
    pub parents: Vec<JobView<'a>>,
    /// The outputs of those parents that left one, in the same order.
    pub inputs: Vec<InputView<'a>>,
    /// The volumes of the job, and of all that share one with it.
    pub volumes_together: VolumeSet,
    /// The cache that it is given; none if it asks for none.
    pub cache: Option<CacheView<'a>>,
    /// How the build stands, for one of its hooks.
    pub so_far: Option<SoFar<'a>>,
}

/// How a build stands that has come to its hooks.
#[derive(Debug, Clone)]
pub struct SoFar<'a> {
    /// How it would end without this hook and those after it.
    pub state: TerminalState,
    /// The jobs that did not end well, the first of them.
    pub failed: Vec<JobView<'a>>,
}

/// An output of a job, as an input of another.
#[derive(Debug, Clone)]
pub struct InputView<'a> {
    /// The job that left it.
    pub parent: JobView<'a>,
    /// Which index of its array it is, for who takes those of all.
    pub index: Option<u32>,
    /// What it is.
    pub output: OutputReference,
    /// The clusters that have it, those first that are connected; none if it is lost.
    pub holders: Vec<&'a ClusterName>,
}

impl Control {
    /// All projects, by name.
    pub fn projects(&self) -> impl Iterator<Item = &Project> {
        self.projects.iter()
    }

    /// The project with this name.
    pub fn project(&self, name: &ProjectName) -> Option<&Project> {
        self.projects.by_name(name)
    }

    /// The project with this id.
    pub fn project_by_id(&self, id: ProjectId) -> Option<&Project> {
        self.projects.get(id)
    }

    /// All tokens, by id, expired ones too.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter()
    }

    /// The token whose secret has this digest, unless it has expired.
    pub fn token_by_secret(&self, secret: &Digest, now: Timestamp) -> Option<&Token> {
        self.tokens
            .by_secret(secret)
            .filter(|token| token.expires_at.is_none_or(|end| now < end))
    }

    /// All invites, by id, used ones too.
    pub fn invites(&self) -> impl Iterator<Item = &Invite> {
        self.invites.iter()
    }

    /// All clusters, by name.
    pub fn clusters(&self) -> impl Iterator<Item = ClusterView<'_>> {
        self.clusters.iter().map(|(index, member)| self.view_of(index, member))
    }

    /// The cluster with this name.
    pub fn cluster(&self, name: &ClusterName) -> Option<ClusterView<'_>> {
        self.clusters
            .by_name(name)
            .map(|(index, member)| self.view_of(index, member))
    }

    fn view_of<'a>(&'a self, index: ClusterIndex, member: &'a Member) -> ClusterView<'a> {
        member.view(self.drains.get(&index))
    }

    /// All builds that are not over, by id.
    pub fn builds(&self) -> impl Iterator<Item = &Build> {
        self.builds.iter().map(|build| &build.record)
    }

    /// The build with this id, if it is not over.
    pub fn build(&self, id: BuildId) -> Option<&Build> {
        self.builds.get(id).map(|build| &build.record)
    }

    /// Whether somebody asked for the end of jobs of this build that are not over yet.
    pub fn is_cancelling(&self, build: BuildId) -> bool {
        let build = self.builds.get(build).into_iter();
        build
            .flat_map(LiveBuild::all)
            .any(|job| job.status.cancel_requested && job.status.state.terminal().is_none())
    }

    /// The jobs of a build that is not over, by index; without the indexes of arrays.
    pub fn jobs(&self, build: BuildId) -> impl Iterator<Item = JobView<'_>> {
        let build = self.builds.get(build);
        build
            .into_iter()
            .flat_map(|build| build.jobs.iter().map(move |job| build.view(job)))
    }

    /// Whether what a job makes has a clone as its source, and not the source of the build.
    pub fn makes_on_clone(&self, id: JobId) -> bool {
        let job = self.builds.job_by_id(id);
        job.is_some_and(|(build, job)| build.clone_of(job).is_some())
    }

    /// The job with this id, if its build is not over.
    pub fn job(&self, id: JobId) -> Option<JobView<'_>> {
        let (build, job) = self.builds.job_by_id(id)?;
        Some(build.view(job))
    }

    /// The attempt, if it is the latest of its job and the build is not over.
    pub fn current_attempt(&self, attempt: AttemptId) -> Option<AttemptView<'_>> {
        let (build, job) = self.builds.job_by_id(attempt.job)?;
        let cluster = job.status.cluster.as_ref()?;
        (job.status.epoch == attempt.epoch && job.status.state != JobState::Queued).then_some(AttemptView {
            cluster,
            state: job.status.state,
            build: build.record.id,
            project: build.record.project,
            cancel_requested: job.status.cancel_requested,
        })
    }

    /// The first job that waits, will be given the output of `parent`, and can run on this cluster only; as its latest attempt, with the
    /// parent's name.
    pub fn child_in_wait(
        &mut self,
        parent: JobId,
        cluster: &ClusterName,
    ) -> Option<(AttemptId, JobName, ProjectId, BuildId)> {
        let (build, parent) = self.builds.job_by_id(parent)?;
        let cluster = self.clusters.index(cluster)?;
        let ended = parent.status.ended()?;
        let children = build.edges.children(parent.node.index).iter().take(MAX_CHILDREN);
        for child in children.filter_map(|child| build.job(*child)) {
            let volumes = self.volume_needs(build, child);
            let demand = demand(build, child, &volumes);
            let waits = child.waits_for_output_of(parent, ended);
            if waits && self.queue.sole_cluster(&self.clusters, &demand) == Some(cluster) {
                let attempt = AttemptId {
                    job: child.id(),
                    epoch: child.status.epoch,
                };
                return Some((attempt, parent.name(), build.record.project, build.record.id));
            }
        }
        None
    }

    /// What the attempt's assignment is made from; none if it does not count any more or is over.
    pub fn assignment(&self, attempt: AttemptId) -> Option<AssignmentView<'_>> {
        let (build, job) = self.builds.job_by_id(attempt.job)?;
        if job.attempt() != Some(attempt) {
            return None;
        }
        let cluster = job.status.cluster.as_ref()?;
        Some(AssignmentView {
            attempt,
            cluster,
            project: self.projects.get(build.record.project)?,
            build: &build.record,
            node: &job.node,
            parents: build.parents(job).map(|parent| build.view(parent)).collect(),
            inputs: build
                .givers(job)
                .filter_map(|parent| {
                    let index = parent.id().array_and_index().map(|(_, index)| index);
                    let index = index.filter(|_| !job.takes_same_index(parent));
                    let input = self.input_of(build, parent)?;
                    Some(InputView { index, ..input })
                })
                .collect(),
            volumes_together: build.volumes_together(job),
            cache: self.cache_for(build, job, cluster),
            so_far: job.node.hook().map(|_| SoFar {
                state: build.worst_before(job.node.stage()),
                failed: build
                    .failed_before(job.node.stage())
                    .take(BuildOutcome::MAX_FAILED)
                    .map(|job| build.view(job))
                    .collect(),
            }),
        })
    }
}

impl Control {
    /// The output of a job whose build is not over, as an input of another; none if it has not left any.
    pub fn output(&self, job: JobId) -> Option<InputView<'_>> {
        let (build, job) = self.builds.job_by_id(job)?;
        self.input_of(build, job)
    }

    fn input_of<'a>(&'a self, build: &'a LiveBuild, job: &'a LiveJob) -> Option<InputView<'a>> {
        Some(InputView {
            parent: build.view(job),
            index: None,
            output: job.status.output?,
            holders: self.holders(build, job),
        })
    }
}

impl LiveBuild {
    pub(super) fn view<'a>(&'a self, job: &'a LiveJob) -> JobView<'a> {
        JobView {
            build: &self.record,
            node: &job.node,
            status: &job.status,
        }
    }
}

impl Member {
    fn view<'a>(&'a self, drain: Option<&'a Drain>) -> ClusterView<'a> {
        ClusterView {
            record: &self.record,
            labels: &self.labels,
            contact: self.contact(),
            session: self.session,
            handing_over_until: self.handover_until.filter(|_| self.awaits_successor),
            last_heard: self.last_heard,
            agent: self.agent.as_ref(),
            used: self.used,
            attempts: self.attempts.len(),
            drain: drain.map(|drain| drain.view(self.attempts.len())),
        }
    }
}
