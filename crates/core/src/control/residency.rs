//! The clusters that a project's jobs may run on at all, which its jobs cannot widen.
//!
//! It becomes a part of each job's own selector when the job comes to a build, so that filter, explanation, retries and recovery need to
//! know nothing of it. Outputs go where jobs run, and nowhere else.

use super::Control;
use crate::build::{JobKind, JobSpec};
use crate::id::ProjectId;

impl Control {
    /// Has jobs keep to the clusters of their project.
    pub(super) fn confine<'a>(&self, project: ProjectId, jobs: impl IntoIterator<Item = &'a mut JobSpec>) {
        let Some(project) = self
            .projects
            .get(project)
            .filter(|project| !project.share.clusters.is_empty())
        else {
            return;
        };
        for job in jobs.into_iter().filter(|job| job.kind == JobKind::Run) {
            job.selector.require(&project.share.clusters);
        }
    }
}
