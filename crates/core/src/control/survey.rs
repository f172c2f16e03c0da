//! What a cluster has for jobs, as its agent last saw it: nodes come and go.
//!
//! It replaces what the hello said of capacity and facts, in memory only, and has the queue look at the cluster again if that
//! differs. It never takes an attempt away from a cluster that has become too small for those that it has.

use super::{Control, Refusal, Reply};
use crate::id::SessionId;
use crate::name::ClusterName;
use crate::session::Survey;

impl Control {
    pub(super) fn survey(
        &mut self,
        cluster: &ClusterName,
        session: SessionId,
        survey: Survey,
    ) -> Result<Reply, Refusal> {
        self.check_session(cluster, session)?;
        let found = self.clusters.by_name_mut(cluster);
        let (index, member) = found.ok_or_else(|| Refusal::not_found("cluster", cluster))?;
        let Some(agent) = &mut member.agent else {
            return Err(Refusal::StaleSession);
        };
        let labels = member.record.labels.clone();
        let labels = labels.with_cluster(cluster).with_facts(&survey.facts);
        let differs = agent.capacity != survey.capacity || agent.nodes != Some(survey.nodes) || member.labels != labels;
        if differs {
            agent.capacity = survey.capacity;
            agent.nodes = Some(survey.nodes);
            member.labels = labels;
            self.queue.sort_in(&mut self.clusters, index);
        }
        Ok(Reply::Done)
    }
}
