//! Which demands only one cluster suits.

use std::collections::HashMap;

use super::class::ClassKey;
use crate::control::clusters::{ClusterIndex, Clusters};
use crate::placement::Demand;

/// How many answers are kept: each one asks all clusters once.
const MAX_KEPT: usize = 1024;

/// The answers, for as long as no cluster changes.
#[derive(Debug, Default)]
pub(super) struct Sole(HashMap<ClassKey, Option<ClusterIndex>>);

impl Sole {
    pub(super) fn of(&mut self, clusters: &Clusters, demand: &Demand<'_>) -> Option<ClusterIndex> {
        let key = ClassKey::of(demand);
        if let Some(known) = self.0.get(&key) {
            return *known;
        }
        if self.0.len() >= MAX_KEPT {
            self.0.clear();
        }
        let mut suited = clusters.iter().filter(|(_, member)| member.candidate().suits(demand));
        let sole = suited.next().filter(|_| suited.next().is_none());
        *self.0.entry(key).or_insert(sole.map(|(index, _)| index))
    }

    /// A cluster is new, has changed or is gone.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}
