//! Whether there is any cluster that can do what jobs ask for.

use super::{Control, Refusal};
use crate::build::JobSpec;
use crate::capability::{Capability, CapabilitySet};

/// How many jobs a refusal names for each thing that they ask for.
const MAX_NAMES: usize = 3;

impl Control {
    /// Refuses jobs that ask for what no cluster here has: they would wait for ever.
    pub(super) fn check_needs(&self, jobs: &[JobSpec]) -> Result<(), Refusal> {
        let needs = jobs
            .iter()
            .fold(CapabilitySet::EMPTY, |needs, job| needs.union(job.needs));
        if needs.is_empty() {
            return Ok(());
        }
        let offered = self.clusters.iter().filter_map(|(_, member)| member.agent.as_ref());
        let offered = offered.flat_map(|agent| agent.capabilities.iter().copied()).collect();
        let missing = needs.without(offered);
        if missing.is_empty() {
            return Ok(());
        }
        let clauses: Vec<String> = missing.iter().map(|capability| clause(jobs, capability)).collect();
        Err(Refusal::Unsupported(format!(
            "no cluster here has what the build needs: {}",
            clauses.join("; ")
        )))
    }
}

/// `docker` (for job `a`)
fn clause(jobs: &[JobSpec], capability: Capability) -> String {
    let of: Vec<&JobSpec> = jobs.iter().filter(|job| job.needs.contains(capability)).collect();
    let shown = of.iter().take(MAX_NAMES).map(|job| format!("`{}`", job.name));
    let names = shown.collect::<Vec<_>>().join(", ");
    let more = match of.len().saturating_sub(MAX_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let noun = if of.len() == 1 { "job" } else { "jobs" };
    format!("`{capability}` (for {noun} {names}{more})")
}
