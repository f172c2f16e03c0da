//! Where the indexes of an array would go: as many as there is room for now, by cluster.

use std::collections::BTreeMap;

use super::Place;
use crate::control::builds::LiveJob;
use crate::name::ClusterName;

/// The most indexes of one array that are looked at.
const MAX_PLANNED: usize = 1000;

/// How many indexes of a job are to be looked at, and how many there are: of one that is no array, the job itself.
pub(super) fn to_plan(job: &LiveJob, looks: usize) -> (usize, u32) {
    let Some(array) = job.node.array() else { return (1, 1) };
    let at_once = array.parallel.unwrap_or(array.count).min(array.count);
    let most = (at_once as usize).min(MAX_PLANNED).min(looks.max(1));
    (most, array.count)
}

/// Where the indexes of an array would go at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlannedIndexes {
    /// How many there are.
    pub count: u32,
    /// How many would go to which cluster.
    pub placed: BTreeMap<ClusterName, u32>,
    /// How many would wait, or can run nowhere, as the first that would not go to a cluster.
    pub left: u32,
    /// How many were not looked at: not so many are to be there at once, or there are too many of them to look at.
    pub not_looked_at: u32,
}

impl PlannedIndexes {
    /// Says in the place of the first index where the others would go.
    pub(super) fn tell(&self, place: &mut Place) {
        let Self { count, .. } = self;
        let on = self
            .placed
            .iter()
            .map(|(cluster, count)| format!("{count} to `{cluster}`"));
        let on = on.collect::<Vec<String>>().join(", ");
        let rest = match (self.left, self.not_looked_at) {
            (0, 0) => String::new(),
            (0, rest) => format!("; {rest} were not looked at, or are not to begin at once with these"),
            (rest, _) => format!("; {rest} wait"),
        };
        match place {
            Place::Cluster { reason, .. } => {
                *reason = format!("index 0 of {count}: {reason}; at once go {on}{rest}");
            }
            Place::Waits(explanation) | Place::Nowhere(explanation) => {
                explanation.summary = format!("index 0 of {count}: {}", explanation.summary);
            }
        }
    }
}

/// How many indexes went where.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<ClusterName, u32>);

impl Tally {
    pub(super) fn add(&mut self, cluster: &ClusterName) {
        *self.0.entry(cluster.clone()).or_default() += 1;
    }

    pub(super) fn total(&self) -> usize {
        self.0.values().map(|count| *count as usize).sum()
    }

    /// What that says of all indexes: `next` is what became of the last that was looked at, `most` how many were to be.
    pub(super) fn counted(self, next: &Place, count: u32, most: usize) -> PlannedIndexes {
        let rest = count.saturating_sub(u32::try_from(self.total()).unwrap_or(u32::MAX));
        let all_found_room = self.total() >= most && matches!(next, Place::Cluster { .. });
        let (left, not_looked_at) = if all_found_room { (0, rest) } else { (rest, 0) };
        PlannedIndexes {
            count,
            placed: self.0,
            left,
            not_looked_at,
        }
    }
}
