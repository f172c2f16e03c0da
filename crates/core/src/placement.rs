//! Where a job may run, where it should, and why.
//!
//! Filter ([`Candidate::suits`], [`Candidate::has_room`]), then score ([`Score`]), then explain ([`explain`]). The control
//! plane keeps indexes, so that it asks few clusters per placement; what each of them answers is said here only.

mod explain;

use serde::{Deserialize, Serialize};

pub use explain::{Situation, explain, misses};

use crate::label::{Labels, Selector};
use crate::name::ClusterName;
use crate::resources::Resources;

/// What a job asks of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// Which clusters may run it.
    pub selector: &'a Selector,
    /// The cluster to take when it fits.
    pub prefer: Option<&'a ClusterName>,
    /// What it needs.
    pub resources: Resources,
}

/// What a cluster offers.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a ClusterName,
    /// All its labels, with the implied ones.
    pub labels: &'a Labels,
    /// Its agent is connected and its lease runs.
    pub connected: bool,
    /// What it has for jobs, in all.
    pub capacity: Resources,
    /// The most that one of its nodes has, if that is known.
    pub largest: Option<Resources>,
    /// How many attempts it runs at once at the most.
    pub slots: u32,
    /// What its attempts take.
    pub used: Resources,
    /// How many attempts it has.
    pub attempts: u32,
}

impl Candidate<'_> {
    /// Whether it could ever run the job: the selector holds, and the whole cluster and one of its nodes are large enough.
    /// Changes only when the cluster itself does.
    pub fn suits(&self, demand: &Demand<'_>) -> bool {
        let on_a_node = self.largest.is_none_or(|largest| largest.fits(&demand.resources));
        self.slots > 0 && on_a_node && self.capacity.fits(&demand.resources) && demand.selector.matches(self.labels)
    }

    /// Whether it is connected and has room for the job now.
    pub fn has_room(&self, demand: &Demand<'_>) -> bool {
        self.connected && self.attempts < self.slots && self.capacity.minus(&self.used).fits(&demand.resources)
    }

    /// How much of it is free, in millionths: of what is scarcest, so that clusters fill evenly.
    pub fn free_share(&self) -> u32 {
        const WHOLE: u128 = 1_000_000;
        let share = |used: u64, all: u64| match all {
            0 => WHOLE,
            all => u128::from(all.saturating_sub(used)) * WHOLE / u128::from(all),
        };
        let scarcest = share(u64::from(self.attempts), u64::from(self.slots))
            .min(share(self.used.cpu_milli, self.capacity.cpu_milli))
            .min(share(self.used.memory_bytes, self.capacity.memory_bytes));
        u32::try_from(scarcest).unwrap_or(u32::MAX)
    }
}

/// How good a cluster is for a job, among those that have room: the greatest wins, and among equals the first by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score {
    /// The job prefers it.
    pub preferred: bool,
    /// How many bytes of the job's inputs are there already.
    pub input_bytes: u64,
    /// How much of it is free, in millionths.
    pub free_share: u32,
}

impl Score {
    /// The score of a cluster that has `input_bytes` of the job's inputs.
    pub fn new(demand: &Demand<'_>, candidate: &Candidate<'_>, input_bytes: u64) -> Self {
        Self {
            preferred: demand.prefer == Some(candidate.name),
            input_bytes,
            free_share: candidate.free_share(),
        }
    }
}

/// Why a job is where it is, or is nowhere: every cluster with its verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// One line for people.
    pub summary: String,
    /// All clusters, by name.
    pub clusters: Vec<ClusterVerdict>,
}

/// What one cluster is to one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterVerdict {
    /// The cluster.
    pub cluster: ClusterName,
    /// What it misses; empty if the job fits.
    pub misses: Vec<Miss>,
}

/// One thing that keeps a job from a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Miss {
    /// A requirement of the selector does not hold.
    #[error("selector `{requirement}` does not hold{}", found.as_ref().map(|value| format!(" (it is `{value}`)")).unwrap_or_default())]
    Label {
        /// The requirement, as text.
        requirement: String,
        /// The label's value there, if it has one.
        found: Option<String>,
    },
    /// The agent is not connected.
    #[error("its agent is not connected")]
    Disconnected,
    /// The whole cluster is too small.
    #[error("it has {capacity} {resource} {}, the job needs {request}", if *on_a_node { "on its largest node" } else { "in all" })]
    TooSmall {
        /// `cpu`, `memory` or `slots`.
        resource: String,
        /// What the cluster has.
        capacity: String,
        /// It may have more in all, but no node has.
        on_a_node: bool,
        /// What the job needs.
        request: String,
    },
    /// There is room, but not now.
    #[error("it is full now")]
    Full,
}
