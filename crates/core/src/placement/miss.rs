//! What keeps jobs from clusters.

use serde::{Deserialize, Serialize};

use super::{Availability, words};
use crate::capability::Capability;
use crate::label::Requirement;
use crate::name::{ClusterName, JobName, ProjectName};
use crate::share::Over;
use crate::volume::VolumeKind;

/// One thing that keeps a job from a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Miss {
    /// A requirement of the job's selector does not hold.
    #[error("selector `{requirement}`{} does not hold{}", words::of_sharer(job.as_ref()), words::found(found.as_deref()))]
    Label {
        /// The requirement.
        requirement: Requirement,
        /// The label's value there, if it has one.
        found: Option<String>,
        /// The job or its project says something else of the same label, which another value might break.
        is_contested: bool,
        /// The job that requires it, if it is another, with which this one shares a volume.
        #[serde(default)]
        job: Option<JobName>,
    },
    /// The job's project may not run there, whatever the job says.
    #[error("{} may run only where `{requirement}` holds{}", words::project(project.as_ref()), words::found(found.as_deref()))]
    Residency {
        /// What the project requires.
        requirement: Requirement,
        /// The label's value there, if it has one.
        found: Option<String>,
        /// The project.
        project: Option<ProjectName>,
    },
    /// It passes a limit of its project or its build by itself, so that no cluster is ever given it.
    #[error("{}", over.words(project.as_ref()))]
    OverLimit {
        /// Which, and by how much.
        over: Over,
        /// The project.
        project: Option<ProjectName>,
    },
    /// A volume of the job is in another cluster.
    #[error("the {} is on cluster `{cluster}`", match volume { VolumeKind::Shared => "shared volume of the build", VolumeKind::Workspace => "workspace of the project" })]
    VolumeElsewhere {
        /// Which.
        volume: VolumeKind,
        /// Where it is.
        cluster: ClusterName,
    },
    /// The job has to run where another one did.
    #[error("the job has to run on cluster `{cluster}`, as the one did that `same_as` names")]
    Apart {
        /// Where that one ran.
        cluster: ClusterName,
    },
    /// An administrator has said that it takes no such jobs.
    #[error("{}", match availability {
        Availability::Draining => "it is being drained, and takes no new jobs",
        Availability::Disabled => "it is disabled",
        Availability::Open | Availability::Cordoned => "it is cordoned, and takes no new jobs",
    })]
    Closed {
        /// What it is.
        availability: Availability,
    },
    /// The agent is not connected.
    #[error("its agent is not connected")]
    Disconnected,
    /// The whole cluster is too small.
    #[error(
        "it has {} {resource} {}, {} needs {}",
        resource.amount(*capacity), if *on_a_node { "on its largest node" } else { "in all" }, words::sharer(job.as_ref()),
        resource.amount(*request)
    )]
    TooSmall {
        /// Of what it has too little.
        resource: Resource,
        /// What the cluster has.
        capacity: u64,
        /// It may have more in all, but no node has.
        on_a_node: bool,
        /// What the job needs.
        request: u64,
        /// The job that needs it, if it is another, with which this one shares a volume.
        #[serde(default)]
        job: Option<JobName>,
    },
    /// It keeps no volumes.
    #[error("it keeps no volumes for jobs")]
    NoVolumes,
    /// Its executor cannot do what the job asks for.
    #[error("it has no `{capability}`, which the job needs")]
    Incapable {
        /// What.
        capability: Capability,
    },
    /// There is room, but not now.
    #[error(
        "it has {} of {} {resource} free now, the job needs {} ({} more)",
        resource.amount(*free), resource.amount(*capacity), resource.amount(*request),
        resource.amount(request.saturating_sub(*free))
    )]
    Full {
        /// What is short.
        resource: Resource,
        /// What it has of that in all.
        capacity: u64,
        /// What is free of that.
        free: u64,
        /// What the job needs.
        request: u64,
    },
    /// What room there is, now or soon, is for a job that needs more of it and has waited longer.
    #[error("its room is kept for a job that has waited longer")]
    Kept,
}

/// What clusters have so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Processors, in thousandths.
    Cpu,
    /// Bytes of memory.
    Memory,
    /// Attempts at once.
    Slots,
}

impl Resource {
    /// So much of it, as people read it.
    pub(crate) fn amount(self, amount: u64) -> String {
        match self {
            Self::Cpu => words::cpu(amount),
            Self::Memory => words::memory(amount),
            Self::Slots => amount.to_string(),
        }
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Slots => "slots",
        })
    }
}
