//! Leases: how long a cluster is counted on without being heard of, and what happens when it is not any more.

use super::builds::{JobKey, LiveJob};
use super::clusters::{ClusterIndex, Lease};
use super::outbox::Outbox;
use super::queue::ClassId;
use super::{Control, Refusal, Reply};
use crate::build::JobState;
use crate::build::extensions::OnDisconnect;
use crate::id::{InviteId, SessionId};
use crate::name::ClusterName;
use crate::planted::{Bug, planted};
use crate::time::Moment;

/// What has to be looked at when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// A cluster's lease, or its time after that.
    Cluster(ClusterIndex),
    /// The end of a cluster's handover lease.
    Handover(ClusterIndex),
    /// The end of an invite.
    Invite(InviteId),
    /// The next look for caches that are too old.
    Caches,
    /// A cluster is there again that jobs may wait for because of their inputs.
    Parked,
    /// The next attempt of a job, which its retry or the end of a lease is waited for.
    Retry(JobKey),
    /// The end of a job's time for finding a cluster.
    Queued(JobKey),
    /// The next look at what is left on a cluster that is being drained.
    Drain(ClusterIndex),
    /// The next look whether a class of queued jobs suits any cluster.
    Unsuited(ClassId),
}

impl Control {
    pub(super) fn heartbeat(
        &mut self,
        outbox: &mut Outbox,
        cluster: &ClusterName,
        session: SessionId,
    ) -> Result<Reply, Refusal> {
        self.check_session(cluster, session)?;
        if let Some(index) = self.clusters.index(cluster) {
            self.renew(index, outbox.now.steady);
        }
        Ok(Reply::Done)
    }

    pub(super) fn disconnect(&mut self, cluster: &ClusterName, session: SessionId) -> Result<Reply, Refusal> {
        self.check_session(cluster, session)?;
        if let Some((index, member)) = self.clusters.by_name_mut(cluster) {
            member.session = None;
            self.clusters.refresh(index);
        }
        Ok(Reply::Done)
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, outbox: &mut Outbox) -> Result<Reply, Refusal> {
        let mut lost = false;
        // Each of them is written: what is left over is done by the next tick, which is asked for at once.
        let mut left = self.settings.max_placements_per_command;
        while let Some((at, deadline)) = self.deadlines.first().copied() {
            if at > outbox.now.steady {
                break;
            }
            if matches!(deadline, Deadline::Retry(_) | Deadline::Queued(_)) {
                if left == 0 {
                    break;
                }
                left -= 1;
            }
            self.deadlines.pop_first();
            match deadline {
                Deadline::Cluster(index) => lost |= self.lease_due(outbox, index),
                Deadline::Handover(index) => self.handover_due(outbox, index),
                Deadline::Invite(id) => self.invite_due(outbox, id),
                Deadline::Caches => self.caches_due(outbox),
                Deadline::Parked => self.wake_parked(outbox),
                Deadline::Retry(key) => self.retry_due(outbox, key),
                Deadline::Queued(key) => self.queued_due(outbox, key),
                Deadline::Drain(index) => self.drain_due(outbox, index),
                Deadline::Unsuited(class) => self.unsuited_due(outbox, class),
            }
        }
        if lost {
            self.fail_without_place(outbox);
            self.wake_parked(outbox);
            self.wake_drains(outbox, true);
        }
        Ok(Reply::Done)
    }

    /// The cluster was heard of: its lease begins anew.
    pub(super) fn renew(&mut self, index: ClusterIndex, now: Moment) {
        let until = now + self.settings.lease;
        let Some(member) = self.clusters.get_mut(index) else {
            return;
        };
        member.last_heard = Some(now);
        // An ordinary lease does not shorten the one that was granted for the time until another process connects.
        let handover = member.handover_until.filter(|_| member.awaits_successor);
        let until = handover.map_or(until, |handover| handover.max(until));
        let ran = matches!(member.lease, Lease::Runs { .. });
        self.set_lease(index, Lease::Runs { until });
        if !ran {
            self.queue.has_room(&mut self.clusters, index);
        }
        // A heartbeat writes nothing: this follows with the next tick, which is then asked for at once.
        if !ran && !self.parked.is_empty() {
            self.deadlines.insert((now, Deadline::Parked));
        }
    }

