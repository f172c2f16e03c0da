//! Takes in a hello: what the agent has is compared with what it should have, always all of it.

use std::collections::BTreeSet;

use super::builds::JobKey;
use super::outbox::Outbox;
use super::view::AgentFacts;
use super::{Control, Refusal, Reply};
use crate::build::JobState;
use crate::id::{AttemptId, SessionId};
use crate::name::ClusterName;
use crate::placement::Availability;
use crate::planted::{Bug, planted};
use crate::session::{Hello, Order, StopReason};

impl Control {
    pub(super) fn connect(
        &mut self,
        outbox: &mut Outbox,
        cluster: &ClusterName,
        session: SessionId,
        hello: Hello,
    ) -> Result<Reply, Refusal> {
        let (index, member) = self
            .clusters
            .by_name_mut(cluster)
            .ok_or_else(|| Refusal::not_found("cluster", cluster))?;
        if member.record.availability == Availability::Disabled {
            return Err(Refusal::Conflict(format!(
                "cluster `{cluster}` is disabled: `tombolo cluster enable {cluster}` lets it in again"
            )));
        }
        if member.latest_session.is_some_and(|latest| session <= latest) {
            return Err(Refusal::StaleSession);
        }
        member.session = Some(session);
        member.volumes.clear();
        member.latest_session = Some(session);
        member.labels = member
            .record
            .labels
            .clone()
            .with_cluster(cluster)
            .with_facts(&hello.facts);
        member.agent = Some(AgentFacts {
            version: hello.version,
            capacity: hello.capacity,
            // Said soon after.
            nodes: None,
            slots: hello.slots,
            capabilities: hello.capabilities,
            peer_address: hello.peer_address,
        });
        member.awaits_successor = false;
        self.renew(index, outbox.now.steady);
        self.clusters.forget_held_up(index);
        self.queue.sort_in(&mut self.clusters, index);

        for volume in hello.volumes {
            self.take_in_volume(outbox, cluster, volume);
        }
        let known: BTreeSet<AttemptId> = hello.attempts.iter().map(|report| report.attempt).collect();
        for report in hello.attempts {
            // What is stale has been ordered to be forgotten; the hello as a whole is taken in all the same.
            let _stale = self.take_in(outbox, cluster, report.attempt, report.phase, None);
        }
        let held = self.clusters.get(index).map(|member| member.attempts.clone());
        for key in held.unwrap_or_default() {
            // What it does not have yet it will, for an attempt that it was given.
            self.note_volumes(key, index);
            self.reconcile(outbox, cluster, key, &known);
        }
        self.wake_parked(outbox);
        Ok(Reply::Done)
    }

    /// Makes sure that the agent has the attempt that it should have, and that it stops what should stop.
    fn reconcile(&mut self, outbox: &mut Outbox, cluster: &ClusterName, key: JobKey, known: &BTreeSet<AttemptId>) {
        let Some((_, job)) = self.builds.job(key) else { return };
        let Some(attempt) = job.attempt() else { return };
        if !known.contains(&attempt) || planted(Bug::PlacedAgainOnReconnect) {
            if job.status.state != JobState::Assigned {
                return self.replace(outbox, key, &format!("cluster `{cluster}` does not have it any more"));
            }
            if job.status.cancel_requested {
                // It never came to run, and is not to.
                return self.replace(outbox, key, &format!("cluster `{cluster}` had not begun it"));
            }
            if attempt.epoch < self.lowest_epoch {
                // The master was restored from a backup: that attempt may have been made, and its number counts no more.
                return self.relocate(outbox, key, "the master was restored, and its cluster does not have it");
            }
            outbox.order(cluster, Order::Assign(attempt));
        } else if job.status.cancel_requested {
            let reason = StopReason::Cancelled;
            outbox.order(cluster, Order::Stop { attempt, reason });
        }
    }
}
