//! How far jobs are from fitting on clusters.

use super::{ClusterVerdict, Miss};
use crate::label::{Operator, Requirement};

/// How far a job is from fitting on a cluster: the least is the nearest. What is said first counts most, however much there is of the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Distance {
    /// What cannot be helped.
    helpless: u32,
    /// What the project does not allow, which is not for the job's users to say.
    forbidden: u32,
    /// What the job does not want: a cluster that it wants comes before, however small that is.
    unwanted: u32,
    /// By how much the labels are too high or too low that are compared by number.
    numbers: Gap,
    /// By how much it is too small.
    sizes: Gap,
    /// What else the cluster would have to be changed in.
    others: u32,
    /// What administrators can change at once.
    closed: u32,
}

/// By how much several things are missed. The worst counts: it is no help that another one is nearly there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Gap {
    worst: u128,
    sum: u128,
}

/// What ratios are counted in: as fine as the largest numbers have room for.
const PARTS: u128 = 1 << 32;

/// What is not there at all is further away than anything that is.
const ABSENT: u128 = 1 << 100;

impl Gap {
    fn add(&mut self, gap: u128) {
        self.worst = self.worst.max(gap);
        self.sum = self.sum.saturating_add(gap);
    }
}

impl ClusterVerdict {
    /// How far the job is from fitting there.
    pub(super) fn distance(&self) -> Distance {
        let mut distance = Distance::default();
        for miss in &self.misses {
            distance.add(miss);
        }
        distance
    }
}

impl Distance {
    fn add(&mut self, miss: &Miss) {
        let count = match miss {
            // It is the same on every cluster.
            Miss::OverLimit { .. } => return,
            Miss::Full { .. } | Miss::Kept => return,
            Miss::Disconnected | Miss::Closed { .. } => &mut self.closed,
            Miss::NoVolumes | Miss::Incapable { .. } => &mut self.others,
            Miss::TooSmall { capacity, request, .. } => {
                return self.sizes.add(times(*request, *capacity));
            }
            Miss::Label { requirement, found, .. } => {
                self.numbers.add(off_by(requirement, found.as_deref()));
                &mut self.unwanted
            }
            Miss::Residency { requirement, found, .. } => {
                self.numbers.add(off_by(requirement, found.as_deref()));
                &mut self.forbidden
            }
            Miss::VolumeElsewhere { .. } | Miss::Apart { .. } => &mut self.helpless,
        };
        *count = count.saturating_add(1);
    }
}

/// How many times what is there is needed, in [`PARTS`].
fn times(request: u64, capacity: u64) -> u128 {
    (u128::from(request) * PARTS)
        .checked_div(u128::from(capacity))
        .unwrap_or(ABSENT)
}

/// By how much the value of a label is off, in [`PARTS`] of what is needed: so labels that count different things can be compared.
fn off_by(requirement: &Requirement, found: Option<&str>) -> u128 {
    let needed = match requirement.operator {
        Operator::Above(bound) => i128::from(bound) + 1,
        Operator::Below(bound) => i128::from(bound) - 1,
        Operator::Exists | Operator::Missing | Operator::In(_) | Operator::NotIn(_) => return ABSENT,
    };
    let Some(number) = found.and_then(|value| value.parse::<i64>().ok()) else {
        return ABSENT;
    };
    needed.abs_diff(i128::from(number)) * PARTS / needed.unsigned_abs().max(1)
}

#[cfg(test)]
mod tests;
