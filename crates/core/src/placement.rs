//! Where a job may run, where it should, and why.
//!
//! Filter ([`Candidate::suits`], [`Candidate::has_room`]), then score ([`Score`]), then explain ([`explain`]). The control
//! plane keeps indexes, so that it asks few clusters per placement; what each of them answers is said here only.

mod advice;
mod availability;
mod choice;
mod contradiction;
mod distance;
mod explain;
mod miss;
mod over_limit;
mod sharers;
mod wishes;
pub(crate) mod words;

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

pub use availability::Availability;
pub use choice::{Choice, Comparison};
pub use explain::{Placed, Situation, explain, misses};
pub use miss::{Miss, Resource};
pub use sharers::Sharers;
pub use wishes::{Crowds, Wishes};

use crate::capability::CapabilitySet;
use crate::label::{Labels, Selector};
use crate::name::{ClusterName, ProjectName};
use crate::resources::Resources;
use crate::route::{Cost, Costs};
use crate::share::Share;
use crate::time::Timestamp;
use crate::volume::{VolumeKind, VolumeSet};

/// What a job asks of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// Which clusters may run it.
    pub selector: &'a Selector,
    /// What it would rather have.
    pub wishes: Wishes<'a>,
    /// What it needs.
    pub resources: Resources,
    /// What it needs of volumes, and of the cluster of another job.
    pub volumes: &'a VolumeNeeds,
    /// What its executor must be able to do.
    pub needs: CapabilitySet,
    /// Its project, where people are told of it.
    pub project: Option<&'a ProjectName>,
    /// Those that share a volume with it, where people are told of it.
    pub sharers: Option<Sharers<'a>>,
    /// What that may have at once, where people are told of it.
    pub share: Option<&'a Share>,
}

impl Demand<'_> {
    /// What a cluster has to be large enough for: the job, and those that will have to run where it runs.
    pub fn largest(&self) -> Resources {
        self.resources.max(&self.volumes.companions)
    }
}

/// What a job asks of a cluster because of what other jobs use, or where they ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct VolumeNeeds {
    /// What it works with.
    pub wanted: VolumeSet,
    /// The cluster that has the build's shared volume already, if the job works with that.
    pub shared_on: Option<ClusterName>,
    /// The cluster that has the project's workspace already, if the job, or one that shares a volume with it, works with that.
    pub workspace_on: Option<ClusterName>,
    /// The most that one of the jobs needs that share a volume with it, and so run where it runs.
    pub companions: Resources,
    /// The cluster that ran the job which it has to run beside.
    pub beside: Option<ClusterName>,
}

impl VolumeNeeds {
    /// Nothing.
    pub const NONE: Self = Self {
        wanted: VolumeSet::of(&[]),
        shared_on: None,
        workspace_on: None,
        companions: Resources {
            cpu_milli: 0,
            memory_bytes: 0,
        },
        beside: None,
    };

    /// The cluster that it has to run on because another job did, if that is not this one.
    fn beside_elsewhere(&self, cluster: &ClusterName) -> Option<&ClusterName> {
        self.beside.as_ref().filter(|beside| *beside != cluster)
    }

    /// Whether the job can run on this cluster only, since what other jobs of its build have left is there, or one that it follows was.
    pub fn is_bound_to(&self, cluster: &ClusterName) -> bool {
        self.shared_on.as_ref() == Some(cluster) || self.beside.as_ref() == Some(cluster)
    }

    /// The volumes that are elsewhere, and where.
    fn elsewhere(&self, cluster: &ClusterName) -> impl Iterator<Item = (VolumeKind, &ClusterName)> {
        let shared = self.shared_on.iter().map(|on| (VolumeKind::Shared, on));
        let workspace = self.workspace_on.iter().map(|on| (VolumeKind::Workspace, on));
        shared.chain(workspace).filter(move |(_, on)| *on != cluster)
    }
}

/// What a cluster offers.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a ClusterName,
    /// All its labels, with the implied ones.
    pub labels: &'a Labels,
    /// Which jobs it takes, as an administrator has said.
    pub availability: Availability,
    /// Its room is kept for another job, which has waited longer.
    pub kept: bool,
    /// Its agent is connected and its lease runs.
    pub connected: bool,
    /// What it has for jobs, in all.
    pub capacity: Resources,
    /// The most that one of its nodes has, if that is known.
    pub largest: Option<Resources>,
    /// How many attempts it runs at once at the most.
    pub slots: u32,
    /// Whether it keeps volumes.
    pub volumes: bool,
    /// What its executor can do.
    pub capabilities: CapabilitySet,
    /// What its attempts take.
    pub used: Resources,
    /// How many attempts it has.
    pub attempts: u32,
    /// How many of these do not start, as its agent says.
    pub held_up: u32,
}

