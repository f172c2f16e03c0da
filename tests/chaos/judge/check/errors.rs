//! That jobs end as `error` seldom, and for reasons that trouble gives.

use super::run::Run;
use super::{Promise, Verdict};
use crate::judge::history::FinalJob;
use crate::judge::plan::{Event, Kind, kinds};

/// So many may be, however short the run is.
const FEW: usize = 6;
/// One job of so many.
const ONE_OF: usize = 10;

/// What an error says that trouble of these kinds explains.
struct Reason {
    says: &'static [&'static str],
    explained_by: &'static [Kind],
}

/// What keeps agents and masters from each other, so that outputs cannot be had for a while.
pub(super) const SILENCES: [Kind; 16] = [
    Kind::AgentKilled,
    Kind::AgentPaused,
    Kind::AgentTold,
    Kind::LinkSilent,
    Kind::LinkReset,
    Kind::LinkHalfOpen,
    Kind::LinkCut,
    Kind::LinkSlow,
    Kind::LeaderKilled,
    Kind::LeaderPaused,
    Kind::LeaderTold,
    Kind::DatabaseCut,
    Kind::DatabaseKilled,
    Kind::ClockSkewed,
    Kind::AgentPodDeleted,
    Kind::NodeRestarted,
];

const REASONS: [Reason; 9] = [
    Reason {
        says: &["the store at ", " (tried for "],
        explained_by: &[Kind::StoreKilled, Kind::StoreRefuses, Kind::StoreCut, Kind::DiskFull],
    },
    Reason {
        says: &["the store at ", "o space left on device"],
        explained_by: &[Kind::DiskFull],
    },
    Reason {
        says: &["cannot get the output of `"],
        explained_by: &Kind::ALL,
    },
    Reason {
        says: &[" is lost: cluster `", "`, which had it, was not heard of for "],
        explained_by: &SILENCES,
    },
    Reason {
        says: &["the job's pod was removed from the node `", "` by somebody else"],
        explained_by: &[Kind::JobPodDeleted],
    },
    Reason {
        says: &["the pod was asked to end from outside"],
        explained_by: &[Kind::JobPodDeleted],
    },
    Reason {
        says: &["the supervisor of the command died"],
        explained_by: &[Kind::SupervisorKilled, Kind::NodeRestarted],
    },
    Reason {
        says: &["the pod has ended"],
        explained_by: &[Kind::SupervisorKilled, Kind::NodeRestarted],
    },
    Reason {
        says: &["the pod's container `", "` failed (exit code "],
        explained_by: &[Kind::NodeRestarted],
    },
];

/// Nothing that goes wrong removes what a store has, changes it, or has a job placed again and again.
const NEVER: [&str; 5] = [
    "does not have it any more",
    "has it any more",
    " damaged ",
    "given up after",
    "a bug of its own",
];

pub(super) fn errors_are_explained(run: &Run<'_>) -> Verdict {
    let mut faults = Vec::new();
    let errors: Vec<_> = run.jobs.values().filter(|job| job.state == "error").collect();
    for job in errors.iter().filter(|job| !is_explained(run, job)) {
        faults.push(format!(
            "{} of build {} is error, which no trouble explains: {}",
            job.job, job.build, job.message
        ));
    }
    let allowed = FEW.max(run.jobs.len() / ONE_OF);
    if errors.len() > allowed {
        faults.push(format!(
            "{} of {} jobs ended as error, more than {allowed}",
            errors.len(),
            run.jobs.len()
        ));
    }
    Verdict {
        promise: Promise::ErrorsExplained,
        numbers: vec![("errors", errors.len().to_string()), ("at most", allowed.to_string())],
        faults,
    }
}

fn is_explained(run: &Run<'_>, job: &FinalJob) -> bool {
    if run.is_array(job) {
        let of_it = |name: &str| name.strip_prefix(&job.job).is_some_and(|rest| rest.starts_with('/'));
        let mut indexes = run.jobs.range((job.build, "")..(job.build + 1, ""));
        return indexes.any(|((_, name), index)| of_it(name) && index.state == "error");
    }
    // What befalls a Kubernetes cluster explains what happened to jobs that ran there.
    let befell = |event: &&&Event| !event.kind.is_of_kubernetes() || ran_on(run, job, &event.target);
    let happened = kinds(run.events.iter().filter(befell).copied());
    let explains = |reason: &Reason| {
        reason.says.iter().all(|words| job.message.contains(words))
            && reason.explained_by.iter().any(|kind| happened.contains(kind))
    };
    REASONS.iter().any(explains) && !NEVER.iter().any(|words| job.message.contains(words))
}

/// Whether the attempt that counts may have run there: one whose command never began has not said where.
fn ran_on(run: &Run<'_>, job: &FinalJob, cluster: &str) -> bool {
    let attempt = run.attempts_of(job).and_then(|attempts| attempts.get(&job.epoch));
    attempt.is_none_or(|attempt| attempt.clusters.contains(cluster))
}
