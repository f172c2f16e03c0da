//! Whether there is any cluster that can do what jobs ask for.

use super::{Control, Refusal};
use crate::build::JobSpec;
use crate::capability::{Capability, CapabilitySet};
use crate::placement::Availability;

/// How many jobs a refusal names for each thing that they ask for.
const MAX_NAMES: usize = 3;

impl Control {
    /// Refuses jobs that ask for what no cluster here has: they would wait for ever. A refusal is final, so that nothing is refused while there is a
    /// cluster that has not said to this master what it has: after a takeover, agents take a moment to connect.
    pub(super) fn check_needs<'a>(&self, jobs: impl Iterator<Item = &'a JobSpec> + Clone) -> Result<(), Refusal> {
        let needs = jobs
            .clone()
            .fold(CapabilitySet::EMPTY, |needs, job| needs.union(job.needs));
        if needs.is_empty() {
            return Ok(());
        }
        let mut offered = CapabilitySet::EMPTY;
        for (_, member) in self.clusters.iter() {
            match &member.agent {
                Some(agent) => offered = offered.union(agent.capabilities.iter().copied().collect()),
                None if member.record.availability == Availability::Disabled => {}
                None => return Ok(()),
            }
        }
        let missing = needs.without(offered);
        if missing.is_empty() {
            return Ok(());
        }
        let clauses: Vec<String> = missing
            .iter()
            .map(|capability| clause(jobs.clone(), capability))
            .collect();
        Err(Refusal::Unsupported(format!(
            "no cluster here has what the build needs: {}",
            clauses.join("; ")
        )))
    }
}

/// `docker` (for job `a`)
fn clause<'a>(jobs: impl Iterator<Item = &'a JobSpec>, capability: Capability) -> String {
    let of: Vec<&JobSpec> = jobs.filter(|job| job.needs.contains(capability)).collect();
    let shown = of.iter().take(MAX_NAMES).map(|job| format!("`{}`", job.name));
    let names = shown.collect::<Vec<_>>().join(", ");
    let more = match of.len().saturating_sub(MAX_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let noun = if of.len() == 1 { "job" } else { "jobs" };
    format!("`{capability}` (for {noun} {names}{more})")
}
