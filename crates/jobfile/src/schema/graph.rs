//! Puts the faults of the graph where they are in the file.

use std::collections::HashMap;

use tombolo_core::build::graph::{self, Fault};
use tombolo_core::build::hook::Hook;
use tombolo_core::build::{JobKind, JobSpec};
use tombolo_core::name::JobName;

use super::Jobs;
use crate::fault::{Collector, Complaint, Position, nearest};

/// How many names are looked at for the one that was meant: the hint is not worth more time.
const MAX_CANDIDATES: usize = 1000;

pub(super) fn check(jobs: &Jobs, faults: &mut Collector) {
    check_companions(jobs, faults);
    check_stages(jobs, faults);
    let Err(found) = graph::check(&jobs.specs) else { return };
    for fault in found {
        let (path, at) = locate(jobs, &fault);
        let complaint = if faults.has_room() {
            explain(jobs, &fault)
        } else {
            Complaint::new("")
        };
        faults.add(path, at, complaint);
    }
}

/// A job can run where another one did if that one runs at all, and has ended before.
fn check_companions(jobs: &Jobs, faults: &mut Collector) {
    let named = |spec: &JobSpec| spec.extensions.as_ref().and_then(|says| says.same_as.clone());
    if !jobs.specs.iter().any(|spec| named(spec).is_some()) {
        return;
    }
    let specs: HashMap<&JobName, &JobSpec> = jobs.specs.iter().map(|spec| (&spec.name, spec)).collect();
    for (spec, place) in jobs.specs.iter().zip(&jobs.places) {
        let Some((name, at)) = named(spec).zip(place.same_as) else {
            continue;
        };
        let is_parent = spec.dependencies.iter().any(|dependency| dependency.job == name);
        let other = specs.get(&name);
        let complaint = match other.map(|other| other.kind) {
            _ if other.is_some_and(|other| other.array().is_some()) => Complaint::new(format!(
                "`{name}` is an array, whose indexes run wherever there is room"
            ))
            .hint("name a job that runs once"),
            _ if !is_parent => Complaint::new(format!(
                "the job does not follow `{name}`, so that it is not known where that runs"
            ))
            .hint(format!("add `{name}` to `depends_on`")),
            Some(JobKind::Wait | JobKind::Workflow) => {
                Complaint::new(format!("`{name}` runs on no cluster itself")).hint("name a job that runs a command")
            }
            _ => continue,
        };
        faults.add(format_args!("{}.cluster.same_as", place.path()), at, complaint);
    }
}

/// What runs first cannot follow what runs when that is over.
fn check_stages(jobs: &Jobs, faults: &mut Collector) {
    if !jobs.specs.iter().any(|spec| spec.hook().is_some()) {
        return;
    }
    let hooks: HashMap<&JobName, Option<Hook>> = jobs.specs.iter().map(|spec| (&spec.name, spec.hook())).collect();
    for (spec, place) in jobs.specs.iter().zip(&jobs.places) {
        for (dependency, (item, at)) in spec.dependencies.iter().zip(&place.dependencies) {
            let Some(Some(later)) = hooks.get(&dependency.job).filter(|hook| **hook > spec.hook()) else {
                continue;
            };
            let message = format!(
                "`{}` runs when this job is over: it is in `{}`",
                dependency.job,
                later.as_str()
            );
            let complaint = Complaint::new(message).hint("take the dependency out");
            faults.add(format_args!("{}.depends_on[{item}]", place.path()), *at, complaint);
        }
    }
}

fn locate(jobs: &Jobs, fault: &Fault) -> (String, Position) {
    let place = |job: u32| &jobs.places[job as usize];
    let edge = |job: u32, dependency: usize| {
        let place = place(job);
        let (item, at) = place.dependencies[dependency];
        (format!("{}.depends_on[{item}]", place.path()), at)
    };
    match fault {
        Fault::TooManyJobs { .. } | Fault::TooManyDependencies { .. } => ("jobs".to_owned(), Position::START),
        Fault::DuplicateName { job, .. } | Fault::WithinArray { job, .. } | Fault::NoArray { job, .. } => {
            (format!("{}.name", place(*job).path()), place(*job).name)
        }
        Fault::MissingParent { job, dependency, .. }
        | Fault::SelfDependency { job, dependency, .. }
        | Fault::DuplicateDependency { job, dependency, .. }
        | Fault::OtherIndexes { job, dependency, .. }
        | Fault::TooManyInputs { job, dependency, .. }
        | Fault::AmbiguousInput { job, dependency, .. } => edge(*job, *dependency),
        Fault::Cycle { jobs: cycle, .. } => {
            // The edge that leads from the first job of the cycle to the second.
            let (first, second) = (cycle[0], cycle[1 % cycle.len()]);
            let parent = &jobs.specs[second as usize].name;
            let dependencies = &jobs.specs[first as usize].dependencies;
            edge(
                first,
                dependencies
                    .iter()
                    .position(|dependency| dependency.job == *parent)
                    .unwrap_or(0),
            )
        }
    }
}

fn explain(jobs: &Jobs, fault: &Fault) -> Complaint {
    let complaint = Complaint::new(fault.to_string());
    match fault {
        Fault::DuplicateName { first, .. } => {
            let place = &jobs.places[*first as usize];
            complaint.hint(format!(
                "the other one is {} on line {}",
                place.path(),
                place.name.line
            ))
        }
        Fault::MissingParent { name, .. } => {
            let names = jobs.specs.iter().take(MAX_CANDIDATES).map(|spec| spec.name.as_str());
            match nearest(name.as_str(), names) {
                Some(name) => complaint.hint(format!("did you mean `{name}`?")),
                None => complaint,
            }
        }
        Fault::DuplicateDependency { .. } => complaint.hint("give it once, with all states in `on`"),
        Fault::Cycle { .. } => complaint.hint("take one of these dependencies out"),
        Fault::AmbiguousInput { .. } => {
            complaint.hint("give one of them another folder (`inputs: {PARENT: {as: other}}`), leave it out (`inputs: {PARENT: false}`), or rename it")
        }
        Fault::WithinArray { .. } => complaint.hint("rename one of the two"),
        Fault::OtherIndexes { name, .. } => complaint.hint(format!(
            "give both the same `count`, or take the outputs of all (leave `index` out), or none (`inputs: {{{name}: false}}`)"
        )),
        Fault::TooManyInputs { name, .. } => complaint.hint(format!(
            "take none of them (`inputs: {{{name}: false}}`), or that of the same index (`inputs: {{{name}: {{index: same}}}}`), or put \
             jobs between that gather some each"
        )),
        Fault::NoArray { .. } | Fault::SelfDependency { .. } | Fault::TooManyJobs { .. } | Fault::TooManyDependencies { .. } => complaint,
    }
}
