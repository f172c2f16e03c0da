//! That ends are final.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_core::build::{JobState, TerminalState};
use tombolo_core::control::Change;
use tombolo_core::control::record::{Course, JobNode, JobStatus};
use tombolo_core::id::{AttemptId, JobId};
use tombolo_core::name::ClusterName;

use super::Record;
use crate::history::Fact;
use crate::history::Outcome;

/// What the store says of a job that has ended never changes, but for its output, which may be lost and made again.
pub(super) fn terminal_is_final(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    for (at, fact) in &outcome.history.facts {
        if let Fact::Committed(Change::PutJob(status)) = fact
            && let Some(before) = record.jobs.get(&status.id)
            && before.ended().is_some()
            && shown(before) != shown(status)
        {
            return Err(format!("{at:?}: a terminal job changed from {before:?} to {status:?}"));
        }
        record.take(fact);
    }
    Ok(())
}

/// What users see of a job that has ended, wherever its output is.
fn shown(status: &JobStatus) -> JobStatus {
    let ended = status.as_ended().into_owned();
    let course = ended.course.map(|course| Course {
        copies: Vec::new(),
        place_lost: false,
        cluster_removed: false,
        ..*course
    });
    JobStatus {
        epoch: status.log_epoch(),
        cluster: None,
        output: None,
        replacements: 0,
        loss: None,
        course: course.filter(|course| *course != Course::default()).map(Box::new),
        ..ended
    }
}

/// A job whose cancellation was acknowledged ends as finished only if it had ended before.
pub(super) fn cancel_is_final(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    let mut cancelled: BTreeSet<JobId> = BTreeSet::new();
    for (at, fact) in &outcome.history.facts {
        match fact {
            Fact::CancelAcknowledged(jobs) => {
                cancelled.extend(jobs.iter().filter(|job| !record.is_terminal(**job)));
            }
            Fact::Committed(Change::PutJob(status))
                if cancelled.contains(&status.id) && status.state == JobState::Terminal(TerminalState::Finished) =>
            {
                return Err(format!("{at:?}: {} finished after it was cancelled", status.id));
            }
            _ => {}
        }
        record.take(fact);
    }
    Ok(())
}

/// A job is killed only if somebody asked for it.
pub(super) fn killed_by_somebody(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    let mut requested: BTreeSet<JobId> = BTreeSet::new();
    for (at, fact) in &outcome.history.facts {
        record.take(fact);
        match fact {
            Fact::CancelRequested(jobs) => requested.extend(jobs),
            // Who cancels a job, or all of a build, cancels what it makes meanwhile.
            Fact::Committed(Change::ExtendBuild { build, nodes, .. }) => {
                let jobs = record.builds.get(build);
                let maker = |index: Option<u32>| jobs?.get(index? as usize);
                let is_requested = |made: &JobNode| maker(made.generated_by).is_some_and(|job| requested.contains(job));
                let made: Vec<JobId> = nodes
                    .iter()
                    .filter(|node| is_requested(node))
                    .map(|node| node.id)
                    .collect();
                requested.extend(made);
            }
            // Somebody asked for that in the build which it is of.
            Fact::Committed(Change::PutJob(status)) if status.is_taken_over() => {
                requested.extend((status.ended() == Some(TerminalState::Killed)).then_some(status.id));
            }
            Fact::Committed(Change::PutJob(status))
                if status.state == JobState::Terminal(TerminalState::Killed)
                    && !is_asked_for(&requested, status.id) =>
            {
                return Err(format!("{at:?}: nobody cancelled {}, and it was killed", status.id));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether somebody asked for the end of a job: by itself, by its array, or, of an array, by one of its indexes.
fn is_asked_for(requested: &BTreeSet<JobId>, job: JobId) -> bool {
    let indexes = job.of_index(0)..=job.of_index(u32::MAX);
    let by_index = job.array_and_index().is_none() && requested.range(indexes).next().is_some();
    by_index || requested.contains(&job) || requested.contains(&job.specified_by())
}

/// An attempt that another one follows ended as is said of it, and was the job's latest until then. None is forgotten.
pub(super) fn tries_are_real(
    record: &Record,
    status: &JobStatus,
    ended: &BTreeMap<AttemptId, Vec<(&ClusterName, &tombolo_core::attempt::Outcome)>>,
) -> Result<(), String> {
    let before = record.jobs.get(&status.id);
    let known = before.map(JobStatus::tries).unwrap_or_default();
    let Some(new) = status.tries().strip_prefix(known) else {
        return Err("an attempt that another one follows was forgotten".to_owned());
    };
    for earlier in new {
        let attempt = AttemptId {
            job: status.id,
            epoch: earlier.epoch,
        };
        let is_that = |(cluster, end): &(&ClusterName, &tombolo_core::attempt::Outcome)| {
            let refused = earlier.state == TerminalState::Error && end.generated.is_some();
            let end = (
                end.state == earlier.state || refused,
                end.exit_code,
                Some(end.log_lines),
            );
            Some(*cluster) == earlier.cluster.as_ref() && end == (true, earlier.exit_code, earlier.log_lines)
        };
        let cancelled = before.is_some_and(|before| before.cancel_requested);
        let was_latest = before.is_some_and(|before| before.epoch == earlier.epoch) && !cancelled;
        if !was_latest || !ended.get(&attempt).into_iter().flatten().any(is_that) {
            return Err(format!("another attempt follows {attempt}, which did not end so"));
        }
    }
    Ok(())
}

/// An attempt that was replaced was the job's latest until then, on that cluster, and its log is as long as was said. None is forgotten.
pub(super) fn replaced_are_real(
    record: &Record,
    status: &JobStatus,
    ended: &BTreeMap<AttemptId, Vec<(&ClusterName, &tombolo_core::attempt::Outcome)>>,
) -> Result<(), String> {
    let before = record.jobs.get(&status.id);
    let known = before.map(JobStatus::replaced).unwrap_or_default();
    let Some(new) = status.replaced().strip_prefix(known) else {
        return Err("an attempt that was replaced was forgotten".to_owned());
    };
    for replaced in new {
        let attempt = AttemptId {
            job: status.id,
            epoch: replaced.epoch,
        };
        let was_latest = before.is_some_and(|before| {
            let cluster = before.cluster.as_ref();
            before.epoch == replaced.epoch && cluster == Some(&replaced.cluster) && before.ended().is_none()
        });
        let said = |lines: u64| {
            let mut ends = ended.get(&attempt).into_iter().flatten();
            ends.any(|(cluster, end)| **cluster == replaced.cluster && end.log_lines == lines)
        };
        if !was_latest || !replaced.log_lines.is_none_or(said) {
            return Err(format!("{attempt} was replaced, and was not there so"));
        }
    }
    Ok(())
}

/// An output that was made again is what an attempt left that ended as the job did.
pub(super) fn made_again(
    status: &JobStatus,
    ended: &BTreeMap<AttemptId, Vec<(&ClusterName, &tombolo_core::attempt::Outcome)>>,
) -> Result<(), String> {
    if status.output_lost().is_some() {
        return Ok(());
    }
    let attempt = |epoch| AttemptId { job: status.id, epoch };
    let left = ended.get(&attempt(status.epoch)).into_iter().flatten();
    let is_that = |(cluster, end): &(&ClusterName, &tombolo_core::attempt::Outcome)| {
        Some(*cluster) == status.cluster.as_ref() && Some(end.state) == status.ended() && end.output == status.output
    };
    match left.clone().any(is_that) {
        true => Ok(()),
        false => Err(format!("attempt {} did not leave the output", attempt(status.epoch))),
    }
}
