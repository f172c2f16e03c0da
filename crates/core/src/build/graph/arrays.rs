//! What can be wrong with arrays: their names, and what others take of them.

use std::collections::HashMap;

use super::Fault;
use crate::build::array::{MAX_COUNT, MAX_INPUTS, MAX_INPUTS_OF_ALL};
use crate::build::{JobKind, JobSpec};
use crate::name::JobName;

pub(super) fn check(jobs: &[JobSpec], indexes: &HashMap<&JobName, u32>, faults: &mut Vec<Fault>) {
    if !jobs.iter().any(|spec| spec.array().is_some() || takes_own_index(spec)) {
        return;
    }
    let find = |name: &JobName| indexes.get(name).and_then(|index| jobs.get(*index as usize));
    for (job, spec) in (0_u32..).zip(jobs) {
        check_name(job, spec, &find, faults);
        check_array(job, spec, faults);
        check_inputs(job, spec, &find, faults);
    }
}

fn takes_own_index(spec: &JobSpec) -> bool {
    let rules = spec.extensions.as_ref().map(|says| says.inputs.as_slice());
    rules.unwrap_or_default().iter().any(|rule| rule.same_index)
}

/// The names within that of an array are those of its indexes.
fn check_name<'a>(job: u32, spec: &JobSpec, find: &impl Fn(&JobName) -> Option<&'a JobSpec>, faults: &mut Vec<Fault>) {
    let name = spec.name.as_str();
    let outer = name
        .match_indices('/')
        .filter_map(|(end, _)| JobName::new(&name[..end]).ok());
    for array in outer {
        if find(&array).is_some_and(|outer| outer.array().is_some()) {
            let name = spec.name.clone();
            faults.push(Fault::WithinArray { job, name, array });
        }
    }
}

fn check_array(job: u32, spec: &JobSpec, faults: &mut Vec<Fault>) {
    let Some(array) = spec.array() else { return };
    let counts = (1..=MAX_COUNT).contains(&array.count) && array.parallel != Some(0);
    if !counts || spec.kind != JobKind::Run || spec.name.of_index(array.count).is_err() {
        let name = spec.name.clone();
        faults.push(Fault::NoArray { job, name });
    }
}

/// Whether a job, or each of so many indexes, cannot take the outputs of so many indexes.
pub(crate) fn takes_too_many(taken: u64, own: Option<u32>) -> bool {
    taken > MAX_INPUTS || taken.saturating_mul(own.map_or(1, u64::from)) > MAX_INPUTS_OF_ALL
}

/// An index that takes the output of the same index needs one; and no job takes more outputs than fit into one message.
fn check_inputs<'a>(
    job: u32,
    spec: &JobSpec,
    find: &impl Fn(&JobName) -> Option<&'a JobSpec>,
    faults: &mut Vec<Fault>,
) {
    let own = spec.array().map(|array| array.count);
    let mut taken: u64 = 0;
    for (dependency, edge) in spec.dependencies.iter().enumerate() {
        let Some(parent) = find(&edge.job) else { continue };
        let rule = spec.extensions.as_ref().and_then(|says| says.input(&edge.job));
        let theirs = parent.array().map(|array| array.count);
        if rule.is_some_and(|rule| rule.same_index) {
            if own.is_none() || own != theirs {
                faults.push(Fault::OtherIndexes {
                    job,
                    dependency,
                    name: edge.job.clone(),
                    own,
                    theirs,
                });
            }
        } else if rule.is_none_or(|rule| rule.wanted) {
            taken += theirs.map_or(0, u64::from);
            if takes_too_many(taken, own) {
                faults.push(Fault::TooManyInputs {
                    job,
                    dependency,
                    name: edge.job.clone(),
                    count: taken,
                    own,
                });
                return;
            }
        }
    }
}
