//! Who asks for what among jobs that share a volume: they all run on one cluster, which has to suit each of them.

use super::{Demand, Resource};
use crate::label::{Requirement, Selector};
use crate::name::JobName;

/// The jobs of a build that share its volume, the job itself among them.
#[derive(Debug, Clone, Copy)]
pub struct Sharers<'a> {
    /// What the job requires itself.
    pub own: &'a Selector,
    /// Who requires what the demand's selector has, in its order: the first job that does.
    pub required_by: &'a [JobName],
    /// Who needs the most processors.
    pub most_cpu: &'a JobName,
    /// Who needs the most memory.
    pub most_memory: &'a JobName,
}

impl<'a> Demand<'a> {
    /// The other job that requires this; none if it is the job itself that does, or its project.
    pub(super) fn required_by(&self, requirement: &Requirement) -> Option<&'a JobName> {
        let sharers = self
            .sharers
            .filter(|sharers| !requirement.by_project && !sharers.own.requirements.contains(requirement))?;
        let mut all = self.selector.requirements.iter().zip(sharers.required_by);
        all.find(|(other, _)| *other == requirement).map(|(_, job)| job)
    }

    /// The other job because of which a cluster has to have so much as [`Demand::largest`] says; none if the job itself needs that.
    pub(super) fn needed_by(&self, resource: Resource) -> Option<&'a JobName> {
        let (sharers, own, largest) = (self.sharers?, self.resources, self.largest());
        match resource {
            Resource::Cpu => (own.cpu_milli < largest.cpu_milli).then_some(sharers.most_cpu),
            Resource::Memory => (own.memory_bytes < largest.memory_bytes).then_some(sharers.most_memory),
            Resource::Slots => None,
        }
    }
}
