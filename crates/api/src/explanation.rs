//! Why jobs are where they are.

use serde::{Deserialize, Serialize};
use tombolo_core::name::{ClusterName, JobName};
use tombolo_core::placement;
use tombolo_core::share::Whose;
use utoipa::ToSchema;

use crate::time::DateTime;

/// Why a job is where it is, or is nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// One line for people.
    pub summary: String,
    /// The cluster that has the job, or had it when it ended.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub cluster: Option<ClusterName>,
    /// Why that one, in words, if that is known.
    #[serde(default)]
    pub reason: Option<String>,
    /// The limit of its project or build that a queued job waits for, in words, if there is one.
    #[serde(default)]
    pub limit: Option<String>,
    /// What would have to change so that a job fits which no cluster can run.
    #[serde(default)]
    pub advice: Option<String>,
    /// When the next attempt of a job is due that waits for that.
    #[serde(default)]
    pub retry_at: Option<DateTime>,
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
    #[serde(default)]
    pub drawback: Option<String>,
}

/// One thing that keeps a job from a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Miss {
    /// What kind: `label`, `residency` (its project may not run there), `over_limit` (it passes a limit of its project or its build by itself), `volume_elsewhere`, `apart`, `no_volumes`, `closed`, `incapable`, `disconnected`, `too_small`, `full`, `kept`.
    pub kind: String,
    /// In words.
    pub message: String,
    /// `label`, `residency`: the requirement that does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirement: Option<String>,
    /// `label`, `residency`: the label's value there, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// `too_small`, `full`, `over_limit`: what there is too little of: `cpu` (in thousandths of a processor), `memory` (in bytes) or `slots` (jobs at once).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// `too_small`, `full`: what the cluster has of it in all, or its largest node, whichever is less; `full` has what is there in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// `full`: what of it is free now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
    /// `too_small`, `full`, `over_limit`: what the job needs of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// `over_limit`: what the project or the build may have of it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// `over_limit`: whose limit that is: `project` or `build` (of each of the project's builds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_of: Option<String>,
    /// `too_small`: the cluster may have more in all, and no node has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_a_node: Option<bool>,
    /// `volume_elsewhere`, `apart`: the cluster where the job has to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub cluster: Option<ClusterName>,
    /// `label`, `too_small`: the job that asks for that, if it is another one, with which this one shares the volume of the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub job: Option<JobName>,
    /// `incapable`: what the cluster's executor cannot do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
}

