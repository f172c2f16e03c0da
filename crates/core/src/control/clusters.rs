//! The clusters that have joined: what is known of each, and what each has to do.

use std::collections::{BTreeMap, BTreeSet};

use super::builds::JobKey;
use super::queue::ClassId;
use super::record::Cluster;
use super::view::{AgentFacts, Contact};
use crate::id::SessionId;
use crate::label::Labels;
use crate::name::ClusterName;
use crate::placement::Candidate;
use crate::resources::Resources;
use crate::session::Capability;
use crate::time::Moment;
use crate::volume::VolumeId;

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
    pub(super) last_heard: Option<Moment>,
    /// What its attempts take.
    pub(super) used: Resources,
    /// The jobs whose current attempt is here.
    pub(super) attempts: BTreeSet<JobKey>,
    /// The volumes that it has, or is to make.
    pub(super) volumes: BTreeSet<VolumeId>,
    /// The classes of queued jobs that match but found no room here: they are told when there is some again.
    pub(super) awaited_by: BTreeSet<ClassId>,
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
            last_heard: None,
            used: Resources::default(),
            attempts: BTreeSet::new(),
            volumes: BTreeSet::new(),
            awaited_by: BTreeSet::new(),
        }
    }

    pub(super) fn contact(&self) -> Contact {
        match self.lease {
            Lease::Runs { .. } if self.session.is_some() => Contact::Connected,
            Lease::Runs { .. } | Lease::Ended { .. } => Contact::Away,
            Lease::Over => Contact::Lost,
        }
    }

    /// The cluster as placement sees it.
    pub(super) fn candidate(&self) -> Candidate<'_> {
        let agent = self.agent.as_ref();
        Candidate {
            name: &self.record.name,
            labels: &self.labels,
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
        }
    }
}

/// All clusters. An index stays good while others come and go.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    slots: Vec<Option<Member>>,
    free: Vec<ClusterIndex>,
    by_name: BTreeMap<ClusterName, ClusterIndex>,
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
            ClusterIndex(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
        });
        self.by_name.insert(record.name.clone(), index);
        self.slots[index.0 as usize] = Some(Member::new(record));
        index
    }

    pub(super) fn remove(&mut self, index: ClusterIndex) -> Option<Member> {
        let member = self.slots.get_mut(index.0 as usize)?.take()?;
        self.by_name.remove(&member.record.name);
        self.free.push(index);
        Some(member)
    }

    /// Forgets that a class awaits room anywhere.
    pub(super) fn forget_class(&mut self, class: ClassId) {
        for member in self.slots.iter_mut().flatten() {
            member.awaited_by.remove(&class);
        }
    }
}
