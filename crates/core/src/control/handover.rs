//! Handover leases: an agent's process ends, another one takes its place, and what runs goes on meanwhile.
//!
//! The lease counts here before the agent hears of it, and that it was granted is durable before: a master that restarts counts it anew, in full. It lasts for
//! commands that end with a lease until its end, whoever has connected since, since their supervisors were told.

use super::clusters::{ClusterIndex, Lease};
use super::lease::Deadline;
use super::outbox::Outbox;
use super::{Change, Control, Refusal, Reply};
use crate::id::SessionId;
use crate::name::ClusterName;
use crate::time::Moment;

impl Control {
    pub(super) fn hand_over(
        &mut self,
        outbox: &mut Outbox,
        cluster: &ClusterName,
        session: SessionId,
    ) -> Result<Reply, Refusal> {
        self.check_session(cluster, session)?;
        if self.settings.handover.is_zero() {
            return Err(Refusal::Unsupported("this master grants no handover leases".to_owned()));
        }
        let now = outbox.now.steady;
        if let Some((index, member)) = self.clusters.by_name_mut(cluster) {
            if !member.record.is_handing_over {
                member.record.is_handing_over = true;
                outbox.changes.push(Change::PutCluster(member.record.clone()));
            }
            self.count_handover(index, now);
        }
        Ok(Reply::Done)
    }

    /// Counts a handover lease from `now` on: nothing more is given to the cluster until another process of its agent has connected.
    pub(super) fn count_handover(&mut self, index: ClusterIndex, now: Moment) {
        let until = now + self.settings.handover.max(self.settings.lease);
        let Some(member) = self.clusters.get_mut(index) else {
            return;
        };
        member.awaits_successor = true;
        // One deadline for a cluster, however often it asks.
        if let Some(earlier) = member.handover_until.replace(until) {
            self.deadlines.remove(&(earlier, Deadline::Handover(index)));
        }
        self.deadlines.insert((until, Deadline::Handover(index)));
        let is_expected = member.lease != Lease::Over;
        if is_expected {
            self.set_lease(index, Lease::Runs { until });
        }
    }

    /// A handover lease may be over.
    pub(super) fn handover_due(&mut self, outbox: &mut Outbox, index: ClusterIndex) {
        let now = outbox.now.steady;
        let Some(member) = self.clusters.get_mut(index) else {
            return;
        };
        // There may be a later one, or another cluster in this place.
        if member.handover_until.is_none_or(|until| now < until) {
            return;
        }
        member.handover_until = None;
        member.awaits_successor = false;
        member.record.is_handing_over = false;
        outbox.changes.push(Change::PutCluster(member.record.clone()));
        self.clusters.refresh(index);
        // The process that was to end may be there still: jobs may go to it again.
        self.queue.has_room(&mut self.clusters, index);
        self.wake_parked(outbox);
    }
}
