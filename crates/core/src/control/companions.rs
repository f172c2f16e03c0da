//! Where jobs go because of other jobs of their build: apart from them (`spread`), or beside one of them (`same_as`); and which
//! clusters they would rather have.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Control;
use super::builds::{LiveBuild, LiveJob};
use super::clusters::ClusterIndex;
use super::queue::ClassId;
use super::record::JobNode;
use crate::name::{ClusterName, JobName};
use crate::placement::{Crowds, Wishes};

/// How many clusters of a class are looked at for a job that would rather have some of them: what a placement costs must not grow
/// with all that there are.
const MAX_LOOKED_AT: usize = 256;

/// How many of these are compared.
const MAX_WISHED: usize = 8;

/// How many attempts of a build are where that are to be spread: by the key of the label, then by cluster.
#[derive(Debug, Default)]
pub(super) struct Spread(BTreeMap<String, BTreeMap<ClusterName, u32>>);

impl Spread {
    /// All of them.
    #[cfg(test)]
    pub(super) fn total(&self) -> usize {
        self.0
            .values()
            .flat_map(BTreeMap::values)
            .map(|count| *count as usize)
            .sum()
    }
}

impl LiveBuild {
    /// Notes that an attempt of a job came to its cluster (1), or left it (-1), if it is to be spread.
    pub(super) fn note_spread(&mut self, index: u32, change: i32) {
        let Some(job) = self.job(index) else {
            return;
        };
        let Some((key, cluster)) = job.wishes().spread.zip(job.status.cluster.as_ref()) else {
            return;
        };
        let (key, cluster) = (key.to_owned(), cluster.clone());
        let on = self.spread.0.entry(key).or_default();
        let count = on.entry(cluster.clone()).or_default();
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            on.remove(&cluster);
        }
    }

    /// The cluster that ran the job which this one has to run beside; none if no cluster did.
    pub(super) fn beside<'a>(&'a self, job: &'a LiveJob) -> Option<&'a ClusterName> {
        let status = &self.companion(job)?.status;
        status.end().map_or(status.cluster.as_ref(), |end| end.cluster.as_ref())
    }

    /// Says that the cluster is gone on which the job has to run because another did.
    pub(super) fn lost_companion(&self, job: &LiveJob, exists: impl Fn(&ClusterName) -> bool) -> Option<String> {
        let companion = self.companion(job)?;
        let gone = |cluster: &&ClusterName| companion.status.has_lost_its_place() || !exists(cluster);
        let cluster = self.beside(job).filter(gone)?;
        let companion = &companion.node.name;
        Some(format!(
            "it has to run where `{companion}` did (`same_as`), and that cluster, `{cluster}`, was removed"
        ))
    }

    pub(super) fn companion<'a>(&'a self, job: &'a LiveJob) -> Option<&'a LiveJob> {
        let name: &JobName = job.node.extensions.as_ref()?.same_as.as_ref()?;
        self.parents(job).find(|parent| parent.node.name == *name)
    }
}

impl LiveJob {
    /// What it would rather have of a cluster.
    pub(super) fn wishes(&self) -> Wishes<'_> {
        self.node.wishes()
    }
}

impl JobNode {
    /// What it would rather have of a cluster.
    pub fn wishes(&self) -> Wishes<'_> {
        let extensions = self.extensions.as_deref();
        Wishes {
            prefer: self.prefer.as_ref(),
            preferences: extensions.map(|says| says.preferences.as_slice()).unwrap_or_default(),
            spread: extensions.and_then(|says| says.spread.as_deref()),
        }
    }
}

impl Control {
    /// How many of the build's attempts are where that are spread over the same label.
    pub(super) fn crowds<'a>(&'a self, build: &'a LiveBuild, wishes: &Wishes<'_>) -> Crowds<'a> {
        let mut crowds = Crowds::default();
        let Some((key, on)) = wishes.spread.and_then(|key| build.spread.0.get_key_value(key)) else {
            return crowds;
        };
        for (cluster, count) in on {
            let labels = self.clusters.by_name(cluster).map(|(_, member)| &member.labels);
            if let Some(value) = labels.and_then(|labels| labels.get(key)) {
                crowds.add(value, *count);
            }
        }
        crowds
    }

    /// How much a job would rather have a cluster, and how many of those it is to be spread with are there.
    pub(super) fn liking(&self, wishes: &Wishes<'_>, crowds: &Crowds<'_>, index: ClusterIndex) -> (u32, u32) {
        let Some(member) = self.clusters.get(index) else {
            return (0, u32::MAX);
        };
        let crowd = wishes.spread.map_or(0, |key| crowds.at(member.labels.get(key)));
        (wishes.weight(&member.record.name, &member.labels), crowd)
    }

    /// The clusters of the job's class with room that it would rather have than others, of those that are looked at.
    pub(super) fn wished(&self, class: ClassId, job: &LiveJob, crowds: &Crowds<'_>) -> Vec<ClusterIndex> {
        let wishes = job.wishes();
        if !wishes.compares() {
            return Vec::new();
        }
        let offered = self.queue.offered(class, MAX_LOOKED_AT);
        let with_room = offered.filter(|index| self.clusters.room(*index).fits(class, &job.node.resources));
        let mut liked: Vec<((Reverse<u32>, u32), ClusterIndex)> = with_room
            .map(|index| {
                let (weight, crowd) = self.liking(&wishes, crowds, index);
                ((Reverse(weight), crowd), index)
            })
            .collect();
        liked.sort_unstable();
        liked.truncate(MAX_WISHED);
        liked.into_iter().map(|(_, index)| index).collect()
    }
}
