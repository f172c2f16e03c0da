//! That outputs are kept for as long as somebody was promised them, and not for longer.
//!
//! Whether an output is kept is asked here by the words of the policy, from what was committed, and not by the product's own plan. Machines' calendars
//! differ: what one of them may take for over is not promised any more, and what another may take for kept need not be gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_core::build::BuildState;
use tombolo_core::control::Change;
use tombolo_core::control::record::{Build, JobStatus};
use tombolo_core::digest::Digest;
use tombolo_core::id::{BuildId, JobId};
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;

use super::Record;
use crate::history::{Fact, Keeping, Outcome, Stored};

const MILLISECONDS_PER_DAY: u64 = 24 * 60 * 60 * 1000;

/// The outputs of all builds, and what became of them.
#[derive(Debug, Default)]
struct Shelf<'a> {
    keeping: Option<&'a Keeping>,
    record: Record,
    builds: BTreeMap<BuildId, &'a Build>,
    /// When builds were given up.
    given_up: BTreeMap<BuildId, Duration>,
    /// Since when a job's record is as it is.
    since: BTreeMap<JobId, Duration>,
    /// The most bytes that a job's output ever had.
    largest: BTreeMap<JobId, u64>,
    /// What faults, or sweeps that nobody had told otherwise yet, have taken.
    hurt: BTreeSet<(&'a ClusterName, Digest)>,
    wiped: BTreeSet<&'a ClusterName>,
}

impl<'a> Shelf<'a> {
    fn take(&mut self, at: Duration, fact: &'a Fact) {
        match fact {
            Fact::Keeping(keeping) => self.keeping = Some(keeping),
            Fact::Committed(Change::InsertBuild { build, .. }) => drop(self.builds.insert(build.id, build)),
            Fact::Committed(Change::PutBuild(build)) => {
                if build.released_at.is_some() {
                    self.given_up.entry(build.id).or_insert(at);
                }
                self.builds.insert(build.id, build);
            }
            Fact::Committed(Change::PutJob(status)) => {
                self.since.insert(status.id, at);
                let bytes = status.output.map_or(0, |output| output.bytes);
                let largest = self.largest.entry(status.id).or_default();
                *largest = bytes.max(*largest);
            }
            Fact::StoreHurt { cluster, manifests } | Fact::Swept { cluster, manifests, .. } => {
                self.hurt.extend(manifests.iter().map(|manifest| (cluster, *manifest)));
            }
            Fact::Wiped(cluster) | Fact::Buried(cluster) => drop(self.wiped.insert(cluster)),
            _ => {}
        }
        self.record.take(fact);
    }

