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

/// How many indexes went where.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<ClusterName, usize>);

impl Tally {
    pub(super) fn add(&mut self, cluster: &ClusterName) {
        *self.0.entry(cluster.clone()).or_default() += 1;
    }

    pub(super) fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// Says in the place of the first index where those would go with it.
    pub(super) fn tell(&self, place: &mut Place, count: u32, most: usize) {
        let on: Vec<String> = self
            .0
            .iter()
            .map(|(cluster, count)| format!("{count} to `{cluster}`"))
            .collect();
        let rest = count.saturating_sub(u32::try_from(self.total()).unwrap_or(u32::MAX));
        let rest = match (rest, self.total() >= most) {
            (0, _) => String::new(),
            (rest, true) => format!("; {rest} were not looked at, or are not to begin at once with these"),
            (rest, false) => format!("; {rest} wait"),
        };
        match place {
            Place::Cluster { reason, .. } => {
                *reason = format!("index 0 of {count}: {reason}; at once go {}{rest}", on.join(", "));
            }
            Place::Waits(explanation) | Place::Nowhere(explanation) => {
                explanation.summary = format!("index 0 of {count}: {}", explanation.summary);
            }
        }
    }
}
