//! Gives queued jobs to clusters.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::Control;
use super::builds::{JobKey, LiveBuild, LiveJob};
use super::clusters::ClusterIndex;
use super::outbox::Outbox;
use super::queue::{ClassId, Ticket};
use super::record::JobStatus;
use super::volumes::demand;
use crate::build::JobState;
use crate::placement::{Availability, Choice, Comparison, Score};
use crate::route::{Cost, expected};
use crate::session::Order;
use crate::time::Timestamp;

/// How many clusters with room are compared for one job, besides the one that it prefers and those that have its inputs.
/// More would cost more than the slightly emptier cluster is worth.
const MAX_COMPARED: usize = 8;

/// From how many clusters inputs are taken into account: those that have most of them.
const MAX_SOURCES: usize = 16;

/// How many inputs are looked at for that: those of an array are many.
const MAX_GIVERS: usize = 256;

/// Inputs of a job that are on one cluster.
pub(super) struct Input {
    at: ClusterIndex,
    bytes: u64,
}

impl Input {
    pub(super) const fn new(at: ClusterIndex, bytes: u64) -> Self {
        Self { at, bytes }
    }
}

impl Control {
    /// Sends out what can be sent, up to the limit for one command.
    pub(super) fn place_queued(&mut self, outbox: &mut Outbox) {
        let mut left = self.settings.max_placements_per_command;
        self.watch_again(outbox.now.steady);
        while left > 0 {
            self.advance_arrays(outbox);
            let Some((class, ticket)) = self.queue.next(&mut self.clusters) else {
                if self.let_more_go_on() {
                    continue;
                }
                return;
            };
            if self.hold(class, ticket) {
                left -= 1;
                continue;
            }
            if !self.queue.admits(class, ticket) {
                continue;
            }
            match self.choose(class, ticket.job) {
                Some((cluster, choice)) => {
                    if self.inputs_can_be_had(outbox, ticket.job) {
                        self.assign(outbox, ticket.job, cluster, choice);
                        self.queue.let_room_go(&mut self.clusters, class);
                    }
                    left -= 1;
                }
                None => {
                    if self.has_waited(ticket.job, outbox.now.wall) {
                        self.queue.keep_room(&mut self.clusters, class);
                    }
                }
            }
        }
        // There may be more to place than one command may.
        while !self.queue.is_open() && self.let_more_go_on() {}
        self.advance_arrays(outbox);
    }

    /// Whether others must not go on taking the room that a queued job could have had.
    fn has_waited(&self, key: JobKey, now: Timestamp) -> bool {
        let queued_at = self.builds.job(key).and_then(|(_, job)| job.status.queued_at);
        let waited = queued_at.map(|since| Duration::from_millis(now.0.saturating_sub(since.0)));
        waited.is_some_and(|waited| waited >= self.settings.keep_room_after)
    }

    /// The best cluster that has room for the job now, and why it is.
    fn choose(&mut self, class: ClassId, key: JobKey) -> Option<(ClusterIndex, Choice)> {
        let mut options = self.queue.candidates(&mut self.clusters, class, MAX_COMPARED);
        if options.is_empty() {
            return None;
        }
        // Where there are more, they go round: that spreads jobs as well.
        let are_all = options.len() < MAX_COMPARED;
        let (build, job) = self.builds.job(key)?;
        let inputs = self.inputs(build, job);
        let wishes = job.wishes();
        let preferred = wishes.prefer.and_then(|name| self.clusters.index(name));
        let crowds = self.crowds(build, &wishes);
        let wished = self.wished(class, job, &crowds);
        for index in inputs.iter().map(|input| input.at).chain(preferred).chain(wished) {
            let has_room = self.clusters.room(index).fits(class, &job.node.resources);
            if has_room && !options.contains(&index) && self.queue.offers(class, index) {
                options.push(index);
            }
        }
        let mut best: Option<(Score, ClusterIndex)> = None;
        let mut comparison = Comparison::default();
        for index in options {
            let moving = self.cost_of_moving(&inputs, index);
            let room = self.clusters.room(index);
            let (weight, crowd) = self.liking(&wishes, &crowds, index);
            let score =
                Score::new(weight, crowd, moving, &self.settings.costs).with_room(room.held_up, room.free_share);
            comparison.add(&score);
            let better = match best {
                None => true,
                Some((other, than)) if score == other => are_all && self.spreads(build, index, than),
                Some((other, _)) => score > other,
            };
            if better {
                best = Some((score, index));
            }
        }
        let (score, index) = best?;
        let name = &self.clusters.get(index)?.record.name;
        let choice = comparison.choice(name, &score, &wishes, build.beside(job).is_some());
        Some((index, choice))
    }

    /// Whether a cluster comes before another that is as good: the one with fewer jobs of the build, then the first by name.
    fn spreads(&self, build: &LiveBuild, index: ClusterIndex, than: ClusterIndex) -> bool {
        let id = build.record.id;
        let order = |index| {
            let member = self.clusters.get(index)?;
            Some((member.attempts_of(id), &member.record.name))
        };
        order(index) < order(than)
    }

    /// Where the job's inputs are, and how much is where: of the clusters that have most.
    fn inputs(&self, build: &LiveBuild, job: &LiveJob) -> Vec<Input> {
        let mut inputs: Vec<Input> = Vec::new();
        for parent in build.givers(job).take(MAX_GIVERS) {
            let Some(output) = parent.status.kept_output() else {
                continue;
            };
            let Some(at) = self.place_of(&parent.status) else {
                continue;
            };
            match inputs.iter_mut().find(|input| input.at == at) {
                Some(input) => input.bytes = input.bytes.saturating_add(output.bytes),
                None => inputs.push(Input {
                    at,
                    bytes: output.bytes,
                }),
            }
        }
        inputs.sort_by_key(|input| Reverse(input.bytes));
        inputs.truncate(MAX_SOURCES);
        inputs
    }