    fn build_of(&self, job: JobId) -> Option<&'a Build> {
        self.builds.get(&self.record.node(job)?.build).copied()
    }

    /// Whether so many days may have gone by since the end of a build, as the machine has it whose calendar is ahead of all others.
    fn may_be_older(&self, build: &Build, days: u32, at: Duration) -> bool {
        self.age(build, at, Keeping::MOST_AHEAD)
            .is_some_and(|age| age >= u64::from(days) * MILLISECONDS_PER_DAY)
    }

    /// The same, as all machines have it.
    fn is_older(&self, build: &Build, days: u32, at: Duration) -> bool {
        self.age(build, at, 0)
            .is_some_and(|age| age > u64::from(days) * MILLISECONDS_PER_DAY)
    }

    fn age(&self, build: &Build, at: Duration, ahead: u64) -> Option<u64> {
        let (keeping, ended_at) = (self.keeping?, build.ended_at?);
        let now = Timestamp(Keeping::BIRTH + u64::try_from(at.as_millis()).ok()? + ahead);
        Some(keeping.stretch(now).0.saturating_sub(keeping.stretch(ended_at).0))
    }

    /// For how many days the job says that its output is kept.
    fn keep_days(&self, job: JobId) -> Option<u32> {
        self.record.node(job)?.output_keep_days()
    }

    /// Whether somebody may count on the output of a job: nobody has given it up, by any calendar.
    fn is_promised(&self, status: &JobStatus, at: Duration) -> bool {
        let Some(build) = self.build_of(status.id) else {
            return false;
        };
        let kept = status.kept_output().is_some() && !self.given_up.contains_key(&build.id);
        let expires = self.keep_days(status.id);
        kept && expires.is_none_or(|days| !self.may_be_older(build, days, at))
    }

    /// Whether there is a reason to have the output of a job still, or was until just now.
    fn may_be_kept(&self, status: &JobStatus, recently: Duration) -> bool {
        let Some(build) = self.build_of(status.id) else {
            return false;
        };
        let given_up = self.given_up.get(&build.id).is_some_and(|at| *at < recently);
        let expires = self.keep_days(status.id);
        let expired = expires.is_some_and(|days| self.is_older(build, days, recently));
        status.kept_output().is_some() && !given_up && !expired
    }

    fn leaving(&self, manifest: Digest) -> impl Iterator<Item = &JobStatus> {
        let all = self.record.jobs.values();
        all.filter(move |status| status.output.is_some_and(|output| output.manifest == manifest))
    }

    /// Whether the cluster is counted on for a job's output since this moment at least.
    fn is_counted_on(&self, cluster: &ClusterName, status: &JobStatus, manifest: Digest, asked: Duration) -> bool {
        let since = |job: &JobId| self.since.get(job).is_some_and(|since| *since <= asked);
        let has = status.cluster.as_ref() == Some(cluster) || status.copies().contains(cluster);
        let build = self.record.node(status.id).map(|node| node.build);
        let siblings = build
            .and_then(|build| self.record.builds.get(&build))
            .into_iter()
            .flatten();
        let works_with = |child: &&JobStatus| {
            let mut inputs = child.inputs.iter();
            let here = child.cluster.as_ref() == Some(cluster) && child.started_at.is_some();
            here && since(&child.id) && inputs.any(|input| input.manifest == manifest)
        };
        let mut children = siblings.flat_map(|job| self.record.leaving(*job));
        since(&status.id) && (has || children.any(|child| works_with(&child)))
    }

    /// Whether the policy lets a build's outputs go, for one of its limits.
    fn lets_go(&self, build: &Build, at: Duration) -> bool {
        let Some(policy) = self.keeping.map(|keeping| keeping.policy) else {
            return false;
        };
        let newer = || self.builds.values().filter(|other| other.number > build.number);
        let bytes_of = |build: &BuildId| -> u64 {
            let all = self.largest.iter();
            let own = all.filter(|(job, _)| self.record.node(**job).is_some_and(|node| node.build == *build));
            own.map(|(_, bytes)| *bytes).sum()
        };
        let newer_bytes = || newer().map(|build| bytes_of(&build.id)).sum::<u64>();
        let one_is_over = || newer().any(|build| build.state != BuildState::Running);
        let too_many = policy.builds.is_some_and(|most| newer().count() >= most as usize);
        let too_old = policy.days.is_some_and(|days| self.may_be_older(build, days, at));
        let is_too_large = |most: u64| newer_bytes() + bytes_of(&build.id) > most && one_is_over();
        too_many || too_old || policy.bytes.is_some_and(is_too_large)
    }
}

/// Outputs are given up only of builds that are over, and that the policy does not keep.
pub(super) fn given_up_by_the_policy(outcome: &Outcome) -> Result<(), String> {
    let mut shelf = Shelf::default();
    for (at, fact) in &outcome.history.facts {
        shelf.take(*at, fact);
        let Fact::Committed(Change::PutBuild(build)) = fact else {
            continue;
        };
        let is_new = shelf.given_up.get(&build.id) == Some(at);
        if is_new && (build.state == BuildState::Running || !shelf.lets_go(build, *at)) {
            let policy = shelf.keeping.map(|keeping| keeping.policy);
            return Err(format!("{at:?}: given up by {policy:?}, which keeps it: {build:?}"));
        }
    }
    Ok(())
}

