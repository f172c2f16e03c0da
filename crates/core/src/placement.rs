//! Where a job may run, where it should, and why.

use serde::{Deserialize, Serialize};

use crate::name::ClusterName;

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
    #[error("it has {capacity} {resource} in all, the job needs {request}")]
    TooSmall {
        /// `cpu` or `memory`.
        resource: String,
        /// What the cluster has.
        capacity: String,
        /// What the job needs.
        request: String,
    },
    /// There is room, but not now.
    #[error("it is full now")]
    Full,
}
