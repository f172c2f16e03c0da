//! What would have to change so that a job fits.

use super::{Availability, ClusterVerdict, Miss, Resource, words};
use crate::label::{Operator, Requirement, reserved};
use crate::name::{ClusterName, ProjectName};

impl Miss {
    /// What lets the job in on this cluster, as far as this miss is concerned; none if nobody can help it, or nobody has to.
    pub fn remedy(&self, cluster: &ClusterName) -> Option<String> {
        Some(match self {
            Self::Label {
                requirement,
                is_contested,
                ..
            } => other_label(requirement, *is_contested),
            Self::Residency { project, .. } => wider_project(project.as_ref()),
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
            } => {
                let place = if *on_a_node { "a node" } else { "the cluster" };
                let (capacity, request) = (resource.amount(*capacity), resource.amount(*request));
                format!("ask for at most {capacity} {resource}, or give {place} {request}")
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
fn other_label(requirement: &Requirement, is_contested: bool) -> String {
    let or_invite = match (reserved(&requirement.key), &requirement.operator) {
        _ if is_contested => "",
        (Some(_), _) => "",
        (None, Operator::Missing) => ", or invite the cluster again without that label",
        (None, _) => ", or invite the cluster again with a label that meets it",
    };
    format!("leave `{requirement}` out of its selector{or_invite}")
}

/// What is wrong with requirements that no cluster can meet together, and what helps.
pub(super) fn contradictory(contradiction: &[&Requirement], project: Option<&ProjectName>) -> (String, String) {
    let quoted = |by_project: bool| {
        let of = contradiction
            .iter()
            .filter(|requirement| requirement.by_project == by_project);
        let of: Vec<String> = of.map(|requirement| format!("`{requirement}`")).collect();
        of.join(", ")
    };
    let (own, required) = (quoted(false), quoted(true));
    let project_name = words::project(project);
    match (own.is_empty(), required.is_empty()) {
        (false, true) => {
            let summary = match contradiction.len() {
                1 => format!("no cluster can ever meet its selector: {own} never holds"),
                _ => format!("no cluster can ever meet its selector: {own} exclude each other"),
            };
            let advice = match contradiction.len() {
                1 => format!("take {own} out of its selector"),
                _ => format!("take one of {own} out of its selector"),
            };
            (summary, advice)
        }
        (false, false) => (
            format!(
                "no cluster can ever run it: its selector has {own}, and {project_name} may run only where {required} holds"
            ),
            format!("leave {own} out of its selector"),
        ),
        (true, _) => (
            format!("no cluster can ever run it: {project_name} may run only where {required} holds, which is nowhere"),
            wider_project(project),
        ),
    }
}

/// What helps where a project may not be. No job file can; and to call the cluster something else would not make it so.
fn wider_project(project: Option<&ProjectName>) -> String {
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
