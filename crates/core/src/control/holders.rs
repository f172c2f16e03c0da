//! Which clusters have an output: the one that made it, those that were given a copy before that one went ([`drain`](super::drain)), and those
//! where a child of its job works with it. They keep it for as long as the build does.

use std::collections::BTreeSet;

use super::builds::{LiveBuild, LiveJob};
use super::outbox::Outbox;
use super::record::{Build, JobStatus};
use super::{Contact, Control};
use crate::attempt::OutputReference;
use crate::name::ClusterName;
use crate::time::Timestamp;

/// How many children of a job are asked whether they have its output.
const MAX_CHILDREN: usize = 256;

/// How many if the job is an index of an array.
const MAX_CHILDREN_OF_INDEX: usize = 8;

/// How many clusters are named besides the one that made the output.
const MAX_COPIES: usize = 3;

/// Which clusters count as having something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// All that were not removed.
    Members,
    /// Those of which something is expected still.
    InContact,
}

impl Control {
    /// The clusters that have the output of a job which has ended, those first that are connected. None of them may have it any more:
    /// then there is none, or the output is lost.
    pub(super) fn holders<'a>(&'a self, build: &'a LiveBuild, job: &'a LiveJob) -> Vec<&'a ClusterName> {
        let mut holders: Vec<(bool, &ClusterName)> = Vec::new();
        for name in kept_at(build, job) {
            let contact = self.contact(name);
            let known = holders.iter().any(|(_, known)| *known == name);
            if known || contact.is_none_or(|contact| contact == Contact::Lost) {
                continue;
            }
            holders.push((contact != Some(Contact::Connected), name));
            if holders.len() > MAX_COPIES {
                break;
            }
        }
        holders.sort_by_key(|(away, _)| *away);
        holders.into_iter().map(|(_, name)| name).collect()
    }

    /// Why no cluster has the output of a job which has ended, if that is so.
    pub(super) fn loss(&self, build: &LiveBuild, job: &LiveJob, trust: Trust) -> Option<String> {
        if job.status.is_recovering() || job.status.output.is_none() {
            return None;
        }
        if let Some(reason) = job.status.output_lost() {
            return Some(reason.to_owned());
        }
        let counts = |name: &ClusterName| match (self.contact(name), trust) {
            (None, _) | (Some(Contact::Lost), Trust::InContact) => false,
            (Some(_), _) => true,
        };
        if kept_at(build, job).any(counts) {
            return None;
        }
        let cluster = job.status.cluster.as_ref()?;
        let member = job
            .status
            .present_cluster()
            .and_then(|name| self.clusters.by_name(name));
        Some(match member {
            None => removed(cluster),
            Some((_, member)) => {
                let silence = member.silence;
                format!("cluster `{cluster}`, which had it, was not heard of for {silence:?}")
            }
        })
    }

    /// Why the output of an ended attempt of the build, which the store says is kept, is nowhere any more, if so: all clusters that had it were removed.
    pub fn output_gone(&self, build: &Build, status: &JobStatus) -> Option<String> {
        status.kept_output()?;
        if let Some((build, job)) = self.builds.job_by_id(status.id) {
            return self.loss(build, job, Trust::Members);
        }
        let maker = status.cluster.as_ref()?;
        let is_gone = self.members_with(build, status).next().is_none();
        is_gone.then(|| removed(maker))
    }

    /// Notes of a job of a build that is over which of the clusters that had its output were removed since: what takes it over could not tell
    /// them from later ones of the same name.
    pub fn note_removed(&self, build: &Build, status: &mut JobStatus) {
        let present: BTreeSet<ClusterName> = self.members_with(build, status).cloned().collect();
        let places = status.present_cluster().into_iter().chain(status.copies());
        let removed: Vec<ClusterName> = places.filter(|name| !present.contains(*name)).cloned().collect();
        for cluster in removed {
            status.lose_cluster(&cluster);
        }
    }

    /// A cluster is removed: notes that of all jobs of running builds that have left something there.
    pub(super) fn note_removal(&mut self, outbox: &mut Outbox, cluster: &ClusterName) {
        let has =
            |job: &&LiveJob| job.status.cluster.as_ref() == Some(cluster) || job.status.copies().contains(cluster);
        let builds = self.builds.iter();
        let keys = builds.flat_map(|build| build.all().filter(has).map(|job| build.key(job)));
        for key in keys.collect::<Vec<_>>() {
            if let Some(job) = self.builds.job_mut(key)
                && job.status.lose_cluster(cluster)
            {
                outbox.touch(key, job);
            }
        }
    }

    /// The cluster to ask for the output of an ended attempt of the build: one that is connected if there is one, and rather the one that made it.
    pub fn output_at(&self, build: &Build, status: &JobStatus) -> Option<ClusterName> {
        if let Some((build, job)) = self.builds.job_by_id(status.id)
            && let Some(holder) = self.holders(build, job).first()
        {
            return Some((*holder).clone());
        }
        let mut places = self.members_with(build, status);
        let connected = |name: &ClusterName| self.contact(name) == Some(Contact::Connected);
        let first = places.next();
        let found = first.filter(|name| connected(name));
        let found = found.or_else(|| places.find(|name| connected(name))).or(first);
        found.or(status.cluster.as_ref()).cloned()
    }

    /// The clusters that have the output of an ended attempt of a build which is over, the one first that made it. One that has joined since then is
    /// another one, whatever its name is.
    fn members_with<'a>(&'a self, build: &Build, status: &'a JobStatus) -> impl Iterator<Item = &'a ClusterName> {
        let left_at = status.left_at(build);
        let places = status.present_cluster().into_iter().chain(status.copies());
        places.filter(move |name| {
            let found = self.clusters.by_name(name);
            found.is_some_and(|(_, member)| left_at.is_none_or(|at| member.record.joined_at <= at))
        })
    }

    /// Whether the process of a cluster's agent has ended for another one to take its place.
    pub(super) fn awaits_successor(&self, cluster: &ClusterName) -> bool {
        let found = self.clusters.by_name(cluster);
        found.is_some_and(|(_, member)| member.awaits_successor)
    }

    pub(super) fn contact(&self, cluster: &ClusterName) -> Option<Contact> {
        self.clusters.by_name(cluster).map(|(_, member)| member.contact())
    }
}

