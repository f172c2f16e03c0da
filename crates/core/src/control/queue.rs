//! The jobs that wait for a cluster, by class.
//!
//! All jobs that ask the same of a cluster form one class. A class knows the clusters that suit it and may have room; a
//! class without any is closed and costs nothing until one of its clusters has room again. So the cost of a placement
//! grows neither with the number of clusters nor with that of queued jobs.
//!
//! Among the jobs that could go, the project comes first that has the least part of all clusters, by weight, of what it has most of
//! (dominant resource fairness); among equals the one that was served longest ago. A project at its limits is left out until
//! there is room for the job that comes first in it. Within a project, the job comes first that was ready first, where each point of priority counts as so much waiting:
//! what is important comes sooner, and what is not comes.

mod accounts;
mod class;
mod ring;
mod sole;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::builds::JobKey;
use super::clusters::{ClusterIndex, Clusters};
use crate::id::ProjectId;
use crate::label::Selector;
use crate::placement::Demand;
use crate::resources::Resources;
use crate::share::{Share, Usage};
use crate::time::Timestamp;
use accounts::{AccountIndex, Accounts};
use class::{Class, ClassKey};
use sole::Sole;

/// How many classes without jobs are kept, since they are likely to be of use again: making one asks every cluster.
const MAX_IDLE_CLASSES: usize = 1024;

/// Names a class; never used again after it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClassId(u64);

/// A job's place in the queue: whoever was ready first comes first, also when it has to be placed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    /// When it was ready, in milliseconds; a job of higher priority counts as if that had been earlier.
    rank: i64,
    pub(super) job: JobKey,
}

impl Ticket {
    /// `step`: what a point of priority counts for.
    pub(super) fn new(job: JobKey, queued_at: Timestamp, priority: i8, step: Duration) -> Self {
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        let ready = i64::try_from(queued_at.0).unwrap_or(i64::MAX);
        let rank = ready.saturating_sub(step.saturating_mul(i64::from(priority)));
        Self { rank, job }
    }
}

/// All classes and their jobs.
#[derive(Debug, Default)]
pub(super) struct Queue {
    classes: BTreeMap<ClassId, Class>,
    by_key: HashMap<ClassKey, ClassId>,
    /// Classes with jobs and with clusters that may have room.
    open: BTreeSet<ClassId>,
    /// Classes without jobs, the longest idle first.
    idle: BTreeMap<u64, ClassId>,
    accounts: Accounts,
    counter: u64,
    sole: Sole,
    /// Classes that nobody may look at from time to time though they have jobs.
    unwatched: Vec<ClassId>,
}

