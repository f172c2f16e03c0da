//! Jobs that ask the same of a cluster.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Ticket;
use super::ring::Ring;
use crate::capability::CapabilitySet;
use crate::control::clusters::ClusterIndex;
use crate::id::ProjectId;
use crate::label::Selector;
use crate::placement::{Demand, VolumeNeeds};
use crate::resources::Resources;

/// What the jobs of a class have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ClassKey {
    pub(super) selector: Selector,
    pub(super) resources: Resources,
    pub(super) volumes: Option<Box<VolumeNeeds>>,
    pub(super) needs: CapabilitySet,
}

impl ClassKey {
    pub(super) fn of(demand: &Demand<'_>) -> Self {
        let volumes = demand.volumes;
        Self {
            selector: demand.selector.clone(),
            resources: demand.resources,
            volumes: (!volumes.wanted.is_empty()).then(|| Box::new(volumes.clone())),
            needs: demand.needs,
        }
    }

    pub(super) fn demand(&self) -> Demand<'_> {
        Demand {
            selector: &self.selector,
            prefer: None,
            resources: self.resources,
            volumes: self.volumes.as_deref().unwrap_or(&VolumeNeeds::NONE),
            needs: self.needs,
        }
    }
}

/// When it is a class's turn: when its first project was served last, and the first job of that.
pub(super) type Turn = (u64, Ticket);

#[derive(Debug)]
pub(super) struct Class {
    pub(super) key: ClassKey,
    /// The clusters that suit it and were not found full since. All others that suit it await room (`awaited_by`).
    pub(super) clusters: Ring<ClusterIndex>,
    pub(super) waiting: BTreeMap<ProjectId, Line>,
    /// The projects in `waiting` by when they were served last, as noted in their lines.
    pub(super) turns: BTreeSet<(u64, ProjectId)>,
    /// The turn under which it is in `Queue::open`, if it is; the truth may be later, but not earlier.
    pub(super) open_as: Option<Turn>,
    /// Since when, counted in `Queue::counter`, it has no jobs.
    pub(super) idle_since: Option<u64>,
}

/// The jobs of one project in one class.
#[derive(Debug)]
pub(super) struct Line {
    /// When the project was served last, as far as the class has noticed.
    pub(super) noted: u64,
    pub(super) tickets: BTreeSet<Ticket>,
}

impl Class {
    /// Whose turn it is: the first job of the project that was served longest ago.
    pub(super) fn turn(&mut self, served: &HashMap<ProjectId, u64>) -> Option<Turn> {
        loop {
            let (noted, project) = *self.turns.first()?;
            let line = self.waiting.get_mut(&project)?;
            let turn = served.get(&project).copied().unwrap_or_default();
            if noted >= turn {
                return Some((noted, *line.tickets.first()?));
            }
            line.noted = turn;
            self.turns.pop_first();
            self.turns.insert((turn, project));
        }
    }
}
