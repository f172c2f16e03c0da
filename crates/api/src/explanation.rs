//! Why jobs are where they are.

use serde::{Deserialize, Serialize};
use tombolo_core::name::ClusterName;
use tombolo_core::placement;
use utoipa::ToSchema;

/// Why a job is where it is, or is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// One line for people.
    pub summary: String,
    /// The limit of its project or build that a queued job waits for, in words, if there is one.
    #[serde(default)]
    pub limit: Option<String>,
    /// What would have to change so that a job fits which no cluster can run.
    #[serde(default)]
    pub advice: Option<String>,
    /// All clusters, by name.
    pub clusters: Vec<ClusterVerdict>,
}

/// What one cluster is to one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterVerdict {
    /// The cluster.
    #[schema(value_type = String)]
    pub cluster: ClusterName,
    /// Whether the job can run there now.
    pub fits: bool,
    /// What it misses; empty if the job fits.
    pub misses: Vec<Miss>,
    /// What would have to change so that the job fits there, if something can and has to.
    #[serde(default)]
    pub remedy: Option<String>,
    /// Why others that suit the job come before it, if that does not lie in the job: its jobs do not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawback: Option<String>,
}

/// One thing that keeps a job from a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Miss {
    /// What kind: `label`, `residency` (its project may not run there), `volume_elsewhere`, `apart`, `no_volumes`, `closed`, `disconnected`, `too_small`, `full`, `kept`.
    pub kind: String,
    /// In words.
    pub message: String,
}

impl From<placement::Explanation> for Explanation {
    fn from(explanation: placement::Explanation) -> Self {
        let verdict = |verdict: placement::ClusterVerdict| ClusterVerdict {
            remedy: verdict.remedy(),
            drawback: verdict.drawback(),
            fits: verdict.misses.is_empty(),
            misses: verdict.misses.iter().map(Miss::from).collect(),
            cluster: verdict.cluster,
        };
        Self {
            summary: explanation.summary,
            limit: explanation.limit,
            advice: explanation.advice,
            clusters: explanation.clusters.into_iter().map(verdict).collect(),
        }
    }
}

impl From<&placement::Miss> for Miss {
    fn from(miss: &placement::Miss) -> Self {
        let kind = match miss {
            placement::Miss::Label { .. } => "label",
            placement::Miss::Residency { .. } => "residency",
            placement::Miss::VolumeElsewhere { .. } => "volume_elsewhere",
            placement::Miss::Apart { .. } => "apart",
            placement::Miss::NoVolumes => "no_volumes",
            placement::Miss::Closed { .. } => "closed",
            placement::Miss::Incapable { .. } => "incapable",
            placement::Miss::Disconnected => "disconnected",
            placement::Miss::TooSmall { .. } => "too_small",
            placement::Miss::Full => "full",
            placement::Miss::Kept => "kept",
        };
        Self {
            kind: kind.to_owned(),
            message: miss.to_string(),
        }
    }
}