    /// The cluster that a job's output is taken to come from: the one that made it, unless that takes no jobs any more and another was given a copy.
    fn place_of(&self, status: &JobStatus) -> Option<ClusterIndex> {
        let places = status.cluster.iter().chain(status.copies());
        let mut members = places.filter_map(|name| self.clusters.by_name(name)).peekable();
        let first = members.peek().map(|(index, _)| *index);
        let open = members.find(|(_, member)| member.record.availability == Availability::Open);
        open.map(|(index, _)| index).or(first)
    }

    /// What it costs to bring inputs to a cluster.
    pub(super) fn cost_of_moving(&self, inputs: &[Input], to: ClusterIndex) -> Cost {
        let name = |index| self.clusters.get(index).map(|member| &member.record.name);
        let elsewhere = inputs.iter().filter(|input| input.at != to);
        let costs = elsewhere.filter_map(|input| {
            let (from, to) = (name(input.at)?, name(to)?);
            Some(expected(&self.settings.costs, from, to, input.bytes).0)
        });
        Cost(costs.fold(0, u64::saturating_add))
    }

    /// Gives a queued job to a cluster that has room: its next attempt begins.
    fn assign(&mut self, outbox: &mut Outbox, key: JobKey, cluster: ClusterIndex, choice: Choice) {
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
        job.status.epoch = job.status.epoch.next().max(self.lowest_epoch);
        job.status.settle_on(member.record.name.clone());
        if let Some(attempt) = job.attempt() {
            outbox.order(&member.record.name, Order::Assign(attempt));
        }
        job.charged = true;
        job.choice = Some(choice);
        let resources = job.node.resources;
        outbox.touch(key, job);
        build.note_spread(key.index, 1);
        build.usage = build.usage.plus(&resources);
        self.clusters.occupy(cluster, key, &resources);
        self.queue.serve(project, &resources);
        self.volumes_placed(outbox, key, cluster);
        self.cache_placed(outbox, key);
        self.index_placed(outbox, key);
    }

    /// Lets the job wait for a cluster.
    pub(super) fn enqueue(&mut self, outbox: &mut Outbox, key: JobKey) {
        let Some(job) = self.builds.job_mut(key) else { return };
        if job.is_array() {
            return self.begin_array(outbox, key);
        }
        if job.status.state != JobState::Queued {
            job.status.state = JobState::Queued;
            job.status.queued_at.get_or_insert(outbox.now.wall);
            job.note_queued(outbox.now.wall);
            outbox.touch(key, job);
        }
        self.parked.remove(&key);
        if let Some(class) = self.insert(key) {
            self.watch(class, outbox.now.steady);
        }
        self.limit_wait(key, outbox.now);
    }

    /// Puts a queued job into its class, which is returned.
    pub(super) fn insert(&mut self, key: JobKey) -> Option<ClassId> {
        let build = self.builds.get_mut(key.build)?;
        let job = build.job(key.index)?;
        let queued_at = job.status.queued_at?;
        let ticket = Ticket::new(key, queued_at, job.node.priority, self.settings.priority_step);
        build.held.remove(&ticket);
        let (build, job) = self.builds.job(key)?;
        let volumes = self.volume_needs(build, job);
        let demand = demand(build, job, &volumes);
        let class = self
            .queue
            .insert(&mut self.clusters, build.record.project, ticket, &demand);
        let job = self.builds.job_mut(key)?;
        job.class = Some(class);
        // One for all jobs of the class: the same, kept once.
        if let Some(selector) = self
            .queue
            .selector(class)
            .filter(|selector| **selector == job.node.selector)
        {
            // An index shares its array's.
            if let Some(node) = Arc::get_mut(&mut job.node) {
                node.selector = selector.clone();
            }
        }
        Some(class)
    }

    /// The place in the queue of a job that was queued.
    pub(super) fn ticket(&self, key: JobKey) -> Option<Ticket> {
        let (_, job) = self.builds.job(key)?;
        let queued_at = job.status.queued_at?;
        Some(Ticket::new(
            key,
            queued_at,
            job.node.priority,
            self.settings.priority_step,
        ))
    }

    /// Takes a job out of the queue, if it is there.
    pub(super) fn dequeue(&mut self, key: JobKey) {
        let Some(build) = self.builds.get_mut(key.build) else {
            return;
        };
        let project = build.record.project;
        let Some(job) = build.job_mut(key.index) else { return };
        let Some(queued_at) = job.status.queued_at else { return };
        let ticket = Ticket::new(key, queued_at, job.node.priority, self.settings.priority_step);
        match job.class.take() {
            Some(class) => self.queue.remove(&mut self.clusters, class, project, &ticket),
            None => {
                if build.held.remove(&ticket) {
                    // Others may have waited for this one alone.
                    self.let_go_on(key.build);
                }
            }
        }
    }

    /// Takes the job's attempt off its cluster, which then has room for others.
    pub(super) fn release(&mut self, key: JobKey) {
        self.refund(key);
        let Some(job) = self.builds.job_mut(key) else { return };
        job.choice = None;
        let resources = job.node.resources;
        let Some(cluster) = job.status.cluster.as_ref() else {
            return;
        };
        let Some(index) = self.clusters.index(cluster) else {
            return;
        };
        if self.clusters.vacate(index, key, &resources) {
            self.queue.has_room(&mut self.clusters, index);
        }
    }
}
