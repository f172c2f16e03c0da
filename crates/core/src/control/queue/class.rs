//! Jobs that ask the same of a cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::accounts::{AccountIndex, Accounts};
use super::ring::Ring;
use super::{ClassId, Ticket};
use crate::capability::CapabilitySet;
use crate::control::builds::JobKey;
use crate::control::clusters::ClusterIndex;
use crate::label::Selector;
use crate::placement::{Demand, VolumeNeeds, Wishes};
use crate::planted::{Bug, planted};
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
            selector: match planted(Bug::SelectorForgotten) {
                false => demand.selector.clone(),
                true => Selector::default(),
            },
            resources: demand.resources,
            volumes: (*volumes != VolumeNeeds::NONE).then(|| Box::new(volumes.clone())),
            needs: demand.needs,
        }
    }

    pub(super) fn demand(&self) -> Demand<'_> {
        Demand {
            selector: &self.selector,
            wishes: Wishes::default(),
            resources: self.resources,
            volumes: self.volumes.as_deref().unwrap_or(&VolumeNeeds::NONE),
            needs: self.needs,
            project: None,
            sharers: None,
            share: None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Class {
    pub(super) key: ClassKey,
    /// The clusters that suit it and were not found full since. All others that suit it await room (`awaited_by`).
    pub(super) clusters: Ring<ClusterIndex>,
    waiting: BTreeMap<AccountIndex, Line>,
    /// Since when, counted in `Queue::counter`, it has no jobs.
    pub(super) idle_since: Option<u64>,
    /// The cluster whose room is kept for it.
    pub(super) kept: Option<ClusterIndex>,
    /// It is looked at from time to time whether any cluster suits it.
    pub(super) watched: bool,
}

/// The jobs of one project in one class.
#[derive(Debug)]
struct Line {
    part: Part,
    tickets: BTreeSet<Ticket>,
}

/// Whether a line takes part in whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Its first job is in the project's account.
    Listed,
    /// It was its turn, and the class had no cluster: it is listed when the class has one.
    Out,
    /// Each of its jobs passes a limit of the project, or of its builds, by itself.
    Held,
}

impl Class {
    pub(super) fn new(key: ClassKey, clusters: Ring<ClusterIndex>) -> Self {
        Self {
            key,
            clusters,
            waiting: BTreeMap::new(),
            idle_since: None,
            kept: None,
            watched: false,
        }
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = JobKey> {
        let lines = self.waiting.values();
        lines.flat_map(|line| line.tickets.iter().map(|ticket| ticket.job))
    }

    /// The jobs of those projects for which that is so.
    pub(super) fn jobs_of(&self, wanted: impl Fn(AccountIndex) -> bool) -> impl Iterator<Item = JobKey> {
        let lines = self.waiting.iter().filter(move |(account, _)| wanted(**account));
        lines.flat_map(|(_, line)| line.tickets.iter().map(|ticket| ticket.job))
    }

    pub(super) fn has_jobs(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Clusters that suit it and may have room, at most so many, not always the same ones.
    pub(super) fn some_clusters(&self, limit: usize) -> impl Iterator<Item = ClusterIndex> {
        self.clusters.walk().take(limit)
    }

    /// Adds a job.
    pub(super) fn insert(&mut self, id: ClassId, account: AccountIndex, ticket: Ticket, accounts: &mut Accounts) {
        let line = self.waiting.entry(account).or_insert_with(|| Line {
            part: Part::Out,
            tickets: BTreeSet::new(),
        });
        let first = line.tickets.first().copied();
        line.tickets.insert(ticket);
        match (line.part, first) {
            (Part::Listed, Some(first)) if ticket < first => {
                accounts.unlist(account, first, id);
                accounts.list(account, ticket, id);
            }
            (Part::Out, _) if !self.clusters.is_empty() => line.list(id, account, accounts),
            _ => {}
        }
    }

    /// Takes a job out.
    pub(super) fn remove(&mut self, id: ClassId, account: AccountIndex, ticket: &Ticket, accounts: &mut Accounts) {
        let Some(line) = self.waiting.get_mut(&account) else {
            return;
        };
        let was_first = line.tickets.first() == Some(ticket);
        line.tickets.remove(ticket);
        if line.part == Part::Listed && was_first {
            accounts.unlist(account, *ticket, id);
            line.list(id, account, accounts);
        }
        if line.tickets.is_empty() {
            accounts.let_be(account, id);
            self.waiting.remove(&account);
        }
    }

    /// It has a cluster, which it may have had not: all take part that are not held.
    pub(super) fn open(&mut self, id: ClassId, accounts: &mut Accounts) {
        let out = self.waiting.iter_mut().filter(|(_, line)| line.part == Part::Out);
        for (account, line) in out {
            line.list(id, *account, accounts);
        }
    }

    /// Leaves the jobs of a project out until the class has a cluster.
    pub(super) fn leave_out(&mut self, id: ClassId, account: AccountIndex, accounts: &mut Accounts) {
        self.unlist(id, account, Part::Out, accounts);
    }

    /// Leaves the jobs of a project out until its limits are others.
    pub(super) fn hold(&mut self, id: ClassId, account: AccountIndex, accounts: &mut Accounts) {
        self.unlist(id, account, Part::Held, accounts);
    }

    /// The project's limits are others.
    pub(super) fn release(&mut self, id: ClassId, account: AccountIndex, accounts: &mut Accounts) {
        let open = !self.clusters.is_empty();
        if let Some(line) = self.waiting.get_mut(&account).filter(|line| line.part == Part::Held) {
            line.part = Part::Out;
            if open {
                line.list(id, account, accounts);
            }
        }
    }

    fn unlist(&mut self, id: ClassId, account: AccountIndex, part: Part, accounts: &mut Accounts) {
        let Some(line) = self.waiting.get_mut(&account) else {
            return;
        };
        if let Some(first) = line.tickets.first().filter(|_| line.part == Part::Listed) {
            accounts.unlist(account, *first, id);
        }
        line.part = part;
    }
}

impl Line {
    fn list(&mut self, id: ClassId, account: AccountIndex, accounts: &mut Accounts) {
        if let Some(first) = self.tickets.first() {
            self.part = Part::Listed;
            accounts.list(account, *first, id);
        }
    }
}
