//! I4: a child starts only with all that its parents left.

use tombolo_core::attempt::Assignment;
use tombolo_core::build::JobSpec;
use tombolo_core::digest::Digest;
use tombolo_core::id::JobId;
use tombolo_core::name::JobName;
use tombolo_proto::agent::v1 as wire;

use super::Record;
use crate::history::Fact;
use crate::history::Outcome;

/// Every command starts with exactly the outputs that the store says its parents left; all parents are over, in a state
/// that the child asked for.
pub(super) fn inputs_complete(outcome: &Outcome) -> Result<(), String> {
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

/// The name of the job at this place of a build.
fn name_of<'a>(record: &'a Record, siblings: &[JobId], index: u32) -> Option<&'a JobName> {
    let node = record.nodes.get(siblings.get(index as usize)?)?;
    Some(&node.name)
}

/// What an agent is told of a job.
fn as_sent(spec: &JobSpec) -> Option<JobSpec> {
    JobSpec::try_from(wire::JobSpec::from(spec.clone())).ok()
}

fn check(record: &Record, assignment: &Assignment, arrived: &[Digest]) -> Result<(), String> {
    let (node, spec) = match (
        record.nodes.get(&assignment.attempt.job),
        record.specs.get(&assignment.attempt.job),
    ) {
        (Some(node), Some(spec)) => (node, spec),
        _ => return Err("the store does not know the job".to_owned()),
    };
    if assignment.job != *spec && Some(&assignment.job) != as_sent(spec).as_ref() {
        return Err("the assignment's specification is another one".to_owned());
    }
    let siblings = record
        .builds
        .get(&node.build)
        .ok_or("the store does not know the build")?;
    let mut wanted: Vec<JobId> = Vec::new();
    for dependency in &spec.dependencies {
        let named = |parent: &u32| name_of(record, siblings, *parent) == Some(&dependency.job);
        if !node.parents.iter().any(|(parent, _)| named(parent)) {
            return Err(format!("it does not follow {}, which it named", dependency.job));
        }
    }
    for (index, on) in &node.parents {
        let name = name_of(record, siblings, *index).ok_or("a parent is not in the store")?;
        let status = siblings.get(*index as usize).and_then(|id| record.jobs.get(id));
        let status = status.ok_or("a parent is not in the store")?;
        let state = status.ended().ok_or_else(|| format!("its parent {name} is not over"))?;
        if !on.contains(state) {
            return Err(format!("its parent {name} is {state}, which it did not ask for"));
        }
        let left = record.leaving(status.id).filter(|status| status.output.is_some());
        wanted.extend(left.map(|status| status.id));
        let told = assignment.parents.iter().find(|other| other.job == status.id);
        if told.is_none_or(|told| told.state != state) {
            return Err(format!("it is told {told:?} of its parent {name}, which is {state}"));
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
