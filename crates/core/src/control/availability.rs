//! Takes a cluster out of use, and back into it: cordoned, draining, disabled, open.

use super::builds::{JobKey, LiveBuild, LiveJob};
use super::clusters::{ClusterIndex, Lease};
use super::outbox::Outbox;
use super::{Change, Control, Present, Refusal, Reply};
use crate::name::ClusterName;
use crate::placement::Availability;
use crate::volume::VolumeKind;

impl Control {
    pub(super) fn set_availability(
        &mut self,
        outbox: &mut Outbox,
        name: &ClusterName,
        availability: Availability,
        present: Present,
    ) -> Result<Reply, Refusal> {
        let found = self.clusters.by_name_mut(name);
        let (index, member) = found.ok_or_else(|| Refusal::not_found("cluster", name))?;
        if availability == Availability::Open && present == Present::Move {
            let message = format!("cluster `{name}` is to take jobs: then those that it has need not be moved");
            return Err(Refusal::Conflict(message));
        }
        if member.record.availability != availability {
            member.record.availability = availability;
            outbox.changes.push(Change::PutCluster(member.record.clone()));
            self.queue.sort_in(&mut self.clusters, index);
        }
        self.note_availability(index, outbox.now.steady);
        match (availability, present) {
            (Availability::Disabled, _) => self.disable(outbox, index, name),
            (_, Present::Move) => self.move_away(outbox, index, &format!("cluster `{name}` is {availability}")),
            (_, Present::Stay) => {}
        }
        let record = self.clusters.get(index).map(|member| member.record.clone());
        record
            .map(Reply::Cluster)
            .ok_or_else(|| Refusal::not_found("cluster", name))
    }

    /// Nothing is expected of the cluster any more, as if its lease had ended long ago.
    fn disable(&mut self, outbox: &mut Outbox, index: ClusterIndex, name: &ClusterName) {
        if let Some(member) = self.clusters.get_mut(index) {
            member.session = None;
        }
        self.clusters.refresh(index);
        // First, since what is moved is to look elsewhere for its inputs.
        self.set_lease(index, Lease::Over);
        for key in self.attempts_on(index) {
            self.relocate(outbox, key, &format!("cluster `{name}` was disabled"));
        }
        self.fail_without_place(outbox);
        self.wake_parked(outbox);
    }

    /// Takes the attempts of a cluster away that can begin anew elsewhere.
    fn move_away(&mut self, outbox: &mut Outbox, index: ClusterIndex, reason: &str) {
        for key in self.attempts_on(index) {
            // The agent may just be starting the command of an exclusive one.
            let movable = |(build, job): (&LiveBuild, &LiveJob)| !is_bound(build, job) && !is_exclusive(job);
            if self.builds.job(key).is_some_and(movable) {
                self.relocate(outbox, key, reason);
            }
        }
    }

    fn attempts_on(&self, index: ClusterIndex) -> Vec<JobKey> {
        let member = self.clusters.get(index);
        member
            .map(|member| member.attempts.iter().copied().collect())
            .unwrap_or_default()
    }
}

fn is_exclusive(job: &LiveJob) -> bool {
    job.node.extensions.as_ref().is_some_and(|says| says.exclusive)
}

/// Whether the job works with a volume that has what others left in it, and so cannot begin anew elsewhere.
fn is_bound(build: &LiveBuild, job: &LiveJob) -> bool {
    let volumes = build.volumes_together(job);
    volumes.contains(VolumeKind::Workspace)
        || (job.node.volumes.contains(VolumeKind::Shared) && build.shared_was_used())
}
