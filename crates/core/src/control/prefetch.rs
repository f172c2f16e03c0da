//! Lets outputs travel ahead of the jobs that need them: while these wait for other parents or for room, and it is known which
//! cluster they will run on.

use std::collections::BTreeSet;

use super::Control;
use super::builds::{JobKey, LiveJob};
use super::clusters::ClusterIndex;
use super::outbox::Outbox;
use super::volumes::demand;
use crate::build::{JobKind, JobState, TerminalState};
use crate::session::Order;

/// How many children of a job are looked at. Those that are left bring their inputs themselves.
pub(super) const MAX_CHILDREN: usize = 256;
/// To how many clusters one output travels ahead.
const MAX_CLUSTERS: usize = 16;

impl Control {
    /// Orders it for the outputs that came with this command.
    pub(super) fn prefetch(&mut self, outbox: &mut Outbox) {
        let outputs = std::mem::take(&mut outbox.outputs);
        if !self.settings.prefetch {
            return;
        }
        for parent in outputs {
            let destinations = self.destinations(parent);
            let Some((_, job)) = self.builds.job(parent) else {
                continue;
            };
            let holder = job.status.cluster.as_ref();
            let names = destinations
                .into_iter()
                .filter_map(|index| Some(&self.clusters.get(index)?.record.name))
                .filter(|name| Some(*name) != holder);
            for name in names.take(MAX_CLUSTERS) {
                outbox.order(name, Order::Prefetch(job.id()));
            }
        }
    }

    /// The clusters that children of the job will run on which are not placed yet.
    fn destinations(&mut self, parent: JobKey) -> BTreeSet<ClusterIndex> {
        let mut destinations = BTreeSet::new();
        let Some(build) = self.builds.get(parent.build) else {
            return destinations;
        };
        let left = build.job(parent.index);
        let Some((left, ended)) = left.and_then(|job| Some((job, job.status.ended()?))) else {
            return destinations;
        };
        for child in build.edges.children(left.node.index).iter().take(MAX_CHILDREN) {
            let Some(job) = build.job(*child) else { continue };
            if job.waits_for_output_of(left, ended) {
                let volumes = self.volume_needs(build, job);
                let demand = demand(build, job, &volumes);
                destinations.extend(self.queue.sole_cluster(&self.clusters, &demand));
            }
        }
        destinations
    }
}

impl LiveJob {
    /// Whether it is to be placed, and will be given the output of this parent, which has ended so.
    pub(super) fn waits_for_output_of(&self, parent: &Self, ended: TerminalState) -> bool {
        let waits = matches!(self.status.state, JobState::Waiting | JobState::Queued);
        let mut edges = self.node.parents.iter();
        // One that is to be skipped needs nothing.
        let follows = edges.any(|(of, on)| *of == parent.node.index && on.contains(ended));
        let wanted = follows && self.takes(&parent.node.name);
        waits && wanted && self.node.kind == JobKind::Run && !self.status.cancel_requested
    }
}