impl Queue {
    /// Whether there are jobs that may be placed now.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty() && self.accounts.first().is_some()
    }

    /// Adds a job to its class, which is returned.
    pub(super) fn insert(
        &mut self,
        clusters: &mut Clusters,
        project: ProjectId,
        ticket: Ticket,
        demand: &Demand<'_>,
    ) -> ClassId {
        let key = ClassKey::of(demand);
        let id = match self.by_key.get(&key) {
            Some(id) => *id,
            None => self.make_class(clusters, key),
        };
        let account = self.accounts.index(project);
        if let Some(class) = self.classes.get_mut(&id) {
            if let Some(since) = class.idle_since.take() {
                self.idle.remove(&since);
            }
            class.insert(id, account, ticket, &mut self.accounts);
            if !class.clusters.is_empty() {
                self.open.insert(id);
            }
        }
        id
    }

    /// Takes a job out.
    pub(super) fn remove(&mut self, clusters: &mut Clusters, id: ClassId, project: ProjectId, ticket: &Ticket) {
        let account = self.accounts.index(project);
        let Some(class) = self.classes.get_mut(&id) else { return };
        class.remove(id, account, ticket, &mut self.accounts);
        if !class.has_jobs() && class.idle_since.is_none() {
            self.counter += 1;
            class.idle_since = Some(self.counter);
            self.idle.insert(self.counter, id);
            self.open.remove(&id);
            self.let_room_go(clusters, id);
            self.drop_idle(clusters);
        }
    }

    /// The job whose turn it is among the open classes.
    pub(super) fn next(&mut self, clusters: &mut Clusters) -> Option<(ClassId, Ticket)> {
        self.accounts.set_totals(clusters.totals());
        while !self.open.is_empty() {
            let (account, ticket, id) = self.accounts.first()?;
            let class = self.classes.get_mut(&id)?;
            if self.accounts.excludes(account, id, &class.key.resources) {
                class.hold(id, account, &mut self.accounts);
                self.let_room_go(clusters, id);
            } else if !self.open.contains(&id) && !self.accounts.is_blocked_by(account, (ticket, id)) {
                class.leave_out(id, account, &mut self.accounts);
            } else {
                return Some((id, ticket));
            }
        }
        None
    }

    /// Whether the limits of its project have room for the job whose turn it is. If not, no other of the project goes past it.
    pub(super) fn admits(&mut self, id: ClassId, ticket: Ticket) -> bool {
        let first = self.accounts.first().filter(|first| (first.1, first.2) == (ticket, id));
        match first.zip(self.classes.get(&id)) {
            Some(((account, ..), class)) => self.accounts.admits(account, (ticket, id), &class.key.resources),
            None => true,
        }
    }

    /// The job whose turn it is waits for a limit, and no other of its project goes past it.
    pub(super) fn block(&mut self, id: ClassId, ticket: Ticket) {
        if let Some((account, ..)) = self.accounts.first().filter(|first| (first.1, first.2) == (ticket, id)) {
            self.accounts.block(account, (ticket, id));
        }
    }

    /// The job of the project that comes first and waits for its limits to have room, and all others with it.
    pub(super) fn blocked_by(&self, project: ProjectId) -> Option<Ticket> {
        self.accounts.blocked_by(project)
    }

    /// Notes that a job of the project was given to a cluster now.
    pub(super) fn serve(&mut self, project: ProjectId, resources: &Resources) {
        let account = self.accounts.index(project);
        self.accounts.serve(account, resources);
    }

    /// Notes that a cluster has a job of the project.
    pub(super) fn charge(&mut self, project: ProjectId, resources: &Resources) {
        let account = self.accounts.index(project);
        self.accounts.charge(account, resources);
    }

    /// Notes that no cluster has that job of the project any more.
    pub(super) fn refund(&mut self, project: ProjectId, resources: &Resources) {
        let account = self.accounts.index(project);
        self.accounts.refund(account, resources);
    }

    /// Sets what the project may have.
    pub(super) fn set_share(&mut self, project: ProjectId, share: Share) {
        let account = self.accounts.index(project);
        let held = self.accounts.set_share(account, share);
        self.go_on(account, held);
    }

    /// What the attempts of the project take.
    pub(super) fn usage(&self, project: ProjectId) -> Usage {
        self.accounts.usage(project)
    }

    /// Lets the project take part again in classes that its limits kept it out of.
    fn go_on(&mut self, account: AccountIndex, held: BTreeSet<ClassId>) {
        for id in held {
            let Some(class) = self.classes.get_mut(&id) else {
                continue;
            };
            class.release(id, account, &mut self.accounts);
        }
    }

    /// Forgets a project that has no jobs.
    pub(super) fn forget_project(&mut self, project: ProjectId) {
        self.accounts.close(project);
    }

    /// The clusters of the class that have room now, at most `limit` of them, not always the same ones. Those that are
    /// found without room leave the class until [`Queue::has_room`] brings them back.
    pub(super) fn candidates(&mut self, clusters: &mut Clusters, id: ClassId, limit: usize) -> Vec<ClusterIndex> {
        let mut found = Vec::new();
        let Some(class) = self.classes.get_mut(&id) else {
            return found;
        };
        for _ in 0..class.clusters.len() {
            if found.len() >= limit {
                break;
            }
            let Some(index) = class.clusters.current() else { break };
            if clusters.room(index).fits(id, &class.key.resources) {
                found.push(index);
                class.clusters.advance();
                continue;
            }
            class.clusters.remove(index);
            if let Some(member) = clusters.get_mut(index) {
                member.awaited_by.insert(id);
            }
        }
        if class.clusters.is_empty() {
            self.open.remove(&id);
        }
        found
    }

    /// Clusters that suit the class and were not found full since, at most `limit` of them, not always the same ones.
    pub(super) fn offered(&self, id: ClassId, limit: usize) -> impl Iterator<Item = ClusterIndex> {
        let class = self.classes.get(&id);
        class.into_iter().flat_map(move |class| class.some_clusters(limit))
    }

    /// Whether the cluster suits the class and was not found full since.
    pub(super) fn offers(&self, id: ClassId, index: ClusterIndex) -> bool {
        self.classes
            .get(&id)
            .is_some_and(|class| class.clusters.contains(index))
    }

    /// Whether a cluster is kept for the class.
    pub(super) fn keeps_room(&self, clusters: &Clusters, id: ClassId) -> bool {
        let kept = self.classes.get(&id).and_then(|class| class.kept);
        kept.is_some_and(|index| clusters.is_kept_for(index, id))
    }

    /// Keeps a cluster for a class none of which found room for long, so that others do not always take what becomes free.
    pub(super) fn keep_room(&mut self, clusters: &mut Clusters, id: ClassId) {
        if self.keeps_room(clusters, id) {
            return;
        }
        self.let_room_go(clusters, id);
        let best = clusters.best_to_keep(id);
        if let Some((class, index)) = self.classes.get_mut(&id).zip(best) {
            class.kept = Some(index);
            clusters.keep_for(index, Some(id));
        }
    }

    /// The class needs no cluster to be kept for it any more.
    pub(super) fn let_room_go(&mut self, clusters: &mut Clusters, id: ClassId) {
        let kept = self.classes.get_mut(&id).and_then(|class| class.kept.take());
        if let Some(index) = kept.filter(|index| {
            clusters
                .get(*index)
                .is_some_and(|member| !member.is_kept_from(Some(id)))
        }) {
            clusters.keep_for(index, None);
            self.has_room(clusters, index);
        }
    }

    /// The selector of a class.
    pub(super) fn selector(&self, id: ClassId) -> Option<&Selector> {
        self.classes.get(&id).map(|class| &class.key.selector)
    }

    /// The jobs of a class, those of one project after the other.
    pub(super) fn jobs(&self, id: ClassId) -> impl Iterator<Item = JobKey> {
        let class = self.classes.get(&id);
        class.into_iter().flat_map(Class::jobs)
    }

    /// Those of them that pass a limit of their project or their build by themselves.
    pub(super) fn jobs_over_limits(&self, id: ClassId) -> impl Iterator<Item = JobKey> {
        let class = self.classes.get(&id);
        class.into_iter().flat_map(|class| {
            let excluded = |account| self.accounts.is_excluded(account, &class.key.resources);
            class.jobs_of(excluded)
        })
    }

    /// A class has jobs again, and may not be looked at any more.
    pub(super) fn note_unwatched(&mut self, id: ClassId) {
        if self.classes.get(&id).is_some_and(|class| !class.watched) {
            self.unwatched.push(id);
        }
    }

    /// The classes of which that was noted.
    pub(super) fn take_unwatched(&mut self) -> Vec<ClassId> {
        std::mem::take(&mut self.unwatched)
    }

    /// Notes that a class is looked at from time to time. Whether that is new.
    pub(super) fn watch(&mut self, id: ClassId) -> bool {
        let class = self.classes.get_mut(&id);
        class.is_some_and(|class| !std::mem::replace(&mut class.watched, true))
    }

    /// Notes that a class is not looked at any more.
    pub(super) fn let_be(&mut self, id: ClassId) {
        if let Some(class) = self.classes.get_mut(&id) {
            class.watched = false;
        }
    }

    /// The one cluster that suits the demand, if it is the only one.
    pub(super) fn sole_cluster(&mut self, clusters: &Clusters, demand: &Demand<'_>) -> Option<ClusterIndex> {
        self.sole.of(clusters, demand)
    }

    /// The cluster may have room for the classes that found it full.
    pub(super) fn has_room(&mut self, clusters: &mut Clusters, index: ClusterIndex) {
        let Some(member) = clusters.get_mut(index) else { return };
        for id in std::mem::take(&mut member.awaited_by) {
            self.offer(id, index);
        }
    }

    /// The cluster is new or has changed: sorts it into all classes again.
    pub(super) fn sort_in(&mut self, clusters: &mut Clusters, index: ClusterIndex) {
        self.sort_out(index);
        clusters.keep_for(index, None);
        clusters.refresh(index);
        let Some(member) = clusters.get_mut(index) else { return };
        member.awaited_by.clear();
        let candidate = member.candidate();
        let suited = self
            .classes
            .iter()
            .filter(|(_, class)| candidate.suits(&class.key.demand()));
        for id in suited.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.offer(id, index);
        }
    }

    /// The cluster is gone.
    pub(super) fn sort_out(&mut self, index: ClusterIndex) {
        self.sole.forget();
        for (id, class) in &mut self.classes {
            class.clusters.remove(index);
            if class.clusters.is_empty() {
                self.open.remove(id);
            }
        }
    }

    fn offer(&mut self, id: ClassId, index: ClusterIndex) {
        let Some(class) = self.classes.get_mut(&id) else { return };
        class.clusters.insert(index);
        if class.has_jobs() && self.open.insert(id) {
            class.open(id, &mut self.accounts);
        }
    }

    fn make_class(&mut self, clusters: &Clusters, key: ClassKey) -> ClassId {
        self.counter += 1;
        let id = ClassId(self.counter);
        let suited = clusters
            .iter()
            .filter(|(_, member)| member.candidate().suits(&key.demand()))
            .map(|(index, _)| index)
            .collect();
        self.by_key.insert(key.clone(), id);
        self.classes.insert(id, Class::new(key, suited));
        id
    }

    /// Drops the longest idle classes that are too many.
    fn drop_idle(&mut self, clusters: &mut Clusters) {
        while self.idle.len() > MAX_IDLE_CLASSES {
            let Some((_, id)) = self.idle.pop_first() else { return };
            if let Some(class) = self.classes.remove(&id) {
                self.by_key.remove(&class.key);
                clusters.forget_class(id);
            }
        }
    }
}
