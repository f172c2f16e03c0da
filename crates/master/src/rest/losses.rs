//! Outputs that went with the clusters that had them. Nothing is written of builds that are over when a cluster is removed: it is found out when somebody
//! asks.

use std::collections::BTreeSet;

use tombolo_api::Job;
use tombolo_core::control::record::{Build, JobStatus};
use tombolo_core::name::ClusterName;

use super::{Application, Error};

/// Says of those among the jobs of the build, each with where it stands, whose output no cluster has any more, that it is lost.
pub(super) async fn note_losses(
    state: &Application,
    build: &Build,
    jobs: &mut [Job],
    statuses: impl Iterator<Item = &JobStatus>,
) -> Result<(), Error> {
    let has_output = |job: &Job| job.output.is_some() && job.output_lost.is_none() && job.output_removed_at.is_none();
    let mut shown: Vec<(&mut Job, &JobStatus)> = jobs.iter_mut().zip(statuses).collect();
    shown.retain(|(job, _)| has_output(job));
    let makers: BTreeSet<ClusterName> = shown.iter().filter_map(|(_, status)| status.cluster.clone()).collect();
    if makers.is_empty() {
        return Ok(());
    }
    let left_at = shown.iter().filter_map(|(_, status)| status.left_at(build)).min();
    let removed = state.handle.query(move |control| {
        let mut makers = makers;
        makers.retain(|name| {
            let found = control.cluster(name);
            // One that has joined since then has the name of another.
            found.is_none_or(|found| left_at.is_some_and(|at| found.record.joined_at > at))
        });
        makers
    });
    let removed = removed.await?;
    shown.retain(|(_, status)| {
        status.has_lost_its_cluster() || status.cluster.as_ref().is_some_and(|name| removed.contains(name))
    });
    if shown.is_empty() {
        return Ok(());
    }
    let asked: Vec<JobStatus> = shown.iter().map(|(_, status)| (*status).clone()).collect();
    let build = build.clone();
    let losses = state.handle.query(move |control| {
        asked
            .iter()
            .map(|status| control.output_gone(&build, status))
            .collect::<Vec<_>>()
    });
    for ((job, _), loss) in shown.into_iter().zip(losses.await?) {
        job.output_lost = loss;
    }
    Ok(())
}
