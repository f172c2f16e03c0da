//! The records of caches: written when a job that asks for one has finished, given out with assignments, and forgotten when they
//! are too many, too old or not wanted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::builds::{JobKey, LiveBuild, LiveJob};
use super::lease::Deadline;
use super::outbox::Outbox;
use super::{Change, Contact, Control, Refusal, Reply};
use crate::attempt::OutputReference;
use crate::cache::{self, Cache, CacheKey};
use crate::id::ProjectId;
use crate::name::{ClusterName, JobName};
use crate::time::{Moment, Now};

/// How often it is looked which caches nobody has used for too long.
const SWEEP_PAUSE: Duration = Duration::from_secs(60 * 60);

/// All records.
#[derive(Debug, Default)]
pub(super) struct Caches {
    by_project: BTreeMap<ProjectId, BTreeMap<JobName, Vec<Cache>>>,
    /// When it is looked next which are too old; none if there is nothing to look at.
    due: Option<Moment>,
}

impl Caches {
    fn of_project(&self, project: ProjectId) -> impl Iterator<Item = &Cache> {
        self.by_project
            .get(&project)
            .into_iter()
            .flat_map(|jobs| jobs.values().flatten())
    }

    fn of_job(&self, project: ProjectId, job: &JobName) -> &[Cache] {
        let jobs = self.by_project.get(&project);
        jobs.and_then(|jobs| jobs.get(job))
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn get_mut(&mut self, key: &CacheKey) -> Option<&mut Cache> {
        let of_job = self.by_project.get_mut(&key.project)?.get_mut(&key.job)?;
        of_job.iter_mut().find(|cache| cache.key == *key)
    }

    fn insert(&mut self, cache: Cache) {
        if let Some(old) = self.get_mut(&cache.key) {
            *old = cache;
            return;
        }
        let of_project = self.by_project.entry(cache.key.project).or_default();
        of_project.entry(cache.key.job.clone()).or_default().push(cache);
    }

    fn remove(&mut self, key: &CacheKey) {
        let Some(of_project) = self.by_project.get_mut(&key.project) else {
            return;
        };
        if let Some(of_job) = of_project.get_mut(&key.job) {
            of_job.retain(|cache| cache.key != *key);
            if of_job.is_empty() {
                of_project.remove(&key.job);
            }
        }
        if of_project.is_empty() {
            self.by_project.remove(&key.project);
        }
    }
}

/// What a job that asks for a cache is given.
#[derive(Debug, Clone)]
pub struct CacheView<'a> {
    /// The most that it may leave, in bytes.
    pub limit_bytes: u64,
    /// What it starts from.
    pub start: Option<&'a Cache>,
    /// The clusters that have that, best first.
    pub holders: Vec<&'a ClusterName>,
}

impl Control {
    /// The caches of a project, by job.
    pub fn caches(&self, project: ProjectId) -> impl Iterator<Item = &Cache> {
        self.caches.of_project(project)
    }