/// A sweep takes nothing that a live child, a build that took it over or anybody else was promised before it asked.
pub(super) fn promised_is_not_swept(outcome: &Outcome) -> Result<(), String> {
    let mut shelf = Shelf::default();
    for (at, fact) in &outcome.history.facts {
        match fact {
            Fact::Swept {
                cluster,
                manifests,
                asked,
            } => {
                for manifest in manifests {
                    let mut leaving = shelf.leaving(*manifest);
                    let promised = leaving.find(|status| {
                        shelf.is_promised(status, *at) && shelf.is_counted_on(cluster, status, *manifest, *asked)
                    });
                    if let Some(status) = promised {
                        return Err(format!(
                            "{at:?}: a sweep that asked at {asked:?} has deleted {} on {cluster}, which is kept: {status:?}",
                            manifest.short()
                        ));
                    }
                }
            }
            Fact::Broken { cluster, manifest } => {
                let manifest = manifest.short();
                return Err(format!("{at:?}: a sweep has taken some of {manifest} on {cluster}"));
            }
            _ => {}
        }
        shelf.take(*at, fact);
    }
    Ok(())
}

/// What is in the stores at the end.
fn stores(outcome: &Outcome) -> BTreeMap<&ClusterName, (&[Stored], usize)> {
    let facts = outcome.history.facts.iter().rev();
    let at_the_end = facts.map_while(|(_, fact)| match fact {
        Fact::InStore {
            cluster,
            stored,
            unlisted,
        } => Some((cluster, (stored.as_slice(), *unlisted))),
        _ => None,
    });
    at_the_end.collect()
}

fn last<'a>(outcome: &'a Outcome) -> (Shelf<'a>, Duration) {
    let (mut shelf, mut end) = (Shelf::default(), Duration::ZERO);
    for (at, fact) in &outcome.history.facts {
        shelf.take(*at, fact);
        end = *at;
    }
    (shelf, end)
}

/// What is kept, and what no fault has hurt, is there at the end, whole.
pub(super) fn kept_is_there(outcome: &Outcome) -> Result<(), String> {
    let stores = stores(outcome);
    if stores.is_empty() {
        return Ok(());
    }
    let (shelf, end) = last(outcome);
    for status in shelf
        .record
        .jobs
        .values()
        .filter(|status| shelf.is_promised(status, end))
    {
        let (Some(cluster), Some(output)) = (&status.cluster, status.kept_output()) else {
            continue;
        };
        let Some((stored, _)) = stores.get(cluster) else {
            continue;
        };
        let is_hurt = shelf.hurt.contains(&(cluster, output.manifest)) || shelf.wiped.contains(cluster);
        let mut stored = stored.iter();
        if !is_hurt && !stored.any(|stored| stored.manifest == output.manifest && stored.whole) {
            let manifest = output.manifest.short();
            return Err(format!("{manifest} is kept, and not on {cluster} any more: {status:?}"));
        }
    }
    Ok(())
}

/// What nobody keeps any more is gone at the end from all stores.
pub(super) fn let_go_is_gone(outcome: &Outcome) -> Result<(), String> {
    let (shelf, end) = last(outcome);
    let recently = end.saturating_sub(Keeping::TIME_TO_GO * 4 / 5);
    for (cluster, (stored, unlisted)) in stores(outcome) {
        let here = |status: &&JobStatus| status.cluster.as_ref() == Some(cluster);
        let of_here = shelf.record.jobs.values().filter(here);
        let builds: BTreeSet<BuildId> = of_here
            .filter_map(|status| Some(shelf.record.node(status.id)?.build))
            .collect();
        for Stored { manifest, .. } in stored {
            let is_kept = shelf.leaving(*manifest).any(|status| {
                let build = shelf.record.node(status.id).map(|node| node.build);
                let has = build.is_some_and(|build| builds.contains(&build)) || status.copies().contains(cluster);
                has && shelf.may_be_kept(status, recently)
            });
            if !is_kept {
                let manifest = manifest.short();
                return Err(format!("{manifest} is still on {cluster}, and nobody keeps it"));
            }
        }
        if unlisted > 0 {
            return Err(format!(
                "{unlisted} chunks are still on {cluster}, and no output has them"
            ));
        }
    }
    Ok(())
}