impl From<placement::Explanation> for Explanation {
    fn from(explanation: placement::Explanation) -> Self {
        Self {
            summary: explanation.summary,
            cluster: explanation.cluster,
            reason: explanation.reason,
            limit: explanation.limit,
            advice: explanation.advice,
            retry_at: explanation.retry_at.map(Into::into),
            clusters: explanation.clusters.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<placement::ClusterVerdict> for ClusterVerdict {
    fn from(verdict: placement::ClusterVerdict) -> Self {
        Self {
            remedy: verdict.remedy(),
            drawback: verdict.drawback(),
            fits: verdict.misses.is_empty(),
            misses: verdict.misses.iter().map(Miss::from).collect(),
            cluster: verdict.cluster,
        }
    }
}

/// The kind of a miss on the wire.
const fn kind(miss: &placement::Miss) -> &'static str {
    match miss {
        placement::Miss::Label { .. } => "label",
        placement::Miss::Residency { .. } => "residency",
        placement::Miss::OverLimit { .. } => "over_limit",
        placement::Miss::VolumeElsewhere { .. } => "volume_elsewhere",
        placement::Miss::Apart { .. } => "apart",
        placement::Miss::NoVolumes => "no_volumes",
        placement::Miss::Closed { .. } => "closed",
        placement::Miss::Incapable { .. } => "incapable",
        placement::Miss::Disconnected => "disconnected",
        placement::Miss::TooSmall { .. } => "too_small",
        placement::Miss::Full { .. } => "full",
        placement::Miss::Kept => "kept",
    }
}

/// Whose limit it is, on the wire.
const fn limit_of(whose: Whose) -> &'static str {
    match whose {
        Whose::Project => "project",
        Whose::Build => "build",
    }
}

impl From<&placement::Miss> for Miss {
    fn from(miss: &placement::Miss) -> Self {
        let words = Self {
            kind: kind(miss).to_owned(),
            message: miss.to_string(),
            ..Self::default()
        };
        match miss {
            placement::Miss::Label {
                requirement,
                found,
                job,
                ..
            } => Self {
                requirement: Some(requirement.to_string()),
                found: found.clone(),
                job: job.clone(),
                ..words
            },
            placement::Miss::Residency { requirement, found, .. } => Self {
                requirement: Some(requirement.to_string()),
                found: found.clone(),
                ..words
            },
            placement::Miss::OverLimit { over, .. } => Self {
                resource: Some(over.resource.to_string()),
                limit: Some(over.limit),
                limit_of: Some(limit_of(over.whose).to_owned()),
                request: Some(over.request),
                ..words
            },
            placement::Miss::TooSmall {
                resource,
                capacity,
                on_a_node,
                request,
                job,
            } => Self {
                resource: Some(resource.to_string()),
                capacity: Some(*capacity),
                on_a_node: Some(*on_a_node),
                request: Some(*request),
                job: job.clone(),
                ..words
            },
            placement::Miss::Full {
                resource,
                capacity,
                free,
                request,
            } => Self {
                resource: Some(resource.to_string()),
                capacity: Some(*capacity),
                free: Some(*free),
                request: Some(*request),
                ..words
            },
            placement::Miss::VolumeElsewhere { cluster, .. } | placement::Miss::Apart { cluster } => Self {
                cluster: Some(cluster.clone()),
                ..words
            },
            placement::Miss::Incapable { capability } => Self {
                capability: Some(capability.to_string()),
                ..words
            },
            placement::Miss::NoVolumes
            | placement::Miss::Closed { .. }
            | placement::Miss::Disconnected
            | placement::Miss::Kept => words,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tombolo_core::capability::Capability;
    use tombolo_core::placement::{Availability, Resource};
    use tombolo_core::share::Over;
    use tombolo_core::volume::VolumeKind;
    use utoipa::PartialSchema;

    use super::*;

    /// One of each kind.
    fn all() -> Vec<placement::Miss> {
        let cluster = ClusterName::new("west").unwrap();
        let requirement: tombolo_core::label::Requirement = "gpu>1".parse().unwrap();
        let resource = Resource::Cpu;
        vec![
            placement::Miss::Label {
                requirement: requirement.clone(),
                found: Some("1".to_owned()),
                is_contested: false,
                job: None,
            },
            placement::Miss::Residency {
                requirement,
                found: None,
                project: None,
            },
            placement::Miss::OverLimit {
                over: Over {
                    whose: Whose::Build,
                    resource,
                    limit: 1000,
                    request: 2000,
                },
                project: None,
            },
            placement::Miss::VolumeElsewhere {
                volume: VolumeKind::Shared,
                cluster: cluster.clone(),
            },
            placement::Miss::Apart { cluster },
            placement::Miss::NoVolumes,
            placement::Miss::Closed {
                availability: Availability::Cordoned,
            },
            placement::Miss::Incapable {
                capability: Capability::Secrets,
            },
            placement::Miss::Disconnected,
            placement::Miss::TooSmall {
                resource,
                capacity: 4000,
                on_a_node: true,
                request: 5000,
                job: Some(JobName::new("large").unwrap()),
            },
            placement::Miss::Full {
                resource,
                capacity: 4000,
                free: 500,
                request: 2000,
            },
            placement::Miss::Kept,
        ]
    }

    #[test]
    fn the_documented_kinds_are_those_that_there_are() {
        let schema = serde_json::to_value(Miss::schema()).unwrap();
        let documented = schema["properties"]["kind"]["description"].as_str().unwrap();
        let documented: Vec<&str> = documented.split('`').skip(1).step_by(2).collect();
        // `kind` takes each variant by name: one more does not compile without an answer there, and is missed here.
        let kinds: Vec<&str> = all().iter().map(kind).collect();
        assert_eq!(documented, kinds);
        let source = include_str!("../../core/src/placement/miss.rs");
        let variants = source.matches("#[error(").count();
        assert_eq!(kinds.len(), variants, "one of each variant is looked at");
    }

    #[test]
    fn every_field_of_a_miss_is_documented_and_has_the_numbers() {
        let schema = serde_json::to_value(Miss::schema()).unwrap();
        for miss in all() {
            let told = serde_json::to_value(Miss::from(&miss)).unwrap();
            for (field, _) in told.as_object().unwrap() {
                assert!(schema["properties"][field]["description"].is_string(), "{field}");
            }
        }
        let told = |index: usize| serde_json::to_value(Miss::from(&all()[index])).unwrap();
        assert_eq!(
            told(0),
            json!({
                "kind": "label", "message": "selector `gpu>1` does not hold (it is `1`)", "requirement": "gpu>1", "found": "1"
            })
        );
        assert_eq!(
            told(2),
            json!({
                "kind": "over_limit", "message": "it asks for 2 cpu, and its build may have 1 at once",
                "resource": "cpu", "limit": 1000, "limit_of": "build", "request": 2000
            })
        );
        assert_eq!(
            told(9),
            json!({
                "kind": "too_small",
                "message": "it has 4 cpu on its largest node, `large`, with which it shares the volume, needs 5",
                "resource": "cpu", "capacity": 4000, "request": 5000, "on_a_node": true, "job": "large"
            })
        );
        assert_eq!(
            told(10),
            json!({
                "kind": "full", "message": "it has 0.5 of 4 cpu free now, the job needs 2 (1.5 more)",
                "resource": "cpu", "capacity": 4000, "free": 500, "request": 2000
            })
        );
    }
}
