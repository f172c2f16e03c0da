//! The clusters that a project's jobs may run on at all, which its jobs cannot widen.
//!
//! It becomes a part of each job's own selector when the job comes to a build, so that filter, explanation, retries and recovery need to
//! know nothing of it. Outputs go where jobs run, and nowhere else.

use super::Control;
use crate::build::{JobKind, JobSpec};
use crate::id::ProjectId;

impl Control {
    /// Has jobs keep to the clusters of their project, as it is now: what it required of them in an earlier build does not count any more.
    pub(super) fn confine<'a>(&self, project: ProjectId, jobs: impl IntoIterator<Item = &'a mut JobSpec>) {
        let project = self.projects.get(project);
        let clusters = project.map(|project| project.share.clusters.by_project());
        for job in jobs.into_iter().filter(|job| job.kind == JobKind::Run) {
            if !job.confined_to.is_empty() {
                job.selector = job.selector.without(&std::mem::take(&mut job.confined_to));
            }
            // Also what the job says itself: to leave that out would not help it.
            if let Some(clusters) = clusters.as_ref().filter(|clusters| !clusters.is_empty()) {
                job.confined_to = clusters.clone();
                job.selector.require(clusters);
            }
        }
    }
}
