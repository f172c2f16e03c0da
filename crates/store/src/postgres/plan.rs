//! A change set as few statements: what becomes of each record in the end, table by table.
//!
//! A later change of a record writes over an earlier one, so that only the last one counts, and the order among tables is that of
//! their foreign keys. One kind of change cannot be moved about: a deleted project takes with it what was written before, and
//! nothing of what comes after. It ends a [`Segment`].

use std::collections::{BTreeMap, HashMap};

use tombolo_core::build::{JobSpec, StateSet};
use tombolo_core::cache::{Cache, CacheKey};
use tombolo_core::control::Change;
use tombolo_core::control::record::{Build, Cluster, Invite, JobNode, JobStatus, Project, Token};
use tombolo_core::id::{BuildId, InviteId, JobId, ProjectId, TokenId};
use tombolo_core::name::{ClusterName, SecretName, TriggerName};
use tombolo_core::secret::SealedSecret;
use tombolo_core::trigger::{Trigger, TriggerFile};

/// A job that is inserted.
pub(super) struct NewJob<'a> {
    pub(super) node: &'a JobNode,
    pub(super) spec: &'a JobSpec,
    /// Where it stands after this change set.
    pub(super) status: JobStatus,
}

/// Changes whose order does not matter, once written table by table. None stands for a record that is deleted.
#[derive(Default)]
pub(super) struct Segment<'a> {
    pub(super) projects: BTreeMap<ProjectId, &'a Project>,
    pub(super) clusters: BTreeMap<&'a ClusterName, Option<&'a Cluster>>,
    pub(super) invites: BTreeMap<InviteId, Option<&'a Invite>>,
    pub(super) tokens: BTreeMap<TokenId, Option<&'a Token>>,
    pub(super) caches: BTreeMap<&'a CacheKey, Option<&'a Cache>>,
    pub(super) secrets: BTreeMap<(ProjectId, &'a SecretName), Option<&'a SealedSecret>>,
    pub(super) triggers: BTreeMap<(ProjectId, &'a TriggerName), Option<&'a Trigger>>,
    pub(super) trigger_files: BTreeMap<(ProjectId, &'a TriggerName), &'a TriggerFile>,
    pub(super) new_builds: Vec<&'a Build>,
    pub(super) builds: BTreeMap<BuildId, &'a Build>,
    pub(super) new_jobs: Vec<NewJob<'a>>,
    /// What jobs depend on from now on.
    pub(super) parents: BTreeMap<JobId, &'a [(u32, StateSet)]>,
    pub(super) jobs: BTreeMap<JobId, &'a JobStatus>,
    /// Indexes of arrays, which may be there or not.
    pub(super) indexes: BTreeMap<JobId, &'a JobStatus>,
    /// Deleted after everything else.
    pub(super) deleted_project: Option<ProjectId>,
    /// Where in `new_builds` and `new_jobs` those are that a later change of this segment writes over.
    build_places: HashMap<BuildId, usize>,
    job_places: HashMap<JobId, usize>,
}

/// The segments of a change set, in their order.
///
/// # Errors
/// Why it cannot be written.
pub(super) fn segments(changes: &[Change]) -> Result<Vec<Segment<'_>>, String> {
    let mut segments = Vec::new();
    let mut segment = Segment::default();
    for change in changes {
        segment.take(change)?;
        if segment.deleted_project.is_some() {
            segments.push(std::mem::take(&mut segment));
        }
    }
    segments.push(segment);
    Ok(segments)
}

impl<'a> Segment<'a> {
    fn take(&mut self, change: &'a Change) -> Result<(), String> {
        match change {
            Change::PutProject(project) => {
                self.projects.insert(project.id, project);
            }
            Change::DeleteProject(id) => self.deleted_project = Some(*id),
            Change::PutCluster(cluster) => {
                self.clusters.insert(&cluster.name, Some(cluster));
            }
            Change::DeleteCluster(name) => {
                self.clusters.insert(name, None);
            }
            Change::PutInvite(invite) => {
                self.invites.insert(invite.id, Some(invite));
            }
            Change::DeleteInvite(id) => {
                self.invites.insert(*id, None);
            }
            Change::PutToken(token) => {
                self.tokens.insert(token.id, Some(token));
            }
            Change::DeleteToken(id) => {
                self.tokens.insert(*id, None);
            }
            Change::PutCache(cache) => {
                self.caches.insert(&cache.key, Some(cache));
            }
            Change::DeleteCache(key) => {
                self.caches.insert(key, None);
            }
            Change::PutSecret(sealed) => {
                self.secrets
                    .insert((sealed.secret.project, &sealed.secret.name), Some(sealed));
            }
            Change::DeleteSecret { project, name } => {
                self.secrets.insert((*project, name), None);
            }
            Change::PutTrigger(trigger) => {
                self.triggers.insert((trigger.project, &trigger.name), Some(trigger));
            }
            Change::PutTriggerFile { project, name, file } => {
                self.trigger_files.insert((*project, name), file);
            }
            Change::DeleteTrigger { project, name } => {
                self.triggers.insert((*project, name), None);
                self.trigger_files.remove(&(*project, name));
            }
            Change::InsertBuild { build, nodes, specs } => self.insert(build, nodes, specs)?,
            Change::ExtendBuild {
                nodes, specs, parents, ..
            } => {
                self.add(nodes, specs)?;
                self.parents
                    .extend(parents.iter().map(|(job, parents)| (*job, parents.as_slice())));
            }
            Change::PutBuild(build) => match self.build_places.get(&build.id) {
                Some(place) => self.new_builds[*place] = build,
                None => {
                    self.builds.insert(build.id, build);
                }
            },
            Change::PutJob(status) => self.put_job(status),
        }
        Ok(())
    }

    fn put_job(&mut self, status: &'a JobStatus) {
        match self.job_places.get(&status.id) {
            Some(place) => self.new_jobs[*place].status = status.clone(),
            None if status.id.array_and_index().is_some() => {
                self.indexes.insert(status.id, status);
            }
            None => {
                self.jobs.insert(status.id, status);
            }
        }
    }

    fn insert(&mut self, build: &'a Build, nodes: &'a [JobNode], specs: &'a [JobSpec]) -> Result<(), String> {
        self.build_places.insert(build.id, self.new_builds.len());
        self.new_builds.push(build);
        self.add(nodes, specs)
    }

    fn add(&mut self, nodes: &'a [JobNode], specs: &'a [JobSpec]) -> Result<(), String> {
        if nodes.len() != specs.len() {
            return Err(format!("{} jobs have {} specifications", nodes.len(), specs.len()));
        }
        for (node, spec) in nodes.iter().zip(specs) {
            self.job_places.insert(node.id, self.new_jobs.len());
            self.new_jobs.push(NewJob {
                node,
                spec,
                status: JobStatus::waiting(node.id),
            });
        }
        Ok(())
    }
}
