//! What is left on a cluster that is to go.

use super::{Control, Drain, LONGEST_PAUSE};
use crate::build::JobKind;
use crate::control::Contact;
use crate::control::builds::{JobKey, LiveBuild, LiveJob};
use crate::control::clusters::{ClusterIndex, Member};
use crate::control::holders::kept_at;
use crate::control::lease::Deadline;
use crate::control::outbox::Outbox;
use crate::name::ClusterName;
use crate::placement::Availability;
use crate::time::Moment;

/// How many outputs wait at the most to be moved. The next look finds the others.
const MAX_WAITING: usize = 1024;

/// What is left on a cluster, beside attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) struct Left {
    /// Outputs that jobs wait for and no other cluster has.
    pub(in crate::control) outputs: u64,
    /// How large these are.
    pub(in crate::control) bytes: u64,
    /// Jobs that can run nowhere else.
    pub(in crate::control) bound: u64,
}

impl Left {
    pub(super) const NOTHING: Self = Self {
        outputs: 0,
        bytes: 0,
        bound: 0,
    };

    const fn add_output(&mut self, bytes: u64) {
        self.outputs = self.outputs.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) const fn take_output(&mut self, bytes: u64) {
        self.outputs = self.outputs.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Control {
    /// Looks what is left on a cluster that is being drained, and has it moved.
    pub(in crate::control) fn drain_due(&mut self, outbox: &mut Outbox, index: ClusterIndex) {
        let (Some(mut drain), Some(name)) = (self.drains.remove(&index), self.name_of(index)) else {
            return;
        };
        let now = outbox.now.steady;
        // Those come last that could go nowhere: they are not to keep the others from being looked at, however many they are.
        let (mut found, mut passed) = (Vec::new(), Vec::new());
        drain.left = self.left_on(&name, stays, |key| {
            let which = match drain.passed {
                Some(last) if key <= last => &mut passed,
                _ => &mut found,
            };
            if which.len() < MAX_WAITING && !drain.moves.contains_key(&key) {
                which.push(key);
            }
        });
        found.extend(passed);
        found.truncate(MAX_WAITING);
        drain.waiting = found.into();
        self.go_on_moving(outbox, (index, &name), &mut drain);
        self.plan_look(index, &mut drain, now);
        self.drains.insert(index, drain);
    }

    fn plan_look(&mut self, index: ClusterIndex, drain: &mut Drain, now: Moment) {
        drain.looked_at = Some(now);
        drain.stale = false;
        let busy = drain.left.outputs > 0;
        let pause = self.look_pause();
        drain.look_at = now + if busy { pause } else { pause.max(LONGEST_PAUSE) };
        self.deadlines.insert((drain.look_at, Deadline::Drain(index)));
    }

    pub(super) fn name_of(&self, index: ClusterIndex) -> Option<ClusterName> {
        self.clusters.get(index).map(|member| member.record.name.clone())
    }

    /// What would be lost with a cluster if it was removed now.
    pub(in crate::control) fn lost_with(&self, name: &ClusterName) -> Left {
        self.left_on(name, is_counted_on, |_| {})
    }

    /// What is left on a cluster, if an output is safe on others for which `is_safe` holds; `tell` is told of each output.
    fn left_on(&self, name: &ClusterName, is_safe: fn(&Member) -> bool, mut tell: impl FnMut(JobKey)) -> Left {
        let mut left = Left::NOTHING;
        for build in self.builds.iter() {
            for job in build.all() {
                if is_open(job) && job.attempt().is_none() && build.is_bound_to(job, name) {
                    left.bound = left.bound.saturating_add(1);
                }
                let Some(output) = job.status.kept_output() else {
                    continue;
                };
                if self.is_only_on(build, job, name, is_safe) && self.is_waited_for(build, job, name) {
                    left.add_output(output.bytes);
                    tell(JobKey {
                        build: build.record.id,
                        index: job.index,
                    });
                }
            }
        }
        left
    }

    /// Whether an output has to be moved from a cluster.
    pub(super) fn has_to_move(&self, key: JobKey, name: &ClusterName) -> bool {
        let found = self.builds.job(key);
        found.is_some_and(|(build, job)| {
            self.is_only_on(build, job, name, stays) && self.is_waited_for(build, job, name)
        })
    }

    /// Whether this cluster has the output of a job, and no other where it is safe.
    fn is_only_on(&self, build: &LiveBuild, job: &LiveJob, name: &ClusterName, is_safe: fn(&Member) -> bool) -> bool {
        let mut is_here = false;
        for other in kept_at(build, job) {
            if other == name {
                is_here = true;
            } else if self.clusters.by_name(other).is_some_and(|(_, member)| is_safe(member)) {
                return false;
            }
        }
        is_here
    }

    /// Whether a job that is not over, and can run elsewhere than on this cluster, may be given the output of `parent`.
    fn is_waited_for(&self, build: &LiveBuild, parent: &LiveJob, name: &ClusterName) -> bool {
        let mut waiting = self.who_waits(build, parent);
        waiting.any(|child| !build.is_bound_to(child, name))
    }

    /// The jobs of the graph that are not over, and may be given the output of `parent`.
    pub(super) fn who_waits<'a>(
        &'a self,
        build: &'a LiveBuild,
        parent: &'a LiveJob,
    ) -> impl Iterator<Item = &'a LiveJob> {
        // What children make of the end of an index is known when its array has ended.
        let in_graph = build.job(build.in_graph(parent.index));
        let ended = in_graph.and_then(|job| job.status.ended());
        let children = build.edges.children(parent.node.index).iter();
        let children = children.filter_map(|child| build.job(*child));
        children.filter(move |child| {
            let mut edges = child.node.parents.iter();
            let follows =
                edges.any(|(of, on)| *of == parent.node.index && ended.is_none_or(|state| on.contains(state)));
            follows
                && child.takes(&parent.node.name)
                && child.node.kind == JobKind::Run
                && (is_open(child) || self.recovers_any_of(build, child))
        })
    }

    /// Whether an index of an array that has ended makes its output again.
    fn recovers_any_of(&self, build: &LiveBuild, job: &LiveJob) -> bool {
        let recovers = !self.recoveries.is_empty() && job.is_array();
        recovers && build.with_indexes(job.index).any(|index| index.status.is_recovering())
    }
}

impl LiveBuild {
    /// Whether a job can run on this cluster only, because of other jobs.
    fn is_bound_to(&self, job: &LiveJob, cluster: &ClusterName) -> bool {
        self.shared_of(job) == Some(cluster) || self.beside(job) == Some(cluster)
    }
}

/// Whether it has not ended, or makes its output again, and nobody asked for its end.
fn is_open(job: &LiveJob) -> bool {
    job.status.state.terminal().is_none() && !job.status.cancel_requested
}

/// Whether what is on the cluster is there to stay.
pub(super) fn stays(member: &Member) -> bool {
    let stays = matches!(member.record.availability, Availability::Open | Availability::Cordoned);
    stays && is_counted_on(member)
}

/// Whether what is on the cluster can be had, now or later.
fn is_counted_on(member: &Member) -> bool {
    member.contact() != Contact::Lost
}
