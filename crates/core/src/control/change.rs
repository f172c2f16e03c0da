//! What a command writes, and what is read back at a start.

use serde::{Deserialize, Serialize};

use super::record::{Build, Cluster, Invite, JobNode, JobStatus, Project, Token};
use crate::build::{BuildState, JobSpec, StateSet};
use crate::cache::{Cache, CacheKey};
use crate::id::{BuildId, InviteId, JobId, ProjectId, TokenId};
use crate::name::{ClusterName, SecretName, TriggerName};
use crate::restoration::Restoration;
use crate::secret::{SealedSecret, Secret};
use crate::trigger::{Trigger, TriggerFile};

/// One row to write. A `Put` writes the whole record over the one with the same key, if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A project was made or took a build number.
    PutProject(Project),
    /// A project is gone, and all that belongs to it: builds, jobs, specifications, logs, its tokens, secrets and triggers, the records of its
    /// caches.
    DeleteProject(ProjectId),
    /// A cluster joined or changed.
    PutCluster(Cluster),
    /// A cluster is gone.
    DeleteCluster(ClusterName),
    /// An invite was made or used.
    PutInvite(Invite),
    /// An invite is over.
    DeleteInvite(InviteId),
    /// A token was made.
    PutToken(Token),
    /// A token was revoked.
    DeleteToken(TokenId),
    /// A cache was left or used.
    PutCache(Cache),
    /// A cache is not wanted any more.
    DeleteCache(CacheKey),
    /// A secret was given a value.
    PutSecret(SealedSecret),
    /// A secret is gone.
    DeleteSecret {
        /// Whose it was.
        project: ProjectId,
        /// Its name.
        name: SecretName,
    },
    /// A trigger was made or has fired.
    PutTrigger(Trigger),
    /// What a trigger submits.
    PutTriggerFile {
        /// Whose it is.
        project: ProjectId,
        /// The trigger's name.
        name: TriggerName,
        /// It.
        file: TriggerFile,
    },
    /// A trigger is gone, with its file.
    DeleteTrigger {
        /// Whose it was.
        project: ProjectId,
        /// Its name.
        name: TriggerName,
    },
    /// A build was submitted. All its jobs are `Waiting`, epoch 0, unless a `PutJob` in the same set says otherwise.
    InsertBuild {
        /// The build.
        build: Build,
        /// Its jobs, by index.
        nodes: Vec<JobNode>,
        /// Their specifications, by index.
        specs: Vec<JobSpec>,
    },
    /// Jobs were added to a build. All are `Waiting`, epoch 0, unless a `PutJob` in the same set says otherwise.
    ExtendBuild {
        /// The build.
        build: BuildId,
        /// The new jobs, by index, after those that are there.
        nodes: Vec<JobNode>,
        /// Their specifications, by index.
        specs: Vec<JobSpec>,
        /// Jobs that are there, and follow new ones too: all their parents.
        parents: Vec<(JobId, Vec<(u32, StateSet)>)>,
    },
    /// A build changed.
    PutBuild(Build),
    /// A job, or an index of an array, changed. An index is there from its first change on.
    PutJob(JobStatus),
}

/// What the control plane holds in memory: all projects, clusters, invites and tokens, and the builds that are not over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveState {
    /// All projects.
    pub projects: Vec<Project>,
    /// All clusters.
    pub clusters: Vec<Cluster>,
    /// All invites.
    pub invites: Vec<Invite>,
    /// All tokens.
    pub tokens: Vec<Token>,
    /// The records of all caches.
    pub caches: Vec<Cache>,
    /// All secrets, without their values.
    pub secrets: Vec<Secret>,
    /// All triggers, without their files.
    pub triggers: Vec<Trigger>,
    /// The builds that are still running.
    pub builds: Vec<Build>,
    /// The jobs of those builds, by build and index, terminal ones too.
    pub jobs: Vec<(JobNode, JobStatus)>,
    /// The indexes of those of them that are arrays, as far as they have begun.
    pub indexes: Vec<JobStatus>,
    /// When all this was taken from a backup, if it ever was.
    pub restoration: Option<Restoration>,
}

