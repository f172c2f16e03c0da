//! Projects.

use serde::{Deserialize, Serialize};
use tombolo_core::id::ProjectId;
use tombolo_core::label::{ParseSelectorError, Requirement};
use tombolo_core::name::{ClusterName, ProjectName};
use tombolo_core::retention::Policy;
use tombolo_core::share;
use utoipa::ToSchema;

use crate::time::DateTime;

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: ProjectId,
    /// Its name, unique.
    #[schema(value_type = String)]
    pub name: ProjectName,
    /// When it was made.
    pub created_at: DateTime,
    /// The number of its latest build; 0 before the first.
    pub last_build: u64,
    /// The cluster that has the project's workspace, once a job has used it.
    #[schema(value_type = Option<String>)]
    pub workspace: Option<ClusterName>,
    /// What is kept of its outputs; the installation's default if nothing is said.
    pub retention: Option<Retention>,
    /// What it may have of the clusters.
    pub share: Share,
}

/// What a project may have of the clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// How much it gets beside others, when all want more than there is: one of weight 2 twice as much as one of weight 1.
    #[schema(minimum = 1, maximum = 1000)]
    pub weight: u32,
    /// What all its jobs may take at once.
    #[serde(default)]
    pub limits: Limits,
    /// What the jobs of each of its builds may take at once.
    #[serde(default)]
    pub build_limits: Limits,
    /// The clusters that its jobs may run on, whatever these say: requirements that all must hold. All clusters if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
}

/// The most that jobs may take at once. What is not given has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// So many jobs that clusters have.
    pub jobs: Option<u32>,
    /// So many thousandths of a processor.
    pub cpu_milli: Option<u64>,
    /// So many bytes of memory.
    pub memory_bytes: Option<u64>,
}

impl From<share::Share> for Share {
    fn from(share: share::Share) -> Self {
        Self {
            weight: share.weight,
            limits: share.limits.into(),
            build_limits: share.build_limits.into(),
            clusters: share.clusters.requirements.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<Share> for share::Share {
    type Error = ParseSelectorError;

    fn try_from(share: Share) -> Result<Self, ParseSelectorError> {
        let clusters = share.clusters.iter().map(|text| text.parse::<Requirement>());
        Ok(Self {
            weight: share.weight,
            limits: share.limits.into(),
            build_limits: share.build_limits.into(),
            clusters: clusters.collect::<Result<_, _>>()?,
        })
    }
}

impl From<share::Limits> for Limits {
    fn from(limits: share::Limits) -> Self {
        Self {
            jobs: limits.jobs,
            cpu_milli: limits.cpu_milli,
            memory_bytes: limits.memory_bytes,
        }
    }
}

impl From<Limits> for share::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            jobs: limits.jobs,
            cpu_milli: limits.cpu_milli,
            memory_bytes: limits.memory_bytes,
        }
    }
}

/// What is kept of a project's outputs. Each limit that is given holds; without any, all of them are kept for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// The outputs of so many builds, the newest.
    pub builds: Option<u32>,
    /// Outputs for so many days after the end of their build.
    pub days: Option<u32>,
    /// So many bytes of outputs. Those of the newest build that is over stay, however large they are.
    pub bytes: Option<u64>,
}

impl From<Policy> for Retention {
    fn from(Policy { builds, days, bytes }: Policy) -> Self {
        Self { builds, days, bytes }
    }
}

impl From<Retention> for Policy {
    fn from(Retention { builds, days, bytes }: Retention) -> Self {
        Self { builds, days, bytes }
    }
}

/// Changes a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeProject {
    /// What is kept of its outputs from now on; `null`: the installation's default.
    pub retention: Option<Retention>,
}

/// What would go if it was looked now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionPlan {
    /// What holds for the project: its own, or the installation's default.
    pub retention: Retention,
    /// The builds whose outputs would go, newest first.
    pub builds: Vec<GoingBuild>,
    /// The bytes of all their outputs. Less may become free: what is alike is stored once, and compressed.
    pub bytes: u64,
}

/// A build whose outputs would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GoingBuild {
    /// Its number.
    pub number: u64,
    /// When it ended.
    pub ended_at: Option<DateTime>,
    /// The bytes of its outputs.
    pub bytes: u64,
}

/// The projects that the caller may see, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectList {
    /// The projects.
    pub projects: Vec<Project>,
}

/// Asks for a new project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// Its name.
    #[schema(value_type = String, max_length = 63)]
    pub name: ProjectName,
}
