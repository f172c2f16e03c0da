//! What goes wrong, and when: all of it follows from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The clusters; their stores, in this order, are a folder on a small disk, a folder, and two places in a bucket.
pub(crate) const CLUSTERS: [&str; 4] = ["north", "east", "west", "south"];
/// The masters.
pub(crate) const MASTERS: [&str; 2] = ["master-0", "master-1"];
/// The cluster whose store is on a small disk.
pub(crate) const SMALL_DISK: &str = CLUSTERS[0];
/// Those whose store is reached over the network.
pub(crate) const BUCKETS: [&str; 2] = [CLUSTERS[2], CLUSTERS[3]];

/// Those that are Kubernetes clusters where there are any; jobs of the others are processes.
pub(crate) const KUBERNETES: [&str; 2] = [CLUSTERS[1], CLUSTERS[2]];

/// What the clusters are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// In all of them, jobs are processes.
    Processes,
    /// [`KUBERNETES`] are what their name says.
    Kubernetes,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    LeaderKilled,
    LeaderPaused,
    LeaderTold,
    StandbyKilled,
    AgentKilled,
    AgentPaused,
    AgentTold,
    LinkSilent,
    LinkReset,
    LinkHalfOpen,
    LinkCut,
    LinkSlow,
    DatabaseCut,
    DatabaseKilled,
    StoreKilled,
    StoreRefuses,
    StoreCut,
    DiskFull,
    ClockSkewed,
    AgentPodDeleted,
    JobPodDeleted,
    SupervisorKilled,
    ApiServerKilled,
    ApiServerPaused,
    KubeletPaused,
    RuntimePaused,
    NodeRestarted,
}

impl Kind {
    pub(crate) const ALL: [Self; 27] = [
        Self::LeaderKilled,
        Self::LeaderPaused,
        Self::LeaderTold,
        Self::StandbyKilled,
        Self::AgentKilled,
        Self::AgentPaused,
        Self::AgentTold,
        Self::LinkSilent,
        Self::LinkReset,
        Self::LinkHalfOpen,
        Self::LinkCut,
        Self::LinkSlow,
        Self::DatabaseCut,
        Self::DatabaseKilled,
        Self::StoreKilled,
        Self::StoreRefuses,
        Self::StoreCut,
        Self::DiskFull,
        Self::ClockSkewed,
        Self::AgentPodDeleted,
        Self::JobPodDeleted,
        Self::SupervisorKilled,
        Self::ApiServerKilled,
        Self::ApiServerPaused,
        Self::KubeletPaused,
        Self::RuntimePaused,
        Self::NodeRestarted,
    ];