impl LiveState {
    /// Does to this state what the store does to its tables. Builds that are over are dropped, with their jobs.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::PutProject(project) => put(&mut self.projects, project, |other| other.id == project.id),
            Change::DeleteProject(id) => {
                self.projects.retain(|project| project.id != *id);
                self.tokens.retain(|token| token.right.project != Some(*id));
                self.caches.retain(|cache| cache.key.project != *id);
                self.secrets.retain(|secret| secret.project != *id);
                self.triggers.retain(|trigger| trigger.project != *id);
                let over: Vec<_> = self
                    .builds
                    .iter()
                    .filter(|build| build.project == *id)
                    .map(|build| build.id)
                    .collect();
                over.into_iter().for_each(|build| self.drop_build(build));
            }
            Change::PutCluster(cluster) => put(&mut self.clusters, cluster, |other| other.name == cluster.name),
            Change::DeleteCluster(name) => self.clusters.retain(|cluster| cluster.name != *name),
            Change::PutInvite(invite) => put(&mut self.invites, invite, |other| other.id == invite.id),
            Change::DeleteInvite(id) => self.invites.retain(|invite| invite.id != *id),
            Change::PutToken(token) => put(&mut self.tokens, token, |other| other.id == token.id),
            Change::DeleteToken(id) => self.tokens.retain(|token| token.id != *id),
            Change::PutCache(cache) => put(&mut self.caches, cache, |other| other.key == cache.key),
            Change::DeleteCache(key) => self.caches.retain(|cache| cache.key != *key),
            Change::PutSecret(SealedSecret { secret, .. }) => put(&mut self.secrets, secret, |other| {
                (other.project, &other.name) == (secret.project, &secret.name)
            }),
            Change::DeleteSecret { project, name } => {
                self.secrets
                    .retain(|secret| (secret.project, &secret.name) != (*project, name));
            }
            Change::PutTrigger(trigger) => put(&mut self.triggers, trigger, |other| {
                (other.project, &other.name) == (trigger.project, &trigger.name)
            }),
            Change::PutTriggerFile { .. } => {}
            Change::DeleteTrigger { project, name } => {
                self.triggers
                    .retain(|trigger| (trigger.project, &trigger.name) != (*project, name));
            }
            Change::InsertBuild { build, nodes, .. } => {
                self.builds.push(build.clone());
                let jobs = nodes.iter().map(|node| (node.clone(), JobStatus::waiting(node.id)));
                self.jobs.extend(jobs);
            }
            Change::ExtendBuild { nodes, parents, .. } => {
                let jobs = nodes.iter().map(|node| (node.clone(), JobStatus::waiting(node.id)));
                self.jobs.extend(jobs);
                for (id, parents) in parents {
                    if let Some((node, _)) = self.jobs.iter_mut().find(|(node, _)| node.id == *id) {
                        node.parents.clone_from(parents);
                    }
                }
            }
            Change::PutBuild(build) if build.state == BuildState::Running => {
                put(&mut self.builds, build, |other| other.id == build.id);
            }
            Change::PutBuild(build) => self.drop_build(build.id),
            Change::PutJob(status) if status.id.array_and_index().is_some() => {
                let array = status.id.specified_by();
                if self.jobs.iter().any(|(node, _)| node.id == array) {
                    put(&mut self.indexes, status, |other| other.id == status.id);
                }
            }
            Change::PutJob(status) => {
                if let Some((_, old)) = self.jobs.iter_mut().find(|(node, _)| node.id == status.id) {
                    old.clone_from(status);
                }
            }
        }
    }

    fn drop_build(&mut self, id: BuildId) {
        self.builds.retain(|build| build.id != id);
        let over = |(node, _): &&(JobNode, JobStatus)| node.build == id && node.array().is_some();
        let arrays: Vec<JobId> = self.jobs.iter().filter(over).map(|(node, _)| node.id).collect();
        self.indexes
            .retain(|status| !arrays.contains(&status.id.specified_by()));
        self.jobs.retain(|(node, _)| node.build != id);
    }
}

/// Writes the record over the one with the same key, if there is one.
fn put<Record: Clone>(records: &mut Vec<Record>, record: &Record, is_same: impl Fn(&Record) -> bool) {
    match records.iter_mut().find(|other| is_same(other)) {
        Some(old) => old.clone_from(record),
        None => records.push(record.clone()),
    }
}
