//! The jobs that wait for a cluster, by class.
//!
//! All jobs that ask the same of a cluster form one class. A class knows the clusters that suit it and may have room; a
//! class without any is closed and costs nothing until one of its clusters has room again. So the cost of a placement
//! grows neither with the number of clusters nor with that of queued jobs.
//!
//! Among the jobs that could go, the project comes first that was served longest ago; within a project, the job that
//! was ready first.

mod class;
mod ring;
mod sole;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::builds::JobKey;
use super::clusters::{ClusterIndex, Clusters};
use crate::id::ProjectId;
use crate::placement::Demand;
use crate::time::Timestamp;
use class::{Class, ClassKey, Line, Turn};
use sole::Sole;

/// How many classes without jobs are kept, since they are likely to be of use again: making one asks every cluster.
const MAX_IDLE_CLASSES: usize = 1024;

/// Names a class; never used again after it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClassId(u64);

/// A job's place in the queue: whoever was ready first comes first, also when it has to be placed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    pub(super) queued_at: Timestamp,
    pub(super) job: JobKey,
}

/// All classes and their jobs.
#[derive(Debug, Default)]
pub(super) struct Queue {
    classes: BTreeMap<ClassId, Class>,
    by_key: HashMap<ClassKey, ClassId>,
    /// Classes with jobs and with clusters that may have room, by when it is their turn, as noted in them.
    open: BTreeSet<(Turn, ClassId)>,
    /// Classes without jobs, the longest idle first.
    idle: BTreeMap<u64, ClassId>,
    /// When each project was served last, counted in `counter`.
    served: HashMap<ProjectId, u64>,
    counter: u64,
    sole: Sole,
}

impl Queue {
    /// Whether there are jobs that may be placed now.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
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
        let served = self.served.get(&project).copied().unwrap_or_default();
        if let Some(class) = self.classes.get_mut(&id) {
            if let Some(since) = class.idle_since.take() {
                self.idle.remove(&since);
            }
            let line = class.waiting.entry(project).or_insert_with(|| Line {
                noted: served,
                tickets: BTreeSet::new(),
            });
            class.turns.insert((line.noted, project));
            line.tickets.insert(ticket);
            let first = class.open_as.is_none_or(|noted| (line.noted, ticket) < noted);
            if first && !class.clusters.is_empty() {
                self.open(id);
            }
        }
        id
    }

    /// Takes a job out.
    pub(super) fn remove(&mut self, clusters: &mut Clusters, id: ClassId, project: ProjectId, ticket: &Ticket) {
        let Some(class) = self.classes.get_mut(&id) else { return };
        let Some(line) = class.waiting.get_mut(&project) else {
            return;
        };
        line.tickets.remove(ticket);
        if line.tickets.is_empty() {
            class.turns.remove(&(line.noted, project));
            class.waiting.remove(&project);
        }
        if class.waiting.is_empty() && class.idle_since.is_none() {
            self.counter += 1;
            class.idle_since = Some(self.counter);
            self.idle.insert(self.counter, id);
            self.close(id);
            self.drop_idle(clusters);
        }
    }

    /// The job whose turn it is among the open classes.
    pub(super) fn next(&mut self) -> Option<(ClassId, Ticket)> {
        loop {
            let ((noted_turn, noted_ticket), id) = *self.open.first()?;
            let turn = self.classes.get_mut(&id).and_then(|class| class.turn(&self.served));
            if turn == Some((noted_turn, noted_ticket)) {
                return Some((id, noted_ticket));
            }
            // Its first project was served meanwhile, or its first job has gone.
            self.open(id);
        }
    }

    /// Notes that a job of the project was placed.
    pub(super) fn serve(&mut self, project: ProjectId) {
        self.counter += 1;
        self.served.insert(project, self.counter);
    }

    /// Forgets a project that has no jobs.
    pub(super) fn forget_project(&mut self, project: ProjectId) {
        self.served.remove(&project);
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
            let Some(member) = clusters.get_mut(index) else {
                class.clusters.remove(index);
                continue;
            };
            if member.candidate().has_room(&class.key.demand()) {
                found.push(index);
                class.clusters.advance();
            } else {
                member.awaited_by.insert(id);
                class.clusters.remove(index);
            }
        }
        found
    }

    /// Leaves the class alone until one of its clusters has room.
    pub(super) fn close(&mut self, id: ClassId) {
        if let Some(class) = self.classes.get_mut(&id)
            && let Some(noted) = class.open_as.take()
        {
            self.open.remove(&(noted, id));
        }
    }

    /// Lets the class take part, from its present turn on, if it has jobs.
    fn open(&mut self, id: ClassId) {
        self.close(id);
        if let Some(class) = self.classes.get_mut(&id)
            && let Some(turn) = class.turn(&self.served)
        {
            class.open_as = Some(turn);
            self.open.insert((turn, id));
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
        for class in self.classes.values_mut() {
            class.clusters.remove(index);
        }
    }

    fn offer(&mut self, id: ClassId, index: ClusterIndex) {
        let Some(class) = self.classes.get_mut(&id) else { return };
        class.clusters.insert(index);
        if class.open_as.is_none() {
            self.open(id);
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
        let class = Class {
            key,
            clusters: suited,
            waiting: BTreeMap::new(),
            turns: BTreeSet::new(),
            open_as: None,
            idle_since: None,
        };
        self.classes.insert(id, class);
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
