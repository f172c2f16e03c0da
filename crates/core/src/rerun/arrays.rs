//! Which indexes of arrays run again: those that went wrong, or the one that was named. The others are taken over.

use std::collections::{BTreeSet, HashMap};

use super::{FAILED, Scope};
use crate::control::record::{JobNode, JobStatus};
use crate::id::JobId;
use crate::name::JobName;

/// The indexes of a build's arrays that had begun, as they ended.
#[derive(Debug, Clone, Default)]
pub struct Indexes(HashMap<JobId, Vec<JobStatus>>);

impl Indexes {
    /// Adds those of one array.
    pub fn insert(&mut self, array: JobId, indexes: Vec<JobStatus>) {
        self.0.insert(array, indexes);
    }

    /// All of them, to note what became of them since.
    pub fn each(&mut self) -> impl Iterator<Item = &mut JobStatus> {
        self.0.values_mut().flatten()
    }

    /// Those of an array.
    pub(super) fn all_of(&self, array: &JobNode) -> Vec<JobStatus> {
        self.0.get(&array.id).cloned().unwrap_or_default()
    }

    /// Those of an array, with how that ended, which do not run again, although the array does. If one index is named, those stay as well that never began.
    pub(super) fn left_alone(&self, array: &JobNode, ended: &JobStatus, scope: &Scope) -> Vec<JobStatus> {
        let stays = |status: &JobStatus| match scope {
            Scope::All => false,
            Scope::Failed => status.ended().is_some_and(|state| !FAILED.contains(&state)),
            Scope::Job { name, .. } => {
                let own = status.id.array_and_index().map(|(_, index)| index);
                index_of(array, name).is_some_and(|index| own != Some(index))
            }
        };
        let mut indexes = self.all_of(array);
        if matches!(scope, Scope::Job { name, .. } if index_of(array, name).is_some()) {
            let begun: BTreeSet<JobId> = indexes.iter().map(|status| status.id).collect();
            let count = array.array().map_or(0, |array| array.count);
            let all = (0..count).map(|index| array.id.of_index(index));
            let unbegun = all.filter(|id| !begun.contains(id));
            indexes.extend(unbegun.map(|id| ended.of_unbegun(id)));
        }
        indexes.retain(stays);
        indexes
    }
}

/// The array that has the index which the name says.
pub(super) fn with_index<'a>(jobs: &'a [(JobNode, JobStatus)], name: &JobName) -> Option<&'a (JobNode, JobStatus)> {
    jobs.iter().find(|(node, _)| index_of(node, name).is_some())
}

/// The index of this array that the name says.
fn index_of(array: &JobNode, name: &JobName) -> Option<u32> {
    let (outer, index) = name.array_and_index()?;
    let count = array.array()?.count;
    (outer == array.name.as_str() && index < count).then_some(index)
}
