//! Jobs that pass a limit of their project or their build by themselves fit nowhere, whatever the clusters are.

use super::{ClusterVerdict, Demand, Miss};

/// The limits that the job passes by itself. They keep it from every cluster.
pub(super) fn over_limits(demand: &Demand<'_>) -> impl Iterator<Item = Miss> {
    let over = demand.share.into_iter().flat_map(|share| share.over(&demand.resources));
    over.map(|over| Miss::OverLimit {
        over,
        project: demand.project.cloned(),
    })
}

/// Why such a job runs nowhere; none if it passes no limit by itself.
pub(super) fn summary(demand: &Demand<'_>) -> Option<String> {
    let first = over_limits(demand).next()?;
    Some(format!("no cluster can run it: {first}"))
}

/// What lets the job run: `there` says what has to change besides on the cluster that is nearest otherwise.
pub(super) fn advice(demand: &Demand<'_>, there: Option<String>) -> Option<String> {
    let over = demand.share.into_iter().flat_map(|share| share.over(&demand.resources));
    let remedies = over.map(|over| over.remedy(demand.project));
    let all: Vec<String> = remedies.chain(there).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

impl Miss {
    /// Whether it is a limit that the job passes by itself.
    pub(super) const fn is_over_limit(&self) -> bool {
        matches!(self, Self::OverLimit { .. })
    }
}

impl ClusterVerdict {
    /// The same without the limits, which every cluster has in common.
    pub(super) fn without_limits(&self) -> Self {
        let misses = self.misses.iter().filter(|miss| !miss.is_over_limit());
        Self {
            cluster: self.cluster.clone(),
            misses: misses.cloned().collect(),
            held_up: self.held_up,
        }
    }
}
