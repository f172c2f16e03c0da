//! Outputs of the build that are not kept any more: what is run again may need them.

use std::collections::BTreeSet;

use super::Indexes;
use crate::build::extensions::takes_input;
use crate::control::record::{JobNode, JobStatus};

/// Says why the output of a job, or of the index of an array with this status, is not kept any more; none if it is, or if there is none.
pub type Gone<'a> = dyn Fn(&JobNode, &JobStatus) -> Option<String> + 'a;

/// Adds to the jobs that run those whose outputs they need and that are gone, and what these need in turn. Returns those that were added. Not
/// those that have made jobs, which would all go with them: a recovery attempt makes such an output again.
pub(super) fn with_makers(
    runs: &mut BTreeSet<u32>,
    jobs: &[(JobNode, JobStatus)],
    indexes: &Indexes,
    gone: &Gone<'_>,
) -> BTreeSet<u32> {
    let is_gone = |node: &JobNode, status: &JobStatus| {
        let of_indexes = indexes.all_of(node);
        let mut all = std::iter::once(status).chain(&of_indexes);
        all.any(|status| gone(node, status).is_some())
    };
    let makers = makers(jobs);
    let mut added = BTreeSet::new();
    let mut open: Vec<u32> = runs.iter().copied().collect();
    while let Some((node, _)) = open.pop().and_then(|index| jobs.get(index as usize)) {
        for (parent, _) in &node.parents {
            let Some((parent, status)) = jobs.get(*parent as usize) else {
                continue;
            };
            let index = parent.index;
            let is_needed = takes_input(node.extensions.as_deref(), &parent.name);
            let can_run = !runs.contains(&index) && !makers.contains(&index);
            if is_needed && can_run && is_gone(parent, status) {
                runs.insert(index);
                added.insert(index);
                open.push(index);
            }
        }
    }
    added
}

/// The jobs that have made others.
pub(super) fn makers(jobs: &[(JobNode, JobStatus)]) -> BTreeSet<u32> {
    jobs.iter().filter_map(|(node, _)| node.generated_by).collect()
}

/// Whether one of the jobs that run takes what this one leaves.
pub(super) fn is_taken(parent: &JobNode, runs: &BTreeSet<u32>, jobs: &[(JobNode, JobStatus)]) -> bool {
    let takes = |node: &JobNode| {
        let follows = node.parents.iter().any(|(index, _)| *index == parent.index);
        follows && takes_input(node.extensions.as_deref(), &parent.name)
    };
    let running = runs.iter().filter_map(|index| jobs.get(*index as usize));
    running.map(|(node, _)| node).any(takes)
}

/// How a job ended that is taken over: an output that is gone is none that could be asked for.
pub(super) fn as_kept(node: &JobNode, mut status: JobStatus, gone: &Gone<'_>) -> JobStatus {
    if let Some(reason) = gone(node, &status).filter(|_| status.output_lost().is_none()) {
        status.note_loss(reason);
    }
    status
}
