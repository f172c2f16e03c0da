//! The clusters that have joined: what is known of each, and what each has to do.

mod room;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::builds::JobKey;
use super::queue::ClassId;
use super::record::Cluster;
use super::view::{AgentFacts, Contact};
use crate::id::{BuildId, SessionId};
use crate::label::Labels;
use crate::name::ClusterName;
use crate::placement::{Availability, Candidate};
use crate::resources::Resources;
use crate::session::Capability;
use crate::time::Moment;
use crate::volume::VolumeId;
use room::Room;

/// Where a cluster is kept; good for as long as the cluster exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClusterIndex(u32);

/// How long a cluster is still counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lease {
    /// Its agent may act until then.
    Runs {
        /// The end of the lease.
        until: Moment,
    },
    /// The lease has ended; running attempts are given up then.
    Ended {
        /// When they are.
        until: Moment,
    },
    /// Nothing is expected of it.
    Over,
}

/// What all clusters have together, as far as they know it. Beyond what a cluster that says nothing of it may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) cpu_milli: u128,
    pub(super) memory_bytes: u128,
    pub(super) slots: u128,
}

impl Totals {
    fn plus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            slots: self.slots.saturating_add(other.slots),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_sub(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            slots: self.slots.saturating_sub(other.slots),
        }
    }
}

/// One cluster.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) record: Cluster,
    /// All that selectors see.
    pub(super) labels: Labels,
    /// What its last hello said.
    pub(super) agent: Option<AgentFacts>,
    /// The present connection.
    pub(super) session: Option<SessionId>,
    /// The latest session that this process has seen, ended or not.
    pub(super) latest_session: Option<SessionId>,
    pub(super) lease: Lease,
    /// The end of its last lease, whatever has become of that: from then on its agent does not act any more.
    pub(super) acts_until: Option<Moment>,
    /// The end of its handover lease, which counts until then for what ends with a lease.
    pub(super) handover_until: Option<Moment>,
    /// The process of its agent that was granted that is about to end, or has; no other one has connected.
    pub(super) awaits_successor: bool,
    pub(super) last_heard: Option<Moment>,
    /// How long it was not heard of when its lease, or the time after that, last ended.
    pub(super) silence: Duration,
    /// What its attempts take.
    pub(super) used: Resources,
    /// The jobs whose current attempt is here.
    pub(super) attempts: BTreeSet<JobKey>,
    /// Those of them that do not start, as its agent says why.
    held_up: BTreeSet<JobKey>,
    /// The volumes that it has, or is to make.
    pub(super) volumes: BTreeSet<VolumeId>,
    /// The classes of queued jobs that match but found no room here: they are told when there is some again.
    pub(super) awaited_by: BTreeSet<ClassId>,
    /// The class of jobs that its room is kept for.
    kept_for: Option<ClassId>,
    /// What it counts for in the totals.
    counted: Totals,
}

impl Member {
    fn new(record: Cluster) -> Self {
        Self {
            labels: record.labels.clone().with_cluster(&record.name),
            record,
            agent: None,
            session: None,
            latest_session: None,
            lease: Lease::Over,
            acts_until: None,
            handover_until: None,
            awaits_successor: false,
            last_heard: None,
            silence: Duration::ZERO,
            used: Resources::default(),
            attempts: BTreeSet::new(),
            held_up: BTreeSet::new(),
            volumes: BTreeSet::new(),
            awaited_by: BTreeSet::new(),
            kept_for: None,
            counted: Totals::default(),
        }
    }

    pub(super) fn contact(&self) -> Contact {
        match self.lease {
            Lease::Runs { .. } if self.session.is_some() && !self.awaits_successor => Contact::Connected,
            Lease::Runs { .. } | Lease::Ended { .. } => Contact::Away,
            Lease::Over => Contact::Lost,
        }
    }

    fn room(&self) -> Room {
        Room::of(&self.candidate(), self.kept_for)
    }

    /// Whether its room is kept for other jobs than those of the class.
    pub(super) fn is_kept_from(&self, class: Option<ClassId>) -> bool {
        self.kept_for.is_some() && self.kept_for != class
    }