    /// Sets the lease, and wakes up at its end.
    pub(super) fn set_lease(&mut self, index: ClusterIndex, lease: Lease) {
        let Some(member) = self.clusters.get_mut(index) else {
            return;
        };
        if let Some(until) = member.lease.until() {
            self.deadlines.remove(&(until, Deadline::Cluster(index)));
        }
        if let Some(until) = lease.until().filter(|_| !planted(Bug::LeaseForgotten)) {
            self.deadlines.insert((until, Deadline::Cluster(index)));
        }
        if let Lease::Runs { until } = lease {
            member.acts_until = member.acts_until.max(Some(until));
        }
        member.lease = lease;
        self.clusters.refresh(index);
    }

    /// A lease, or the time after it, has ended. Whether the cluster is lost by that.
    fn lease_due(&mut self, outbox: &mut Outbox, index: ClusterIndex) -> bool {
        let Some(member) = self.clusters.get_mut(index) else {
            return false;
        };
        let lease = member.lease;
        member.silence = match lease {
            Lease::Runs { until } => match member.last_heard {
                Some(heard) => until.since(heard),
                // Not since this process began, which counted the lease from then on.
                None if member.handover_until.is_some() => self.settings.longest_lease(),
                None => self.settings.lease,
            },
            Lease::Ended { .. } => member.silence.saturating_add(self.settings.lost_after),
            Lease::Over => member.silence,
        };
        let (name, silence) = (&member.record.name, member.silence);
        let reason = format!("cluster `{name}` was not heard of for {silence:?}");
        match lease {
            Lease::Runs { until } => {
                self.give_up(outbox, index, &reason, moves_at_once);
                let until = until + self.settings.lost_after;
                self.set_lease(index, Lease::Ended { until });
                false
            }
            Lease::Ended { .. } => {
                // First, since what is given up is to look elsewhere for its inputs.
                self.set_lease(index, Lease::Over);
                self.give_up(outbox, index, &reason, |job| !waits_for_its_cluster(job));
                true
            }
            Lease::Over => false,
        }
    }

    /// Replaces the cluster's attempts that `which` names.
    fn give_up(&mut self, outbox: &mut Outbox, index: ClusterIndex, reason: &str, which: fn(&LiveJob) -> bool) {
        let Some(member) = self.clusters.get(index) else { return };
        let attempts: Vec<JobKey> = member.attempts.iter().copied().collect();
        for key in attempts {
            if self.builds.job(key).is_some_and(|(_, job)| which(job)) {
                self.replace(outbox, key, reason);
            }
        }
    }
}

/// Whether an attempt is placed again when the lease ends: its command has not started and will not, has been stopped by then, or its job would rather have
/// it run twice.
fn moves_at_once(job: &LiveJob) -> bool {
    let says = job.node.extensions.as_deref();
    matches!(job.status.state, JobState::Assigned | JobState::Preparing)
        || says.is_some_and(|says| says.exclusive || says.on_disconnect == OnDisconnect::Replace)
}

/// Whether an attempt stays with a cluster of which nothing is expected.
pub(super) fn waits_for_its_cluster(job: &LiveJob) -> bool {
    let says = job.node.extensions.as_deref();
    let may_wait = !job.status.cancel_requested && !job.status.is_recovering();
    may_wait && says.is_some_and(|says| says.on_disconnect == OnDisconnect::Wait)
}

impl Lease {
    fn until(self) -> Option<Moment> {
        match self {
            Self::Runs { until } | Self::Ended { until } => Some(until),
            Self::Over => None,
        }
    }
}
