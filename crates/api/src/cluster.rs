//! Clusters and invites.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tombolo_core::name::{ClusterName, ProjectName};
use tombolo_core::{placement, resources, session};
use utoipa::ToSchema;

use crate::time::DateTime;

/// A cluster that has joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cluster {
    /// Its name, unique.
    #[schema(value_type = String)]
    pub name: ClusterName,
    /// All its labels: those that it was given, the implied `cluster`, and under `node.` what its agent reports. Flags have
    /// an empty value.
    pub labels: BTreeMap<String, String>,
    /// Which jobs it takes, as an administrator has said.
    pub availability: Availability,
    /// Whether its agent is connected.
    pub connected: bool,
    /// Until when what runs there goes on without its agent, which is being replaced by another process; none if that is not so.
    #[serde(default)]
    pub handing_over_until: Option<DateTime>,
    /// When it joined.
    pub joined_at: DateTime,
    /// The version of its agent, if it has connected since the master started.
    pub version: Option<String>,
    /// What its executor can do for jobs, as its agent has announced, if it has connected since the master started: `images`, `exec`, `volumes`, `secrets`
    /// and so on.
    #[serde(default)]
    pub capabilities: Option<Vec<String>>,
    /// What it has for jobs, in all; known while it is connected, if its agent was told or may look at its nodes.
    pub capacity: Option<Resources>,
    /// Its nodes that jobs can go to, if its agent may look at them.
    pub nodes: Option<Nodes>,
    /// What its attempts take.
    pub used: Option<Resources>,
    /// What is free of its capacity, if that is known.
    pub free: Option<Resources>,
    /// How many attempts it runs at once at the most.
    pub slots: Option<u32>,
    /// How many attempts it has now.
    pub attempts: u64,
    /// The address at which its agent takes peers, if it does.
    pub peer_address: Option<String>,
    /// What is left to do before it can go, while it is being drained.
    #[serde(default)]
    pub drain: Option<Drain>,
}

/// What is left of a cluster that is being drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drain {
    /// How many attempts it still has.
    pub attempts: u64,
    /// How many jobs besides can run nowhere else, because of what other jobs of their build have left there.
    pub bound_jobs: u64,
    /// How many outputs jobs wait for that no other cluster has.
    pub outputs: u64,
    /// How large these are.
    pub output_bytes: u64,
    /// How many of them are on their way to another cluster.
    pub moving: u64,
    /// Why some of them are not, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
    /// Nothing is left: it can be removed, and no job runs again because of that.
    pub drained: bool,
}

/// Which jobs a cluster takes, as an administrator has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// All that suit it.
    Open,
    /// No new ones. Those that it has go on.
    Cordoned,
    /// No new ones, but for jobs that can run nowhere else. Those that it has go on, and outputs that jobs wait for are copied to other clusters.
    Draining,
    /// None, and its agent is refused.
    Disabled,
}

impl Availability {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        }
    }
}

impl From<placement::Availability> for Availability {
    fn from(availability: placement::Availability) -> Self {
        match availability {
            placement::Availability::Open => Self::Open,
            placement::Availability::Cordoned => Self::Cordoned,
            placement::Availability::Draining => Self::Draining,
            placement::Availability::Disabled => Self::Disabled,
        }
    }
}

impl From<Availability> for placement::Availability {
    fn from(availability: Availability) -> Self {
        match availability {
            Availability::Open => Self::Open,
            Availability::Cordoned => Self::Cordoned,
            Availability::Draining => Self::Draining,
            Availability::Disabled => Self::Disabled,
        }
    }
}

/// Changes a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCluster {
    /// Which jobs it takes from now on.
    pub availability: Availability,
    /// Whether the jobs that it has are placed elsewhere, where they begin anew: all but those that work with a volume which is only there. Of a cluster that
    /// is disabled they always are.
    #[serde(default)]
    pub move_jobs: bool,
}

/// Changes the labels of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeLabels {
    /// What changes: `key=value` or a bare flag sets a label, `key-` takes one away. `cluster` and what begins with `node.` is not for users to set.
    #[schema(max_items = 128)]
    pub labels: Vec<String>,
}

/// A cluster whose labels were changed, and what that changed for projects that say where their jobs may run (`clusters`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LabelledCluster {
    /// The cluster as it is now.
    #[serde(flatten)]
    pub cluster: Cluster,
    /// The projects whose jobs may run there now, and might not before.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub lets_in: Vec<ProjectName>,
    /// The projects whose jobs may not run there any more.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub keeps_out: Vec<ProjectName>,
}

/// The nodes of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Nodes {
    /// How many there are.
    pub count: u32,
    /// What they offer in all, also what others use of it.
    pub allocatable: Resources,
    /// The most of each that one of them has: no job that asks for more can run.
    pub largest: Resources,
}

impl From<session::Nodes> for Nodes {
    fn from(nodes: session::Nodes) -> Self {
        Self {
            count: nodes.count,
            allocatable: nodes.allocatable.into(),
            largest: nodes.largest.into(),
        }
    }
}

/// Processor and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Resources {
    /// Thousandths of a processor.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

impl From<resources::Resources> for Resources {
    fn from(resources: resources::Resources) -> Self {
        Self {
            cpu_milli: resources.cpu_milli,
            memory_bytes: resources.memory_bytes,
        }
    }
}

/// All clusters, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterList {
    /// The clusters.
    pub clusters: Vec<Cluster>,
}

/// Asks for an invite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateInvite {
    /// The name that the cluster will have.
    #[schema(value_type = String, max_length = 63)]
    pub name: ClusterName,
    /// The labels that the cluster will have, each `key=value` or a bare flag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub labels: Vec<String>,
    /// How long it is valid, in seconds; see [`crate::limit::INVITE_SECONDS_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86_400)]
    pub ttl_seconds: Option<u64>,
}

/// An invite, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteSummary {
    /// The name that the cluster will have.
    #[schema(value_type = String)]
    pub name: ClusterName,
    /// The labels that the cluster will have.
    pub labels: BTreeMap<String, String>,
    /// What it is good for.
    pub state: InviteState,
    /// When it ends.
    pub expires_at: DateTime,
}

/// What an invite is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InviteState {
    /// A cluster may join with it.
    Open,
    /// A cluster has joined with it.
    Used,
    /// Nobody used it in time.
    Expired,
}

impl InviteState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Used => "used",
            Self::Expired => "expired",
        }
    }
}

/// The invites of the last day, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteList {
    /// The invites.
    pub invites: Vec<InviteSummary>,
}

/// The one-time right to join, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invite {
    /// The name that the cluster will have.
    #[schema(value_type = String)]
    pub name: ClusterName,
    /// The labels that the cluster will have.
    pub labels: BTreeMap<String, String>,
    /// What the agent joins with. A secret.
    pub invite: String,
    /// When it ends.
    pub expires_at: DateTime,
}

impl std::fmt::Debug for Invite {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Invite")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