    /// How many attempts of a build it has; those beyond a number that says enough are not counted.
    pub(super) fn attempts_of(&self, build: BuildId) -> usize {
        const ENOUGH: usize = 32;
        let (index, last) = (0, u32::MAX);
        let all = JobKey { build, index }..=JobKey { build, index: last };
        self.attempts.range(all).take(ENOUGH).count()
    }

    /// What it adds to the totals: nothing if nothing is expected of it.
    fn counts_for(&self) -> Totals {
        let agent = self.agent.as_ref().filter(|_| self.contact() != Contact::Lost);
        let Some(agent) = agent else { return Totals::default() };
        let known = agent.capacity.known().unwrap_or_default();
        Totals {
            cpu_milli: known.cpu_milli.into(),
            memory_bytes: known.memory_bytes.into(),
            slots: agent.slots.into(),
        }
    }

    /// The cluster as it would be without an attempt that it has: as open as it was for that, and with its room.
    pub(super) fn candidate_without(&self, key: JobKey, resources: &Resources) -> Candidate<'_> {
        let candidate = self.candidate();
        Candidate {
            availability: Availability::Open,
            used: candidate.used.minus(resources),
            attempts: candidate.attempts.saturating_sub(1),
            held_up: candidate.held_up.saturating_sub(self.held_up.contains(&key).into()),
            ..candidate
        }
    }

    /// The cluster as placement sees it.
    pub(super) fn candidate(&self) -> Candidate<'_> {
        let agent = self.agent.as_ref();
        Candidate {
            name: &self.record.name,
            labels: &self.labels,
            availability: self.record.availability,
            kept: false,
            connected: self.contact() == Contact::Connected,
            capacity: agent.map(|agent| agent.capacity).unwrap_or_default(),
            largest: agent.and_then(|agent| agent.nodes).map(|nodes| nodes.largest),
            slots: agent.map(|agent| agent.slots).unwrap_or_default(),
            volumes: agent.is_some_and(|agent| agent.capabilities.contains(&Capability::Volumes)),
            capabilities: agent
                .map(|agent| agent.capabilities.iter().copied().collect())
                .unwrap_or_default(),
            used: self.used,
            attempts: u32::try_from(self.attempts.len()).unwrap_or(u32::MAX),
            held_up: u32::try_from(self.held_up.len()).unwrap_or(u32::MAX),
        }
    }
}

/// All clusters. An index stays good while others come and go.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    slots: Vec<Option<Member>>,
    free: Vec<ClusterIndex>,
    by_name: BTreeMap<ClusterName, ClusterIndex>,
    totals: Totals,
    /// The room of each, as of the last refresh.
    rooms: Vec<Room>,
}