    /// What the job is given on a cluster; none if it asks for no cache.
    pub(super) fn cache_for(&self, build: &LiveBuild, job: &LiveJob, cluster: &ClusterName) -> Option<CacheView<'_>> {
        let settings = &self.settings.caches;
        let limit_bytes = settings.limits.cache_bytes;
        if !job.node.cache {
            return None;
        }
        let caches = self.caches.of_job(build.record.project, &job.node.name);
        let start = cache::choose(settings, caches, branch_of(build), cluster, |name| {
            self.is_in_contact(name)
        });
        let holders = start.map(|start| {
            let others = caches.iter().filter(|cache| {
                let key = &cache.key;
                settings.policy == cache::Policy::Federated
                    && cache.content.manifest == start.content.manifest
                    && key.cluster != start.key.cluster
                    && self.is_in_contact(&key.cluster)
            });
            let mut holders = vec![&start.key.cluster];
            for other in others.map(|cache| &cache.key.cluster) {
                if !holders.contains(&other) {
                    holders.push(other);
                }
            }
            holders
        });
        Some(CacheView {
            limit_bytes,
            start,
            holders: holders.unwrap_or_default(),
        })
    }

    fn is_in_contact(&self, cluster: &ClusterName) -> bool {
        let member = self.clusters.by_name(cluster);
        member.is_some_and(|(_, member)| member.contact() == Contact::Connected)
    }

    /// Notes that a job was placed, and with it the cache that it starts from.
    pub(super) fn cache_placed(&mut self, outbox: &mut Outbox, key: JobKey) {
        let Some((build, job)) = self.builds.job(key) else {
            return;
        };
        let Some(cluster) = job.status.cluster.as_ref().filter(|_| job.node.cache) else {
            return;
        };
        let start = self.cache_for(build, job, cluster).and_then(|view| view.start);
        let Some(key) = start.map(|cache| cache.key.clone()) else {
            return;
        };
        if let Some(cache) = self.caches.get_mut(&key) {
            cache.used_at = cache.used_at.max(outbox.now.wall);
            outbox.changes.push(Change::PutCache(cache.clone()));
        }
    }

    /// Takes the cache that a job has left which finished. A cluster is not believed that there may be one, nor how large it may be.
    pub(super) fn keep_cache(
        &mut self,
        outbox: &mut Outbox,
        key: JobKey,
        cluster: &ClusterName,
        content: OutputReference,
    ) {
        let Some((build, job)) = self.builds.job(key) else {
            return;
        };
        let limits = self.settings.caches.limits;
        if !job.node.cache || content.bytes > limits.cache_bytes {
            return;
        }
        let cache = Cache {
            key: CacheKey {
                project: build.record.project,
                job: job.node.name.clone(),
                branch: branch_of(build).to_owned(),
                cluster: cluster.clone(),
            },
            content,
            build: build.record.number,
            saved_at: outbox.now.wall,
            used_at: outbox.now.wall,
        };
        let project = cache.key.project;
        self.caches.insert(cache.clone());
        outbox.changes.push(Change::PutCache(cache));
        self.trim_caches(outbox, project);
        self.watch_caches(outbox.now.steady);
    }

    fn trim_caches(&mut self, outbox: &mut Outbox, project: ProjectId) {
        let limits = &self.settings.caches.limits;
        let excess = cache::excess(limits, self.caches.of_project(project), outbox.now.wall);
        self.forget_caches(outbox, excess);
    }

    fn forget_caches(&mut self, outbox: &mut Outbox, keys: Vec<CacheKey>) {
        for key in keys {
            self.caches.remove(&key);
            outbox.changes.push(Change::DeleteCache(key));
        }
    }

    /// Forgets the caches of a project: of one job and branch only, if they are given.
    pub(super) fn clear_caches(
        &mut self,
        outbox: &mut Outbox,
        project: ProjectId,
        job: Option<&JobName>,
        branch: Option<&str>,
    ) -> Result<Reply, Refusal> {
        if self.projects.get(project).is_none() {
            return Err(Refusal::not_found("project", &project));
        }
        let is_meant =
            |key: &CacheKey| job.is_none_or(|job| key.job == *job) && branch.is_none_or(|branch| key.branch == branch);
        let meant = self.caches.of_project(project).filter(|cache| is_meant(&cache.key));
        let cleared: Vec<Cache> = meant.cloned().collect();
        self.forget_caches(outbox, cleared.iter().map(|cache| cache.key.clone()).collect());
        Ok(Reply::Cleared(cleared))
    }

    /// The project is gone, and what is written of its caches with it.
    pub(super) fn drop_caches(&mut self, project: ProjectId) {
        self.caches.by_project.remove(&project);
    }

    /// The cluster was removed, with all that it had.
    pub(super) fn lose_caches(&mut self, outbox: &mut Outbox, cluster: &ClusterName) {
        let all = self.caches.by_project.values().flat_map(|jobs| jobs.values().flatten());
        let lost = all.map(|cache| &cache.key).filter(|key| key.cluster == *cluster);
        let lost = lost.cloned().collect();
        self.forget_caches(outbox, lost);
    }

    /// Puts back what was written.
    pub(super) fn restore_caches(&mut self, caches: Vec<Cache>, now: Now) {
        caches.into_iter().for_each(|cache| self.caches.insert(cache));
        self.watch_caches(now.steady);
    }

    /// Has somebody look for caches that are too old, as long as there are any.
    fn watch_caches(&mut self, now: Moment) {
        if self.caches.due.is_none() && !self.caches.by_project.is_empty() {
            let due = now + SWEEP_PAUSE;
            self.caches.due = Some(due);
            self.deadlines.insert((due, Deadline::Caches));
        }
    }

    pub(super) fn caches_due(&mut self, outbox: &mut Outbox) {
        self.caches.due = None;
        let projects: Vec<ProjectId> = self.caches.by_project.keys().copied().collect();
        for project in projects {
            self.trim_caches(outbox, project);
        }
        self.watch_caches(outbox.now.steady);
    }
}

/// The branch that a build's caches belong to.
fn branch_of(build: &LiveBuild) -> &str {
    build.record.revision.branch.as_deref().unwrap_or_default()
}
