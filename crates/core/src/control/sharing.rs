//! The jobs of a build that use its shared volume: they all run on one cluster, which has to suit each of them.

use std::collections::HashSet;

use super::builds::LiveJob;
use super::record::JobNode;
use crate::label::{Requirement, Selector};
use crate::name::{ClusterName, JobName};
use crate::placement::{Sharers, words};
use crate::resources::Resources;
use crate::volume::{VolumeKind, VolumeSet};

/// How many jobs are named where it is said what others need.
const MAX_NAMES: usize = 3;

/// What the jobs of a build that use its shared volume ask of a cluster together.
#[derive(Debug)]
pub(super) struct Sharing {
    pub(super) selector: Selector,
    /// Who requires what, in the order of the selector: the first job that does.
    required_by: Vec<JobName>,
    /// The most that one of them needs.
    pub(super) largest: Resources,
    most_cpu: JobName,
    most_memory: JobName,
    pub(super) volumes: VolumeSet,
    /// The cluster that has the volume: where one of the jobs that use it is, or was. Kept, since a build may have thousands of jobs.
    pub(super) on: Option<ClusterName>,
    /// That cluster was removed: one that has its name now does not have the volume.
    pub(super) is_lost: bool,
}

impl Sharing {
    /// None if no job uses it.
    pub(super) fn of<'a>(nodes: impl Iterator<Item = &'a JobNode>) -> Option<Box<Self>> {
        let mut nodes = nodes
            .filter(|node| node.volumes.contains(VolumeKind::Shared))
            .peekable();
        let first = &nodes.peek()?.name;
        let (mut most_cpu, mut most_memory) = (first, first);
        let mut largest = Resources::default();
        let mut volumes = VolumeSet::default();
        let (mut known, mut requirements, mut required_by) = (HashSet::new(), Vec::new(), Vec::new());
        for node in nodes {
            if node.resources.cpu_milli > largest.cpu_milli {
                most_cpu = &node.name;
            }
            if node.resources.memory_bytes > largest.memory_bytes {
                most_memory = &node.name;
            }
            largest = largest.max(&node.resources);
            volumes = volumes.union(node.volumes);
            for requirement in node.selector.requirements.iter().filter(|it| known.insert(*it)) {
                requirements.push(requirement.clone());
                required_by.push(node.name.clone());
            }
        }
        Some(Box::new(Self {
            selector: requirements.into_iter().collect(),
            required_by,
            largest,
            most_cpu: most_cpu.clone(),
            most_memory: most_memory.clone(),
            volumes,
            on: None,
            is_lost: false,
        }))
    }

    /// Who asks for what, as one of them is told.
    pub(super) fn sharers<'a>(&'a self, job: &'a LiveJob) -> Sharers<'a> {
        Sharers {
            own: &job.node.selector,
            required_by: &self.required_by,
            most_cpu: &self.most_cpu,
            most_memory: &self.most_memory,
        }
    }

    /// What no cluster can meet together, and who requires it; none if some cluster could.
    pub(super) fn contradiction(&self) -> Option<String> {
        let found = self.selector.contradiction()?;
        let requirer = |requirement: &Requirement| {
            let mut all = self.selector.requirements.iter().zip(&self.required_by);
            all.find(|(other, _)| *other == requirement).map(|(_, job)| job)
        };
        let clause = |requirement: &&Requirement| match requirer(requirement).filter(|_| !requirement.by_project) {
            Some(job) => format!("`{job}` needs `{requirement}`"),
            None => format!("the project requires `{requirement}`"),
        };
        Some(found.iter().map(clause).collect::<Vec<_>>().join(", "))
    }
}

/// What other jobs of the build asked of the cluster of this one because they share its volume, in words; none if it shares none, and
/// empty if they asked for nothing that it did not ask for itself.
pub fn asked_by_sharers<'a>(node: &JobNode, nodes: impl Iterator<Item = &'a JobNode>) -> Option<String> {
    if !node.volumes.contains(VolumeKind::Shared) {
        return None;
    }
    let others: Vec<&JobNode> = nodes
        .filter(|other| other.volumes.contains(VolumeKind::Shared) && other.index != node.index)
        .collect();
    if others.is_empty() {
        return None;
    }
    let own = &node.selector.requirements;
    let mut known: HashSet<&Requirement> = own.iter().collect();
    let mut asked = Vec::new();
    for other in &others {
        let requirements = other.selector.requirements.iter();
        let new = requirements.filter(|requirement| !requirement.by_project && known.insert(*requirement));
        let new: Vec<String> = new.map(|requirement| format!("`{requirement}`")).collect();
        if !new.is_empty() {
            asked.push(format!("`{}` needed {}", other.name, new.join(", ")));
        }
    }
    let cpu = others.iter().max_by_key(|other| other.resources.cpu_milli);
    let memory = others.iter().max_by_key(|other| other.resources.memory_bytes);
    if let Some(other) = cpu.filter(|other| other.resources.cpu_milli > node.resources.cpu_milli) {
        let cpu = words::cpu(other.resources.cpu_milli);
        asked.push(format!("`{}` needed {cpu} cpu", other.name));
    }
    if let Some(other) = memory.filter(|other| other.resources.memory_bytes > node.resources.memory_bytes) {
        let memory = words::memory(other.resources.memory_bytes);
        asked.push(format!("`{}` needed {memory} memory", other.name));
    }
    let more = match asked.len().saturating_sub(MAX_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    asked.truncate(MAX_NAMES);
    Some(format!("{}{more}", asked.join(", ")))
}