impl Clusters {
    pub(super) fn iter(&self) -> impl Iterator<Item = (ClusterIndex, &Member)> {
        self.by_name
            .values()
            .filter_map(|index| Some((*index, self.get(*index)?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.slots.iter_mut().flatten()
    }

    pub(super) fn get(&self, index: ClusterIndex) -> Option<&Member> {
        self.slots.get(index.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: ClusterIndex) -> Option<&mut Member> {
        self.slots.get_mut(index.0 as usize)?.as_mut()
    }

    pub(super) fn index(&self, name: &ClusterName) -> Option<ClusterIndex> {
        self.by_name.get(name).copied()
    }

    pub(super) fn by_name(&self, name: &ClusterName) -> Option<(ClusterIndex, &Member)> {
        let index = self.index(name)?;
        Some((index, self.get(index)?))
    }

    pub(super) fn by_name_mut(&mut self, name: &ClusterName) -> Option<(ClusterIndex, &mut Member)> {
        let index = self.index(name)?;
        Some((index, self.get_mut(index)?))
    }

    pub(super) fn insert(&mut self, record: Cluster) -> ClusterIndex {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.rooms.push(Room::default());
            ClusterIndex(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
        });
        self.by_name.insert(record.name.clone(), index);
        self.slots[index.0 as usize] = Some(Member::new(record));
        self.refresh(index);
        index
    }

    pub(super) fn remove(&mut self, index: ClusterIndex) -> Option<Member> {
        let member = self.slots.get_mut(index.0 as usize)?.take()?;
        self.by_name.remove(&member.record.name);
        self.totals = self.totals.minus(member.counted);
        self.rooms[index.0 as usize] = Room::default();
        self.free.push(index);
        Some(member)
    }

    /// What all have together.
    pub(super) const fn totals(&self) -> Totals {
        self.totals
    }

    /// The room of a cluster.
    pub(super) fn room(&self, index: ClusterIndex) -> Room {
        self.rooms.get(index.0 as usize).copied().unwrap_or_default()
    }

    /// The cluster has changed in what it has, takes, or in its contact: every change of these ends with this.
    pub(super) fn refresh(&mut self, index: ClusterIndex) {
        let totals = self.totals;
        let Some(member) = self.get_mut(index) else { return };
        let counted = member.counts_for();
        let before = std::mem::replace(&mut member.counted, counted);
        let room = member.room();
        self.totals = totals.minus(before).plus(counted);
        self.rooms[index.0 as usize] = room;
    }

    /// The cluster was given an attempt, or has one since before a restart.
    pub(super) fn occupy(&mut self, index: ClusterIndex, key: JobKey, resources: &Resources) {
        let Some(member) = self.get_mut(index) else { return };
        member.attempts.insert(key);
        member.used = member.used.plus(resources);
        self.refresh_room(index);
    }

    /// The cluster does not have that attempt any more. Whether it had it.
    pub(super) fn vacate(&mut self, index: ClusterIndex, key: JobKey, resources: &Resources) -> bool {
        let Some(member) = self.get_mut(index) else {
            return false;
        };
        let had = member.attempts.remove(&key);
        member.held_up.remove(&key);
        if had {
            member.used = member.used.minus(resources);
            self.refresh_room(index);
        }
        had
    }

    /// Notes whether an attempt of the cluster does not start.
    pub(super) fn note_held_up(&mut self, index: ClusterIndex, key: JobKey, is_held_up: bool) {
        let Some(member) = self.get_mut(index) else { return };
        let changed = match is_held_up && member.attempts.contains(&key) {
            true => member.held_up.insert(key),
            false => member.held_up.remove(&key),
        };
        if changed {
            self.refresh_room(index);
        }
    }

    /// Its agent has connected, and says again which of its attempts do not start.
    pub(super) fn forget_held_up(&mut self, index: ClusterIndex) {
        if let Some(member) = self.get_mut(index) {
            member.held_up.clear();
            self.refresh_room(index);
        }
    }

    fn refresh_room(&mut self, index: ClusterIndex) {
        if let Some(room) = self.get(index).map(Member::room) {
            self.rooms[index.0 as usize] = room;
        }
    }

    /// Whether what is kept apart is what follows from the members.
    #[cfg(test)]
    pub(super) fn is_fresh(&self) -> bool {
        let totals = self.iter().map(|(_, member)| member.counts_for());
        self.totals == totals.fold(Totals::default(), Totals::plus)
            && self.iter().all(|(index, member)| self.room(index) == member.room())
            && self
                .iter()
                .all(|(_, member)| member.held_up.iter().all(|key| member.attempts.contains(key)))
    }

    /// Keeps the room of a cluster for a class of jobs, or lets it be.
    pub(super) fn keep_for(&mut self, index: ClusterIndex, class: Option<ClassId>) {
        if let Some(member) = self.get_mut(index) {
            member.kept_for = class;
            self.refresh_room(index);
        }
    }

    /// The cluster that is best kept for a class: of those that suit it and are kept for no other, the one of which most is free.
    pub(super) fn best_to_keep(&self, class: ClassId) -> Option<ClusterIndex> {
        let free = self.iter().filter(|(_, member)| {
            member.contact() == Contact::Connected && member.kept_for.is_none() && member.awaited_by.contains(&class)
        });
        let best = free.max_by_key(|(index, member)| (self.room(*index).free_share, Reverse(&member.record.name)));
        best.map(|(index, _)| index)
    }

    /// Whether the cluster is connected, and kept for the class.
    pub(super) fn is_kept_for(&self, index: ClusterIndex, class: ClassId) -> bool {
        let member = self.get(index);
        member.is_some_and(|member| member.contact() == Contact::Connected && member.kept_for == Some(class))
    }

    /// Forgets that a class awaits room anywhere.
    pub(super) fn forget_class(&mut self, class: ClassId) {
        for member in self.slots.iter_mut().flatten() {
            member.awaited_by.remove(&class);
        }
    }
}