impl Candidate<'_> {
    /// Whether its agent has ever said what it has.
    fn is_known(&self) -> bool {
        self.slots > 0 || self.capacity != Resources::default()
    }

    /// Whether an administrator lets the job in.
    fn admits(&self, demand: &Demand<'_>) -> bool {
        match self.availability {
            Availability::Open => true,
            Availability::Draining => demand.volumes.is_bound_to(self.name),
            Availability::Cordoned | Availability::Disabled => false,
        }
    }

    /// Whether it could ever run the job: it takes new ones, the selector holds, the whole cluster and one of its nodes are large enough, and the
    /// job's volumes are there or can be. Changes only when the cluster itself does.
    pub fn suits(&self, demand: &Demand<'_>) -> bool {
        let needed = demand.largest();
        let on_a_node = self.largest.is_none_or(|largest| largest.fits(&needed));
        let with_volumes = demand.volumes.wanted.is_empty() || self.volumes;
        self.slots > 0
            && self.admits(demand)
            && on_a_node
            && with_volumes
            && demand.needs.without(self.capabilities).is_empty()
            && self.capacity.fits(&needed)
            && demand.volumes.elsewhere(self.name).next().is_none()
            && demand.volumes.beside_elsewhere(self.name).is_none()
            && demand.selector.matches(self.labels)
    }

    /// What is free for one more job now; none if it is not connected, or has as many attempts as it takes.
    pub fn free(&self) -> Option<Resources> {
        let takes_one = self.connected && self.attempts < self.slots;
        takes_one.then(|| self.capacity.minus(&self.used))
    }

    /// Whether it is connected and has room for a job that needs so much, now.
    pub fn has_room(&self, needed: &Resources) -> bool {
        self.free().is_some_and(|free| free.fits(needed))
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

/// How good a cluster is for a job, among those that have room: the greatest wins. Among equals it is the one that has the fewest jobs
/// of the same build, then the first by name; where there are many, the one whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score {
    /// How much the job prefers it.
    pub preferred: u32,
    /// How many jobs it is to be spread with run there, or in the same place.
    pub crowd: Reverse<u32>,
    /// What it costs to bring the job's inputs there, in seconds of waiting; less is better. What is not worth a second does not count.
    pub moving: Reverse<u64>,
    /// How many of its attempts do not start: what it says of its room may not be so.
    pub held_up: Reverse<u32>,
    /// How much of it is free, in millionths.
    pub free_share: u32,
}

impl Score {
    /// The score of a cluster that is preferred so much, and where it costs so much to bring the job's inputs; without its room.
    pub fn new(preferred: u32, crowd: u32, moving: Cost, costs: &Costs) -> Self {
        Self {
            preferred,
            crowd: Reverse(crowd),
            moving: Reverse(moving.0 / costs.waiting_per_second().0),
            held_up: Reverse(0),
            free_share: 0,
        }
    }

    /// The same for one of which so much is free, and where so many attempts do not start.
    #[must_use]
    pub const fn with_room(self, held_up: u32, free_share: u32) -> Self {
        Self {
            held_up: Reverse(held_up),
            free_share,
            ..self
        }
    }
}

/// Why a job is where it is, or is nowhere: every cluster with its verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// One line for people.
    pub summary: String,
    /// The cluster that has the job, if one does.
    #[serde(default)]
    pub cluster: Option<ClusterName>,
    /// Why that one, in words, if that is known.
    #[serde(default)]
    pub reason: Option<String>,
    /// The limit of its project or build that a queued job waits for, in words, if there is one.
    pub limit: Option<String>,
    /// What would have to change so that a job fits which no cluster can run: the least of that, on the nearest cluster.
    pub advice: Option<String>,
    /// When the next attempt of a job is due that waits for that.
    #[serde(default)]
    pub retry_at: Option<Timestamp>,
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
    /// How many of its attempts do not start: others that suit the job come before it.
    #[serde(default)]
    pub held_up: u32,
}