impl JobStatus {
    /// Why nobody has its output any more, if it is known by this alone: the clusters that had it were removed.
    pub fn gone_with_its_cluster(&self) -> Option<String> {
        self.kept_output()?;
        let is_gone = self.has_lost_its_cluster() && self.copies().is_empty();
        self.cluster.as_ref().filter(|_| is_gone).map(removed)
    }

    /// When the output of an ended attempt of the build was there at the latest, by the master's calendar; none while it may still come or be copied.
    pub fn left_at(&self, build: &Build) -> Option<Timestamp> {
        match self.is_taken_over() && self.loss.is_none() {
            true => Some(build.created_at),
            false => build.ended_at,
        }
    }
}

fn removed(cluster: &ClusterName) -> String {
    format!("cluster `{cluster}`, which had it, was removed")
}

/// The clusters that have had the output of a job, as far as is known, the one first that made it. Some may be named twice.
pub(super) fn kept_at<'a>(build: &'a LiveBuild, job: &'a LiveJob) -> impl Iterator<Item = &'a ClusterName> {
    let output = job.status.kept_output().filter(|_| job.attempt().is_none());
    let maker = output.and(job.status.present_cluster());
    let children = output.map_or(&[][..], |_| build.edges.children(job.node.index));
    let children = children.iter().flat_map(|child| build.with_indexes(*child));
    let most = match job.id().array_and_index() {
        // It is one of many, each of which is asked for.
        Some(_) => MAX_CHILDREN_OF_INDEX,
        None => MAX_CHILDREN,
    };
    let at_children = children.take(most).filter_map(move |child| {
        child
            .works_with(job, output?)
            .then_some(child.status.present_cluster())?
    });
    let copies = output.map_or(&[][..], |_| job.status.copies());
    maker.into_iter().chain(copies).chain(at_children)
}

impl LiveJob {
    /// Whether its command has begun with this output of a parent, which its cluster therefore has.
    fn works_with(&self, parent: &Self, output: OutputReference) -> bool {
        let mut inputs = self.status.inputs.iter();
        // Who takes the outputs of all indexes says which it was; who takes that of one says the array.
        let own = parent.name();
        let names = [Some(&own), Some(&parent.node.name)];
        self.status.started_at.is_some()
            && self.status.inputs_are_on_its_cluster()
            && inputs.any(|input| {
                input.failure.is_none() && input.manifest == output.manifest && names.contains(&input.parent.as_ref())
            })
    }
}
