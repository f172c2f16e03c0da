//! Where an output goes whose cluster is to go: where a job that waits for it can run, if that is anywhere, and there where it comes for the least.

use std::cmp::Reverse;

use super::Control;
use crate::control::Contact;
use crate::control::builds::{JobKey, LiveJob};
use crate::control::clusters::{ClusterIndex, Member};
use crate::control::schedule::Input;
use crate::control::volumes::demand;
use crate::name::ClusterName;
use crate::placement::{Availability, Demand, VolumeNeeds};

/// How many of the jobs that wait for an output are asked where they can run.
const MAX_ASKED: usize = 4;

/// How many clusters are named that keep an output from being moved.
const MAX_NAMED: usize = 3;

impl Control {
    /// The best cluster for a copy of an output that is on `from`; none of `tried`, and rather not one that is given many (`given`). None if there is
    /// none that may have it.
    pub(super) fn destination(
        &self,
        key: JobKey,
        from: ClusterIndex,
        tried: &[ClusterName],
        given: impl Fn(ClusterIndex) -> usize,
    ) -> Option<ClusterIndex> {
        let (build, job) = self.builds.job(key)?;
        let output = job.status.kept_output()?;
        let children: Vec<&LiveJob> = self.who_waits(build, job).take(MAX_ASKED).collect();
        let needs: Vec<VolumeNeeds> = children.iter().map(|child| self.volume_needs(build, child)).collect();
        let demands: Vec<Demand<'_>> = children
            .iter()
            .zip(&needs)
            .map(|(child, needs)| demand(build, child, needs))
            .collect();
        let is_there = |name: &ClusterName| children.iter().any(|child| child.status.cluster.as_ref() == Some(name));
        let inputs = [Input::new(from, output.bytes)];
        let options = self.clusters.iter().filter(|(index, member)| {
            *index != from && self.may_be_given(key, member) && !tried.contains(&member.record.name)
        });
        let best = options.max_by_key(|(index, member)| {
            let candidate = member.candidate();
            let suits = |demand: &&Demand<'_>| candidate.suits(demand);
            let suited = demands.iter().find(suits);
            let has_room = suited.is_some_and(|demand| candidate.has_room(&demand.resources));
            (
                is_there(&member.record.name),
                suited.is_some(),
                Reverse(self.cost_of_moving(&inputs, *index).0),
                has_room,
                Reverse(given(*index)),
                candidate.free_share(),
                Reverse(&member.record.name),
            )
        });
        best.map(|(index, _)| index)
    }

    /// Whether a cluster may be given a copy of an output: it is there and takes jobs, and the project lets its data be there.
    pub(super) fn may_be_given(&self, key: JobKey, member: &Member) -> bool {
        member.contact() == Contact::Connected
            && member.record.availability == Availability::Open
            && self.lets_data_be(key, member)
    }

    /// Whether the project lets its data be on a cluster.
    fn lets_data_be(&self, key: JobKey, member: &Member) -> bool {
        let build = self.builds.get(key.build);
        let project = build.and_then(|build| self.projects.get(build.record.project));
        project.is_some_and(|project| project.share.clusters.matches(&member.labels))
    }

    /// Why no cluster may be given a copy of an output that is on `from`: those are named that would do but for what passes.
    pub(super) fn why_nowhere(&self, key: JobKey, from: ClusterIndex) -> String {
        let others = self.clusters.iter().filter(|(index, _)| *index != from);
        let allowed = others.filter(|(_, member)| self.lets_data_be(key, member));
        let mut obstacles = allowed.filter_map(|(_, member)| {
            let what = match member.record.availability {
                Availability::Open if member.contact() != Contact::Connected => "not connected",
                Availability::Open => return None,
                Availability::Cordoned => "cordoned",
                Availability::Draining => "being drained",
                Availability::Disabled => "disabled",
            };
            Some(format!("`{}` is {what}", member.record.name))
        });
        let named: Vec<String> = obstacles.by_ref().take(MAX_NAMED).collect();
        let more = match obstacles.count() {
            0 => String::new(),
            more => format!(", and so on with {more} more"),
        };
        let words = "no other cluster is connected, takes jobs and may have what its project makes";
        match named.is_empty() {
            true => words.to_owned(),
            false => format!("{words}: {}{more}", named.join(", ")),
        }
    }
}
