//! The graph of a build's jobs: checked once, then read by index.

mod arrays;
mod cycle;
mod fault;

use std::collections::{HashMap, VecDeque};

pub(crate) use arrays::takes_too_many;
pub use fault::Fault;

use super::extensions::input_folder;
use super::{JobKind, JobSpec, StateSet};
use crate::name::JobName;

/// The most jobs of one build. The control plane holds each in memory, at about 1 KiB.
pub const MAX_JOBS: usize = 100_000;

/// The most dependencies of all jobs of one build together. The control plane holds each in memory, in some 20 bytes.
pub const MAX_DEPENDENCIES: usize = 1_000_000;

/// The graph of a build without faults: names are unique, every parent exists, and there is no cycle. Jobs are named
/// by their index in the list that was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    parents: Vec<Vec<(u32, StateSet)>>,
    children: Vec<Vec<u32>>,
    order: Vec<u32>,
}

impl Graph {
    /// The parents of a job, in the order of its dependencies, and the states in which it follows them.
    ///
    /// # Panics
    /// If there is no such job.
    pub fn parents(&self, job: u32) -> &[(u32, StateSet)] {
        &self.parents[job as usize]
    }

    /// The jobs that depend on a job, each once, by index.
    ///
    /// # Panics
    /// If there is no such job.
    pub fn children(&self, job: u32) -> &[u32] {
        &self.children[job as usize]
    }

    /// All jobs, parents before children.
    pub fn order(&self) -> &[u32] {
        &self.order
    }
}

/// Checks the jobs of a build, and finds all faults at once: by job, then cycles. Takes time in proportion to jobs and
/// dependencies, whatever their shape.
///
/// A name that is given twice means its first job. Faulty dependencies are left out of the search for cycles.
pub fn check(jobs: &[JobSpec]) -> Result<Graph, Vec<Fault>> {
    if jobs.len() > MAX_JOBS {
        return Err(vec![Fault::TooManyJobs { count: jobs.len() }]);
    }
    let dependencies = jobs.iter().map(|job| job.dependencies.len()).sum();
    if dependencies > MAX_DEPENDENCIES {
        return Err(vec![Fault::TooManyDependencies { count: dependencies }]);
    }
    let mut faults = Vec::new();
    let indexes = index_names(jobs, &mut faults);
    let parents: Vec<_> = (0_u32..)
        .zip(jobs)
        .map(|(job, spec)| resolve(job, spec, &indexes, &mut faults))
        .collect();

    arrays::check(jobs, &indexes, &mut faults);
    let mut children = vec![Vec::new(); jobs.len()];
    for (job, edges) in (0_u32..).zip(&parents) {
        for (parent, _) in edges {
            children[*parent as usize].push(job);
        }
    }
    let order = topological_order(&parents, &children);
    if order.len() < jobs.len() {
        let name = |job: u32| jobs[job as usize].name.clone();
        faults.extend(cycle::find(&parents).into_iter().map(|cycle| Fault::Cycle {
            names: cycle.iter().map(|job| name(*job)).collect(),
            jobs: cycle,
        }));
    }
    if faults.is_empty() {
        Ok(Graph {
            parents,
            children,
            order,
        })
    } else {
        Err(faults)
    }
}

fn index_names<'a>(jobs: &'a [JobSpec], faults: &mut Vec<Fault>) -> HashMap<&'a JobName, u32> {
    let mut indexes = HashMap::with_capacity(jobs.len());
    for (job, spec) in (0_u32..).zip(jobs) {
        let first = *indexes.entry(&spec.name).or_insert(job);
        if first != job {
            faults.push(Fault::DuplicateName {
                job,
                first,
                name: spec.name.clone(),
            });
        }
    }
    indexes
}

/// The edges from one job to its parents; what is wrong with them goes to `faults`.
fn resolve(
    job: u32,
    spec: &JobSpec,
    indexes: &HashMap<&JobName, u32>,
    faults: &mut Vec<Fault>,
) -> Vec<(u32, StateSet)> {
    let mut edges = Vec::with_capacity(spec.dependencies.len());
    let mut seen = HashMap::with_capacity(spec.dependencies.len());
    let mut folders: HashMap<&str, &JobName> = HashMap::with_capacity(spec.dependencies.len());
    for (dependency, edge) in spec.dependencies.iter().enumerate() {
        let name = edge.job.clone();
        if edge.job == spec.name {
            faults.push(Fault::SelfDependency { job, dependency, name });
            continue;
        }
        if let Some(first) = seen.insert(&edge.job, dependency) {
            faults.push(Fault::DuplicateDependency {
                job,
                dependency,
                first,
                name,
            });
            continue;
        }
        let Some(parent) = indexes.get(&edge.job) else {
            faults.push(Fault::MissingParent { job, dependency, name });
            continue;
        };
        // Only what runs is given the outputs of its parents.
        let folder = input_folder(spec.extensions.as_deref(), &edge.job).filter(|_| spec.kind == JobKind::Run);
        if let Some(folder) = folder
            && let Some(other) = folders.insert(folder, &edge.job)
        {
            faults.push(Fault::AmbiguousInput {
                job,
                dependency,
                name,
                other: other.clone(),
                folder: folder.to_owned(),
            });
        }
        edges.push((*parent, edge.on));
    }
    edges
}

/// Parents before children; jobs on a cycle and all that come after them are left out.
fn topological_order(parents: &[Vec<(u32, StateSet)>], children: &[Vec<u32>]) -> Vec<u32> {
    let mut missing: Vec<usize> = parents.iter().map(Vec::len).collect();
    let mut ready: VecDeque<u32> = (0..)
        .zip(&missing)
        .filter(|(_, count)| **count == 0)
        .map(|(job, _)| job)
        .collect();
    let mut order = Vec::with_capacity(parents.len());
    while let Some(job) = ready.pop_front() {
        order.push(job);
        for child in &children[job as usize] {
            missing[*child as usize] -= 1;
            if missing[*child as usize] == 0 {
                ready.push_back(*child);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests;