    /// What people read.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::LeaderKilled => "leader killed (kill -9)",
            Self::LeaderPaused => "leader stopped beyond its lease (SIGSTOP)",
            Self::LeaderTold => "leader told to go (SIGTERM)",
            Self::StandbyKilled => "standby killed (kill -9)",
            Self::AgentKilled => "agent killed (kill -9)",
            Self::AgentPaused => "agent stopped beyond its lease (SIGSTOP)",
            Self::AgentTold => "agent told to go (SIGTERM)",
            Self::LinkSilent => "agent and masters: nothing passes",
            Self::LinkReset => "agent and masters: connections reset",
            Self::LinkHalfOpen => "agent and masters: one direction only",
            Self::LinkCut => "agent and masters: cut at random bytes",
            Self::LinkSlow => "agent and masters: slow",
            Self::DatabaseCut => "leader cut from its database",
            Self::DatabaseKilled => "database killed (kill -9)",
            Self::StoreKilled => "object store killed (kill -9)",
            Self::StoreRefuses => "object store answers 503",
            Self::StoreCut => "agent cut from its object store",
            Self::DiskFull => "disk of a store full",
            Self::ClockSkewed => "calendar of a part wrong",
            Self::AgentPodDeleted => "pod of an agent deleted",
            Self::JobPodDeleted => "pod of a job deleted",
            Self::SupervisorKilled => "supervisor in a job's pod killed (kill -9)",
            Self::ApiServerKilled => "API server killed (kill -9)",
            Self::ApiServerPaused => "API server stopped (SIGSTOP)",
            Self::KubeletPaused => "kubelet stopped (SIGSTOP)",
            Self::RuntimePaused => "container runtime stopped (SIGSTOP)",
            Self::NodeRestarted => "node restarted: all pods and their keepers killed at once",
        }
    }

    /// Whether it befalls Kubernetes clusters alone.
    pub(crate) const fn is_of_kubernetes(self) -> bool {
        matches!(
            self,
            Self::AgentPodDeleted
                | Self::JobPodDeleted
                | Self::SupervisorKilled
                | Self::ApiServerKilled
                | Self::ApiServerPaused
                | Self::KubeletPaused
                | Self::RuntimePaused
                | Self::NodeRestarted
        )
    }

    /// Whether it befalls a job that runs, which has to be looked for.
    pub(crate) const fn is_of_one_job(self) -> bool {
        matches!(self, Self::JobPodDeleted | Self::SupervisorKilled)
    }

    /// How long it lasts, in milliseconds. The lease of a leader is 3 s, that of an agent 6 s: some are over before anybody notices.
    const fn lasts(self) -> RangeInclusive<u64> {
        match self {
            Self::LeaderKilled | Self::StandbyKilled => 500..=8_000,
            Self::LeaderPaused => 4_500..=8_000,
            Self::LeaderTold => 1_000..=4_000,
            Self::AgentKilled => 500..=14_000,
            Self::AgentPaused => 7_000..=16_000,
            Self::AgentTold => 1_000..=6_000,
            Self::LinkSilent => 2_000..=18_000,
            Self::LinkReset => 500..=6_000,
            Self::LinkHalfOpen => 3_000..=14_000,
            Self::LinkCut => 3_000..=10_000,
            Self::LinkSlow => 4_000..=12_000,
            Self::DatabaseCut => 2_000..=8_000,
            Self::DatabaseKilled => 500..=5_000,
            Self::StoreKilled | Self::StoreRefuses => 2_000..=8_000,
            Self::StoreCut => 2_000..=12_000,
            Self::DiskFull => 4_000..=10_000,
            Self::ClockSkewed => 5_000..=20_000,
            Self::AgentPodDeleted => 2_000..=8_000,
            // A job that runs is looked for until then.
            Self::JobPodDeleted | Self::SupervisorKilled => 10_000..=20_000,
            Self::ApiServerKilled => 2_000..=15_000,
            Self::ApiServerPaused => 3_000..=15_000,
            // A node is told to be silent after 20 s.
            Self::KubeletPaused => 5_000..=28_000,
            Self::RuntimePaused => 3_000..=12_000,
            Self::NodeRestarted => 2_000..=8_000,
        }
    }

    /// What it can befall.
    const fn targets(self, stage: Stage) -> &'static [&'static str] {
        match self {
            Self::LeaderKilled | Self::LeaderPaused | Self::LeaderTold | Self::DatabaseCut => &["leader"],
            Self::StandbyKilled => &["standby"],
            Self::DatabaseKilled => &["database"],
            Self::StoreKilled => &["store"],
            Self::StoreRefuses | Self::StoreCut => &BUCKETS,
            Self::DiskFull => &[SMALL_DISK],
            // Pods have the calendar of their node.
            Self::ClockSkewed => match stage {
                Stage::Processes => &["master-0", "master-1", "north", "east", "west", "south"],
                Stage::Kubernetes => &["master-0", "master-1", "north", "south"],
            },
            _ if self.is_of_kubernetes() => &KUBERNETES,
            _ => &CLUSTERS,
        }
    }

    /// What only one thing can befall at a time. Different ones do go wrong at once.
    fn holds(self, target: &str) -> String {
        match self {
            Self::LeaderKilled | Self::LeaderPaused | Self::LeaderTold | Self::StandbyKilled | Self::DatabaseCut => {
                "masters".to_owned()
            }
            Self::AgentKilled | Self::AgentPaused | Self::AgentTold => format!("agent {target}"),
            Self::LinkSilent | Self::LinkReset | Self::LinkHalfOpen | Self::LinkCut | Self::LinkSlow => {
                format!("link {target}")
            }
            Self::StoreRefuses | Self::StoreCut => format!("store {target}"),
            Self::ClockSkewed => format!("calendar {target}"),
            Self::DatabaseKilled | Self::StoreKilled | Self::DiskFull => format!("{self:?}"),
            // What deletes pods asks the API server for it.
            Self::AgentPodDeleted | Self::JobPodDeleted | Self::ApiServerKilled | Self::ApiServerPaused => {
                format!("API server {target}")
            }
            Self::KubeletPaused | Self::RuntimePaused | Self::NodeRestarted => format!("node {target}"),
            Self::SupervisorKilled => format!("supervisors {target}"),
        }
    }

    /// How long what it befell is left alone afterwards, in milliseconds.
    const fn rest(self) -> u64 {
        match self {
            // They take a while to come up.
            Self::ApiServerKilled | Self::NodeRestarted => 20_000,
            _ => 1_000,
        }
    }
}

/// One thing that goes wrong, and is mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    pub(crate) target: String,
    /// From the begin of the run, in milliseconds.
    pub(crate) begins: u64,
    pub(crate) ends: u64,
    /// What else is left to chance: a direction, a number of bytes, a number of seconds.
    pub(crate) chance: u64,
}

/// So many events with so much time from one to the next on the average, in milliseconds.
pub(crate) fn plan(stage: Stage, seed: u64, events: u32, pause: u64) -> Vec<Event> {
    let of_stage = |kind: &Kind| stage == Stage::Kubernetes || !kind.is_of_kubernetes();
    let all: Vec<Kind> = Kind::ALL.into_iter().filter(of_stage).collect();
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let (mut planned, mut deck) = (Vec::new(), Vec::new());
    let mut held: BTreeMap<String, u64> = BTreeMap::new();
    let mut now = pause;
    for number in 1..=events {
        // What is held waits for its turn, so that all kinds come about equally often.
        let mut waits = Vec::new();
        let (kind, target) = loop {
            let kind: Kind = match deck.pop() {
                Some(kind) => kind,
                None if waits.len() < all.len() => {
                    deck.extend(&all);
                    deck.shuffle(&mut chance);
                    continue;
                }
                None => {
                    now += 1_000;
                    deck.append(&mut waits);
                    continue;
                }
            };
            let targets = kind.targets(stage);
            let target = targets[chance.random_range(0..targets.len())];
            if held.get(&kind.holds(target)).is_none_or(|until| *until < now) {
                break (kind, target);
            }
            waits.push(kind);
        };
        deck.extend(waits);
        let ends = now + chance.random_range(kind.lasts());
        // What was mended is given a moment.
        held.insert(kind.holds(target), ends + kind.rest());
        let target = target.to_owned();
        planned.push(Event {
            number,
            kind,
            target,
            begins: now,
            ends,
            chance: chance.random(),
        });
        now += chance.random_range(pause / 3..=pause * 5 / 3);
    }
    planned
}

/// How many kinds there are among events.
pub(crate) fn kinds<'events>(events: impl IntoIterator<Item = &'events Event>) -> BTreeSet<Kind> {
    events.into_iter().map(|event| event.kind).collect()
}
