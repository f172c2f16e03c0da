//! That outputs are whole where commands find them, and that what is called lost is.

use std::collections::BTreeSet;

use tombolo_core::control::Change;
use tombolo_core::control::record::JobStatus;
use tombolo_core::digest::Digest;
use tombolo_core::name::ClusterName;

use super::Record;
use crate::history::{Fact, Outcome};

/// No command is given bytes as an output that are not those which its parent left.
pub(super) fn inputs_are_whole(outcome: &Outcome) -> Result<(), String> {
    for (at, fact) in &outcome.history.facts {
        let Fact::CommandStarted {
            cluster,
            assignment,
            arrived,
        } = fact
        else {
            continue;
        };
        let is_its = |found: &&Digest| assignment.inputs.iter().any(|input| input.output.manifest == **found);
        if let Some(found) = arrived.iter().find(|found| !is_its(found)) {
            return Err(format!(
                "{at:?}: {} starts on {cluster} with {}, which nobody has left",
                assignment.attempt,
                found.short()
            ));
        }
    }
    Ok(())
}

/// Where outputs can have gone without the product.
#[derive(Debug, Default)]
struct Faults<'a> {
    hurt: BTreeSet<(&'a ClusterName, Digest)>,
    gone: BTreeSet<&'a ClusterName>,
    all: BTreeSet<&'a ClusterName>,
}

impl<'a> Faults<'a> {
    fn take(&mut self, fact: &'a Fact) {
        match fact {
            Fact::Capacity { cluster, .. } => drop(self.all.insert(cluster)),
            Fact::StoreHurt { cluster, manifests } | Fact::Swept { cluster, manifests, .. } => {
                self.hurt.extend(manifests.iter().map(|manifest| (cluster, *manifest)));
            }
            Fact::Wiped(cluster) | Fact::Buried(cluster) | Fact::Committed(Change::DeleteCluster(cluster)) => {
                self.gone.insert(cluster);
            }
            _ => {}
        }
    }

    /// Whether what is said of an output is so: it is not on the clusters that are named, or they were not heard of.
    fn explain(&self, reason: &str, manifest: Digest) -> bool {
        let mut named = self
            .all
            .iter()
            .filter(|name| reason.contains(&format!("`{name}`")))
            .peekable();
        let is_gone = |name: &&&ClusterName| self.gone.contains(**name) || self.hurt.contains(&(**name, manifest));
        let is_silent = reason.contains("was not heard of");
        named.peek().is_some() && (is_silent || named.all(|name| is_gone(&name)))
    }
}

/// An output is called lost, or made again, only where a fault, a removal or a silence explains that.
pub(super) fn losses_are_real(outcome: &Outcome) -> Result<(), String> {
    let (mut record, mut faults) = (Record::default(), Faults::default());
    for (at, fact) in &outcome.history.facts {
        faults.take(fact);
        if let Fact::Committed(Change::PutJob(status)) = fact
            && !(status.is_taken_over() && status.epoch.0 == 0 && !status.is_recovering())
            && let Some(reason) = status.output_lost()
        {
            let before = record.jobs.get(&status.id);
            let was_lost = before.is_some_and(|before| before.output_lost().is_some());
            let output = before.and_then(|before| before.output).or(status.output);
            let manifest = output.map(|output| output.manifest);
            if !was_lost && manifest.is_some_and(|manifest| !faults.explain(reason, manifest)) {
                return Err(format!("{at:?}: nothing has hurt what is called lost: {status:?}"));
            }
        }
        record.take(fact);
    }
    Ok(())
}

/// What a build takes over of another one is as it ended there.
pub(super) fn taken_over_is_real(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    for (at, fact) in &outcome.history.facts {
        if let Fact::Committed(Change::PutJob(status)) = fact
            && status.is_taken_over()
            && status.epoch.0 == 0
        {
            let output = |status: &JobStatus| status.output.map(|output| output.manifest);
            let had = |other: &JobStatus| {
                let outputs = record.outputs.get(&other.id);
                output(status).is_none_or(|manifest| outputs.is_some_and(|all| all.contains(&manifest)))
            };
            let is_it = |other: &&JobStatus| other.id != status.id && other.ended() == status.ended() && had(other);
            // Of an array's indexes that never began there are no records.
            let is_index = status.id.array_and_index().is_some() && status.output.is_none();
            if !is_index && !record.jobs.values().any(|other| is_it(&other)) {
                return Err(format!("{at:?}: no other job has ended so: {status:?}"));
            }
        }
        record.take(fact);
    }
    Ok(())
}
