//! Changes the labels of a cluster. They are the master's: its agent is not asked, and keeps running what it has.

use super::outbox::Outbox;
use super::{Change, Control, Refusal, Reply};
use crate::label;
use crate::name::ClusterName;

impl Control {
    /// Jobs that the cluster has stay there, also those that it does not suit any more; whoever waits is looked at again at once.
    pub(super) fn change_labels(
        &mut self,
        outbox: &mut Outbox,
        name: &ClusterName,
        change: &label::Change,
    ) -> Result<Reply, Refusal> {
        let found = self.clusters.by_name_mut(name);
        let (index, member) = found.ok_or_else(|| Refusal::not_found("cluster", name))?;
        let labels = member.record.labels.changed(change);
        let labels = labels.map_err(|error| Refusal::Limit(error.to_string()))?;
        let differs = member.record.labels != labels;
        if differs {
            member.labels = labels.clone().with_cluster(name).with_reported(&member.labels);
            member.record.labels = labels;
            outbox.changes.push(Change::PutCluster(member.record.clone()));
        }
        let record = member.record.clone();
        if differs {
            self.queue.sort_in(&mut self.clusters, index);
        }
        Ok(Reply::Cluster(record))
    }
}
