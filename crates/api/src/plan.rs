//! Where the jobs of a build would go.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tombolo_core::control;
use tombolo_core::digest::Digest;
use tombolo_core::name::{ClusterName, JobName};
use utoipa::ToSchema;

use crate::build::JobFile;
use crate::explanation::{ClusterVerdict, Explanation};

/// How many clusters are shown at the most of a job that is not placed.
const MAX_CLUSTERS: usize = 100;

/// Asks where the jobs of a job file would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanBuild {
    /// The job file.
    pub job_file: JobFile,
    /// The digest of the manifest of the source, uploaded before, where the workflows are that the file names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub source: Option<Digest>,
}

/// Where the jobs of a build would go now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// The jobs, in the order of the file.
    pub jobs: Vec<PlannedJob>,
}

/// Where a job would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedJob {
    /// Its name.
    #[schema(value_type = String)]
    pub name: JobName,
    /// What would become of it.
    pub outcome: PlanOutcome,
    /// The cluster that it would be given to.
    #[schema(value_type = Option<String>)]
    pub cluster: Option<ClusterName>,
    /// Why, in words.
    pub reason: String,
    /// What would have to change so that a job fits which no cluster can run.
    pub advice: Option<String>,
    /// Where the indexes would go at once, if it is an array; all else is said of its first one.
    #[serde(default)]
    pub indexes: Option<PlannedIndexes>,
    /// What it misses on each cluster, beside what comes before it in the plan; of a hundred clusters at the most. Of a job that is placed, these are the
    /// clusters that were compared, with nothing that it misses, and the others.
    pub clusters: Vec<ClusterVerdict>,
}

/// Where the indexes of an array would go at once. `count` is the sum of all other numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedIndexes {
    /// How many there are.
    pub count: u32,
    /// How many would be given to each cluster, by name; clusters that would get none are left out.
    #[schema(value_type = std::collections::BTreeMap<String, u32>)]
    pub placed: BTreeMap<ClusterName, u32>,
    /// How many would not be: for now, or, if that is the `outcome` of the job, at all.
    pub left: u32,
    /// How many were not looked at: not so many are to be there at once (`parallel`), or there are too many of them.
    pub not_looked_at: u32,
}

impl From<control::PlannedIndexes> for PlannedIndexes {
    fn from(planned: control::PlannedIndexes) -> Self {
        let control::PlannedIndexes {
            count,
            placed,
            left,
            not_looked_at,
        } = planned;
        Self {
            count,
            placed,
            left,
            not_looked_at,
        }
    }
}

/// What would become of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanOutcome {
    /// It would be given to a cluster.
    Placed,
    /// It would wait for room, for a cluster to connect, or for a limit.
    Waits,
    /// No cluster can run it as things are.
    Nowhere,
}

impl PlanOutcome {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Waits => "waits",
            Self::Nowhere => "nowhere",
        }
    }
}

impl From<control::PlannedJob> for PlannedJob {
    fn from(planned: control::PlannedJob) -> Self {
        let indexes = planned.indexes.map(Into::into);
        let (outcome, explanation) = match planned.place {
            control::Place::Cluster { cluster, reason } => {
                return Self {
                    name: planned.name,
                    outcome: PlanOutcome::Placed,
                    cluster: Some(cluster),
                    reason,
                    advice: None,
                    indexes,
                    clusters: planned.compared.into_iter().map(Into::into).collect(),
                };
            }
            control::Place::Waits(explanation) => (PlanOutcome::Waits, explanation),
            control::Place::Nowhere(explanation) => (PlanOutcome::Nowhere, explanation),
        };
        let mut explanation = Explanation::from(explanation);
        explanation.clusters.truncate(MAX_CLUSTERS);
        Self {
            name: planned.name,
            outcome,
            cluster: None,
            reason: explanation.summary,
            advice: explanation.advice.filter(|_| outcome == PlanOutcome::Nowhere),
            indexes,
            clusters: explanation.clusters,
        }
    }
}
