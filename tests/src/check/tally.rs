//! What worlds are like.

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo_core::control::Change;

use super::Record;
use crate::history::{Fact, Outcome};

/// How many of the builds ended in each state, for a look at what worlds are like.
pub fn tally(outcome: &Outcome) -> BTreeMap<&'static str, usize> {
    let mut record = Record::default();
    outcome.history.facts.iter().for_each(|(_, fact)| record.take(fact));
    let mut tally = BTreeMap::new();
    for status in record.jobs.values() {
        *tally.entry(status.state.as_str()).or_default() += 1;
    }
    for loss in record.jobs.values().filter_map(|status| status.loss.as_ref()) {
        let became = if loss.reason.is_none() {
            "outputs made again"
        } else {
            "outputs lost"
        };
        *tally.entry(became).or_default() += 1;
    }
    let drained = |(_, fact): &&(Duration, Fact)| matches!(fact, Fact::DrainedRemoved { .. });
    tally.insert("clusters drained", outcome.history.facts.iter().filter(drained).count());
    count_stores(outcome, &record, &mut tally);
    let moved = record.jobs.values().map(|status| status.copies().len()).sum::<usize>();
    tally.insert("outputs moved", moved);
    *tally.entry("builds").or_default() += record.builds.len();
    let retried = record.jobs.values().map(|status| status.tries().len()).sum::<usize>();
    tally.insert("attempts after another", retried);
    let made = record.nodes.values().filter(|node| node.generated_by.is_some());
    tally.insert("jobs made by jobs", made.count());
    let indexes = record.jobs.keys().filter(|id| id.array_and_index().is_some());
    tally.insert("indexes of arrays", indexes.count());
    tally.insert(
        "epochs",
        record.jobs.values().map(|status| status.epoch.0 as usize).sum(),
    );
    tally
}

/// What became of outputs in stores.
fn count_stores(outcome: &Outcome, record: &Record, tally: &mut BTreeMap<&'static str, usize>) {
    for (_, fact) in &outcome.history.facts {
        let (name, count) = match fact {
            Fact::Swept { manifests, .. } => ("outputs swept", manifests.len()),
            Fact::StoreHurt { manifests, .. } => ("outputs hurt", manifests.len()),
            Fact::DamageFound(_) => ("damage found", 1),
            Fact::NotStored { .. } => ("outputs not stored", 1),
            Fact::Committed(Change::PutBuild(build)) if build.released_at.is_some() => ("builds given up", 1),
            _ => continue,
        };
        *tally.entry(name).or_default() += count;
    }
    let taken_over = record.jobs.values().filter(|status| status.is_taken_over());
    let with_output = taken_over.filter(|status| status.kept_output().is_some());
    tally.insert("outputs taken over", with_output.count());
}
