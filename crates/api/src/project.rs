//! Projects.

use serde::{Deserialize, Serialize};
use tombolo_core::id::ProjectId;
use tombolo_core::label::{ParseSelectorError, Requirement, Selector};
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
    #[schema(max_items = 64)]
    pub clusters: Vec<String>,
}

/// Requirements that no project can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClusters {
    /// One of them cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ParseSelectorError),
    /// There are more than placement looks at.
    #[error(
        "{count} requirements are more than {}, the most that there may be",
        Selector::MAX_REQUIREMENTS
    )]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// No cluster could ever meet them, so that no job could ever run.
    #[error("no cluster can ever meet all of them: {0}")]
    Contradiction(String),
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
    type Error = InvalidClusters;

    /// Requirements that are given twice count once.
    fn try_from(share: Share) -> Result<Self, InvalidClusters> {
        // Before any of them is looked at: there may be very many.
        let count = share.clusters.len();
        if count > Selector::MAX_REQUIREMENTS {
            return Err(InvalidClusters::TooMany { count });
        }
        let mut clusters: Vec<Requirement> = Vec::new();
        for text in &share.clusters {
            let requirement = text.parse()?;
            if !clusters.contains(&requirement) {
                clusters.push(requirement);
            }
        }
        let clusters = Selector::from_iter(clusters);
        if let Some(excluding) = clusters.contradiction() {
            let excluding = excluding.into_iter().map(ToString::to_string).collect::<Vec<_>>();
            return Err(InvalidClusters::Contradiction(excluding.join(", ")));
        }
        Ok(Self {
            weight: share.weight,
            limits: share.limits.into(),
            build_limits: share.build_limits.into(),
            clusters,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn confined(clusters: Vec<String>) -> Result<share::Share, InvalidClusters> {
        share::Share::try_from(Share {
            clusters,
            ..share::Share::default().into()
        })
    }

    #[test]
    fn a_project_requires_each_thing_once_and_not_more_than_placement_looks_at() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let share = confined(texts(&["region=eu", "region == eu", "gpu", "region=eu"])).unwrap();
        assert_eq!(share.clusters.to_string(), "region=eu, gpu");
        let many = |count: usize| (0..count).map(|index| format!("a{index}")).collect::<Vec<_>>();
        assert!(confined(many(64)).is_ok());
        assert_eq!(confined(many(65)), Err(InvalidClusters::TooMany { count: 65 }));
        assert_eq!(confined(many(20_000)), Err(InvalidClusters::TooMany { count: 20_000 }));
        let error = confined(texts(&["region=eu", "gpu", "!gpu"])).unwrap_err();
        assert_eq!(error.to_string(), "no cluster can ever meet all of them: gpu, !gpu");
        assert!(matches!(confined(texts(&["="])), Err(InvalidClusters::Unreadable(_))));
    }
}
