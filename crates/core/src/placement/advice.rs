//! What would have to change so that a job fits.

use super::{Availability, ClusterVerdict, Miss, Resource, words};
use crate::label::{Label, Operator, Requirement, reserved};
use crate::name::{ClusterName, JobName, ProjectName};

impl Miss {
    /// What lets the job in on this cluster, as far as this miss is concerned; none if nobody can help it, or nobody has to.
    pub fn remedy(&self, cluster: &ClusterName) -> Option<String> {
        Some(match self {
            Self::Label {
                requirement,
                is_contested,
                job,
                ..
            } => other_label(requirement, *is_contested, job.as_ref(), cluster),
            Self::Residency { project, .. } => wider_project(project.as_ref()),
            Self::OverLimit { over, project } => over.remedy(project.as_ref()),
            Self::Closed {
                availability: Availability::Disabled,
            } => format!("`tombolo cluster enable {cluster}`"),
            Self::Closed { .. } => format!("`tombolo cluster uncordon {cluster}`"),
            Self::Disconnected => {
                format!("start the agent of `{cluster}`, or look why it cannot connect (`tombolo agent doctor`)")
            }
            Self::TooSmall {
                resource, capacity: 0, ..
            }
            | Self::TooSmall {
                resource: resource @ Resource::Slots,
                ..
            } => format!("give the cluster {resource}"),
            Self::TooSmall {
                resource,
                capacity,
                on_a_node,
                request,
                job,
            } => {
                let place = if *on_a_node { "a node" } else { "the cluster" };
                let (capacity, request) = (resource.amount(*capacity), resource.amount(*request));
                let ask = job
                    .as_ref()
                    .map_or_else(|| "ask".to_owned(), |job| format!("have `{job}` ask"));
                format!("{ask} for at most {capacity} {resource}, or give {place} {request}")
            }
            Self::NoVolumes => "leave its volumes out, or let the cluster keep some".to_owned(),
            Self::Incapable { capability } => {
                format!("let its executor offer `{capability}`, or leave out what needs it")
            }
            Self::Apart { .. } => "leave `same_as` out".to_owned(),
            Self::VolumeElsewhere { .. } | Self::Full { .. } | Self::Kept => return None,
        })
    }

    /// Whether it is only that others have the room now, or before it.
    pub(super) const fn is_for_room(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Kept)
    }

    /// Whether it goes without anybody changing what the job or the cluster is: by itself, or when administrators let jobs in again.
    pub(crate) const fn passes(&self) -> bool {
        matches!(
            self,
            Self::Full { .. } | Self::Kept | Self::Disconnected | Self::Closed { .. }
        )
    }

    /// Whether it follows from what the cluster's agent says of itself, and may be otherwise when that comes back.
    pub(crate) const fn is_reported(&self) -> bool {
        matches!(self, Self::TooSmall { .. } | Self::NoVolumes | Self::Incapable { .. })
    }
}

/// What helps where a requirement does not hold. Nobody can give a cluster the labels that say what it is, and nobody should where
/// something else is required of the same label: what a project requires above all.
fn other_label(requirement: &Requirement, is_contested: bool, job: Option<&JobName>, cluster: &ClusterName) -> String {
    let selector = words::selector_of(job);
    let change = label_that_meets(requirement).filter(|_| !is_contested && reserved(&requirement.key).is_none());
    let or_label = change.map_or_else(String::new, |change| {
        format!(", or `tombolo cluster label {cluster} {change}`")
    });
    format!("leave `{requirement}` out of {selector}{or_label}")
}

/// What to make of a label so that the requirement holds, as `tombolo cluster label` takes it; none if no value does.
fn label_that_meets(requirement: &Requirement) -> Option<String> {
    let key = &requirement.key;
    let value = match &requirement.operator {
        Operator::Exists => return Some(key.clone()),
        // It is there with a value that it must not have.
        Operator::Missing | Operator::NotIn(_) => return Some(format!("{key}-")),
        Operator::In(values) => values.first()?.clone(),
        Operator::Above(bound) => bound.checked_add(1)?.to_string(),
        Operator::Below(bound) => bound.checked_sub(1)?.to_string(),
    };
    Label::new(key, &value).ok()?;
    Some(if value.is_empty() {
        key.clone()
    } else {
        format!("{key}={value}")
    })
}

/// What helps where a project may not be. No job file can; and to call the cluster something else would not make it so.
pub(super) fn wider_project(project: Option<&ProjectName>) -> String {
    let name = project.map_or("PROJECT", ProjectName::as_str);
    format!(
        "have an administrator widen where its project may run, for builds that are submitted then: \
         `tombolo project set {name} --clusters ...`"
    )
}

impl ClusterVerdict {
    /// Everything that has to change so that the job fits there, in words; none if that cannot be had, or nobody has to do anything.
    pub fn remedy(&self) -> Option<String> {
        let helpless = |miss: &Miss| matches!(miss, Miss::VolumeElsewhere { .. });
        if self.misses.iter().any(helpless) {
            return None;
        }
        // The agent of a cluster that is disabled is kept away by that, and comes by itself.
        let disabled = Miss::Closed {
            availability: Availability::Disabled,
        };
        let is_disabled = self.misses.contains(&disabled);
        let remedies: Vec<String> = self
            .misses
            .iter()
            .filter(|miss| !is_disabled || !matches!(miss, Miss::Disconnected))
            .filter_map(|miss| miss.remedy(&self.cluster))
            .collect();
        (!remedies.is_empty()).then(|| remedies.join("; "))
    }
}
