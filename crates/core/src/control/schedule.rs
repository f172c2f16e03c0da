//! Gives queued jobs to clusters.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Control;
use super::builds::{JobKey, LiveBuild, LiveJob};
use super::clusters::ClusterIndex;
use super::outbox::Outbox;
use super::queue::{ClassId, Ticket};
use super::volumes::demand;
use crate::build::JobState;
use crate::placement::Score;
use crate::session::Order;

/// How many clusters with room are compared for one job, besides the one that it prefers and those that have its inputs.
/// More would cost more than the slightly emptier cluster is worth.
const MAX_COMPARED: usize = 16;

impl Control {
    /// Sends out what can be sent, up to the limit for one command.
    pub(super) fn place_queued(&mut self, outbox: &mut Outbox) {
        let mut left = self.settings.max_placements_per_command;
        while left > 0 {
            let Some((class, ticket)) = self.queue.next() else {
                return;
            };
            match self.choose(class, ticket.job) {
                Some(cluster) => {
                    if self.inputs_can_be_had(outbox, ticket.job) {
                        self.assign(outbox, ticket.job, cluster);
                    }
                    left -= 1;
                }
                None => self.queue.close(class),
            }
        }
    }

    /// The best cluster that has room for the job now.
    fn choose(&mut self, class: ClassId, key: JobKey) -> Option<ClusterIndex> {
        let with_room = self.queue.candidates(&mut self.clusters, class, MAX_COMPARED);
        if with_room.is_empty() {
            return None;
        }
        let (build, job) = self.builds.job(key)?;
        let volumes = self.volume_needs(build, job);
        let demand = demand(build, job, &volumes);
        let mut input_bytes = self.input_bytes(build, job);
        if let Some(preferred) = demand.prefer.and_then(|name| self.clusters.index(name)) {
            input_bytes.entry(preferred).or_default();
        }
        for index in with_room {
            input_bytes.entry(index).or_default();
        }
        input_bytes
            .into_iter()
            .filter_map(|(index, bytes)| Some((index, self.clusters.get(index)?.candidate(), bytes)))
            .filter(|(_, candidate, _)| candidate.has_room(&demand) && candidate.suits(&demand))
            .max_by_key(|(_, candidate, bytes)| (Score::new(&demand, candidate, *bytes), Reverse(candidate.name)))
            .map(|(index, _, _)| index)
    }

    /// How many bytes of the job's inputs each cluster has, of those that have any.
    fn input_bytes(&self, build: &LiveBuild, job: &LiveJob) -> BTreeMap<ClusterIndex, u64> {
        let mut sums = BTreeMap::new();
        for parent in build.parents(job) {
            let cluster = parent
                .status
                .cluster
                .as_ref()
                .and_then(|name| self.clusters.index(name));
            if let Some((output, index)) = parent.status.kept_output().zip(cluster) {
                let sum: &mut u64 = sums.entry(index).or_default();
                *sum = sum.saturating_add(output.bytes);
            }
        }
        sums
    }

    /// Gives a queued job to a cluster that has room: its next attempt begins.
    fn assign(&mut self, outbox: &mut Outbox, key: JobKey, cluster: ClusterIndex) {
        self.dequeue(key);
        let Some(build) = self.builds.get_mut(key.build) else {
            return;
        };
        let project = build.record.project;
        let Some(job) = build.job_mut(key.index) else { return };
        let Some(member) = self.clusters.get_mut(cluster) else {
            return;
        };
        job.status.state = JobState::Assigned;
        job.status.epoch = job.status.epoch.next();
        job.status.cluster = Some(member.record.name.clone());
        member.attempts.insert(key);
        member.used = member.used.plus(&job.node.resources);
        if let Some(attempt) = job.attempt() {
            outbox.order(&member.record.name, Order::Assign(attempt));
        }
        outbox.touch(key, job);
        self.queue.serve(project);
        self.volumes_placed(outbox, key, cluster);
        self.cache_placed(outbox, key);
    }

    /// Lets the job wait for a cluster.
    pub(super) fn enqueue(&mut self, outbox: &mut Outbox, key: JobKey) {
        let Some((build, job)) = self.builds.job(key) else {
            return;
        };
        let project = build.record.project;
        let queued_at = job.status.queued_at.unwrap_or(outbox.now.wall);
        let ticket = Ticket { queued_at, job: key };
        let volumes = self.volume_needs(build, job);
        let demand = demand(build, job, &volumes);
        let class = self.queue.insert(&mut self.clusters, project, ticket, &demand);
        let Some(job) = self.builds.job_mut(key) else { return };
        job.class = Some(class);
        self.parked.remove(&key);
        if job.status.state != JobState::Queued {
            job.status.state = JobState::Queued;
            job.status.queued_at = Some(queued_at);
            outbox.touch(key, job);
        }
    }

    /// Takes a job out of the queue, if it is there.
    pub(super) fn dequeue(&mut self, key: JobKey) {
        let Some(build) = self.builds.get_mut(key.build) else {
            return;
        };
        let project = build.record.project;
        let Some(job) = build.job_mut(key.index) else { return };
        let Some((class, queued_at)) = job.class.take().zip(job.status.queued_at) else {
            return;
        };
        let ticket = Ticket { queued_at, job: key };
        self.queue.remove(&mut self.clusters, class, project, &ticket);
    }

    /// Takes the job's attempt off its cluster, which then has room for others.
    pub(super) fn release(&mut self, key: JobKey) {
        let Some((_, job)) = self.builds.job(key) else { return };
        let resources = job.node.resources;
        let Some(cluster) = job.status.cluster.as_ref() else {
            return;
        };
        let Some((index, member)) = self.clusters.by_name_mut(cluster) else {
            return;
        };
        if member.attempts.remove(&key) {
            member.used = member.used.minus(&resources);
            self.queue.has_room(&mut self.clusters, index);
        }
    }
}
