//! What would have to change so that a job fits.

use super::{Availability, ClusterVerdict, Miss};
use crate::label::{Requirement, Selector, reserved};
use crate::name::ClusterName;

impl Miss {
    /// What lets the job in on this cluster, as far as this miss is concerned; none if nobody can help it, or nobody has to.
    pub fn remedy(&self, cluster: &ClusterName) -> Option<String> {
        Some(match self {
            Self::Label { requirement, .. } => other_label(requirement),
            Self::Closed {
                availability: Availability::Disabled,
            } => format!("`tombolo cluster enable {cluster}`"),
            Self::Closed { .. } => format!("`tombolo cluster uncordon {cluster}`"),
            Self::Disconnected => {
                format!("start the agent of `{cluster}`, or look why it cannot connect (`tombolo agent doctor`)")
            }
            Self::TooSmall { resource, capacity, .. } if resource == "slots" || capacity == "0" => {
                format!("give the cluster {resource}")
            }
            Self::TooSmall {
                resource,
                capacity,
                on_a_node,
                request,
            } => {
                let place = if *on_a_node { "a node" } else { "the cluster" };
                format!("ask for at most {capacity} {resource}, or give {place} {request}")
            }
            Self::NoVolumes => "leave its volumes out, or let the cluster keep some".to_owned(),
            Self::Incapable { capability } => {
                format!("let its executor offer `{capability}`, or leave out what needs it")
            }
            Self::Apart { .. } => "leave `same_as` out".to_owned(),
            Self::VolumeElsewhere { .. } | Self::Full | Self::Kept => return None,
        })
    }

    /// Whether it goes without anybody changing what the job or the cluster is: by itself, or when administrators let jobs in again.
    pub(crate) const fn passes(&self) -> bool {
        matches!(self, Self::Full | Self::Kept | Self::Disconnected | Self::Closed { .. })
    }

    /// Whether it follows from what the cluster's agent says of itself, and may be otherwise when that comes back.
    pub(crate) const fn is_reported(&self) -> bool {
        matches!(self, Self::TooSmall { .. } | Self::NoVolumes | Self::Incapable { .. })
    }

    /// How far it is from being helped: what passes by itself, what an administrator can change at once, what takes another job file or another cluster, and
    /// what cannot be helped.
    fn distance(&self) -> u32 {
        match self {
            Self::Full | Self::Kept => 0,
            Self::Disconnected | Self::Closed { .. } => 1,
            Self::TooSmall { .. } | Self::NoVolumes | Self::Incapable { .. } => 10,
            // A cluster that the job does not want is never the nearest while there is one that it wants.
            Self::Label { .. } => 1000,
            Self::VolumeElsewhere { .. } | Self::Apart { .. } => 1_000_000,
        }
    }
}

/// What helps where a requirement does not hold. Nobody can give a cluster the labels that say what it is.
fn other_label(requirement: &str) -> String {
    let selector = Selector::parse(requirement).unwrap_or_default();
    let is_given = |requirement: &Requirement| reserved(&requirement.key).is_none();
    let or_invite = match selector.requirements.iter().all(is_given) {
        true if requirement.starts_with('!') => ", or invite the cluster again without that label",
        true => ", or invite the cluster again with a label that meets it",
        false => "",
    };
    format!("leave `{requirement}` out of its selector{or_invite}")
}

impl ClusterVerdict {
    /// How far the job is from fitting there.
    pub(super) fn distance(&self) -> u32 {
        self.misses.iter().map(Miss::distance).fold(0, u32::saturating_add)
    }

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
