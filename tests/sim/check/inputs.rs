//! I4: a child starts only with all that its parents left.

use tombolo_core::attempt::Assignment;
use tombolo_core::digest::Digest;
use tombolo_core::id::JobId;

use super::Record;
use crate::history::Fact;
use crate::world::Outcome;

/// Every command starts with exactly the outputs that the store says its parents left; all parents are over, in a state
/// that the child asked for.
pub(crate) fn inputs_complete(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    for (at, fact) in &outcome.history.facts {
        if let Fact::CommandStarted {
            assignment, arrived, ..
        } = fact
        {
            check(&record, assignment, arrived).map_err(|what| format!("{at:?}: {}: {what}", assignment.attempt))?;
        }
        record.take(fact);
    }
    Ok(())
}

fn check(record: &Record, assignment: &Assignment, arrived: &[Digest]) -> Result<(), String> {
    let (node, spec) = match (
        record.nodes.get(&assignment.attempt.job),
        record.specs.get(&assignment.attempt.job),
    ) {
        (Some(node), Some(spec)) => (node, spec),
        _ => return Err("the store does not know the job".to_owned()),
    };
    if assignment.job != *spec {
        return Err("the assignment's specification is another one".to_owned());
    }
    let siblings = record
        .builds
        .get(&node.build)
        .ok_or("the store does not know the build")?;
    let mut wanted: Vec<JobId> = Vec::new();
    for dependency in &spec.dependencies {
        let parent = siblings
            .iter()
            .find(|id| record.nodes.get(id).is_some_and(|node| node.name == dependency.job));
        let status = parent
            .and_then(|id| record.jobs.get(id))
            .ok_or("a parent is not in the store")?;
        let state = status
            .ended()
            .ok_or_else(|| format!("its parent {} is not over", dependency.job))?;
        if !dependency.on.contains(state) {
            return Err(format!(
                "its parent {} is {state}, which it did not ask for",
                dependency.job
            ));
        }
        wanted.extend(status.output.map(|_| status.id));
        let told = assignment.parents.iter().find(|other| other.job == status.id);
        if told.is_none_or(|told| told.state != state) {
            return Err(format!(
                "it is told {told:?} of its parent {}, which is {state}",
                dependency.job
            ));
        }
    }
    let assigned: Vec<(JobId, Digest)> = assignment
        .inputs
        .iter()
        .map(|input| (input.job, input.output.manifest))
        .collect();
    // One that was made again has another digest.
    let is_its = |(job, manifest): &(JobId, Digest)| record.outputs.get(job).is_some_and(|all| all.contains(manifest));
    if !assigned.iter().map(|(job, _)| *job).eq(wanted.iter().copied()) || !assigned.iter().all(is_its) {
        return Err(format!(
            "assigned inputs {assigned:?}, its parents left some at {wanted:?}"
        ));
    }
    match assigned.iter().find(|(_, manifest)| !arrived.contains(manifest)) {
        None => Ok(()),
        Some((job, manifest)) => Err(format!("the output {} of {job} did not arrive", manifest.short())),
    }
}
