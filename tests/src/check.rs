//! The invariants, judged over the history of a world. Each checker says what is wrong, and where.

mod drains;
mod ended;
mod ends;
mod exclusive;
mod hooks;
mod inputs;
mod kept;
mod logs;
mod losses;
mod once;
mod progress;
mod record;
mod tally;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_core::build::{BuildState, JobKind, JobState, TerminalState};
use tombolo_core::control::Change;
use tombolo_core::control::record::{Cluster, JobNode, JobStatus};
use tombolo_core::id::AttemptId;
use tombolo_core::name::ClusterName;
use tombolo_core::resources::Resources;

use self::drains::drained_takes_nothing_along;
use self::ended::ended_never_starts;
use self::ends::{
    cancel_is_final, killed_by_somebody, made_again, replaced_are_real, terminal_is_final, tries_are_real,
};
use self::exclusive::exclusive_runs_alone;
use self::hooks::hooks_come_last;
use self::inputs::inputs_complete;
use self::kept::{given_up_by_the_policy, kept_is_there, let_go_is_gone, promised_is_not_swept};
use self::logs::{logs_are_whole, logs_that_count, one_leads};
use self::losses::{inputs_are_whole, losses_are_real, taken_over_is_real};
use self::once::{commands_run_once, replaced_never_starts};
use self::progress::{progress_is_real, returned_goes_on};
pub use self::record::Record;
pub use self::tally::tally;
use self::volumes::sharers_together;
pub use self::volumes::shares;
use crate::history::{Fact, Outcome};

type Checker = fn(&Outcome) -> Result<(), String>;

/// All of them, by name.
const ALL: [(&str, Checker); 29] = [
    ("I1: what was acknowledged reaches its end", all_over),
    (
        "I2: only the outcome of the latest attempt takes effect",
        one_attempt_takes_effect,
    ),
    ("I2: an attempt gets on by itself alone", progress_is_real),
    ("what a cluster still has goes on", returned_goes_on),
    ("I2: only logs that count are taken", logs_that_count),
    ("no line of a log is lost", logs_are_whole),
    ("one master leads at a time", one_leads),
    ("I2: a command runs once for each attempt", commands_run_once),
    ("I2: what was replaced does not start", replaced_never_starts),
    ("exclusive jobs run once at a time", exclusive_runs_alone),
    ("what was stopped or forgotten does not start", ended_never_starts),
    ("I3: commands find outputs whole", inputs_are_whole),
    ("I4: a child starts only with all inputs", inputs_complete),
    ("I5: selectors are honoured", selectors_honoured),
    ("jobs that share a volume run where it is", sharers_together),
    ("no cluster is given more than it has", capacity_honoured),
    ("I6: terminal is final", terminal_is_final),
    ("I6: what was cancelled does not finish", cancel_is_final),
    ("only what was cancelled is killed", killed_by_somebody),
    ("nothing is visible before it is durable", orders_are_durable),
    ("builds end as their jobs did", builds_end_right),
    ("hooks run when the others are over", hooks_come_last),
    ("what a drained cluster had is elsewhere", drained_takes_nothing_along),
    ("what is called lost is lost", losses_are_real),
    ("what is taken over is as it was", taken_over_is_real),
    ("only the policy gives outputs up", given_up_by_the_policy),
    ("what is promised is not swept", promised_is_not_swept),
    ("what is kept is there", kept_is_there),
    ("I10: what is let go is gone", let_go_is_gone),
];

/// What is wrong: the invariants that do not hold, each with the first place where.
pub fn judge(outcome: &Outcome) -> Result<(), Vec<String>> {
    let fault = |(name, check): &(&str, Checker)| check(outcome).err().map(|what| format!("{name}: {what}"));
    let faults: Vec<String> = ALL.iter().filter_map(fault).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Every acknowledged build is in the store, and every build there is over; nothing is left on the agents' disks.
fn all_over(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    let mut acknowledged = BTreeSet::new();
    for (_, fact) in &outcome.history.facts {
        record.take(fact);
        if let Fact::SubmitAcknowledged(build) = fact {
            acknowledged.insert(*build);
        }
    }
    if let Some(lost) = acknowledged.iter().find(|build| !record.builds.contains_key(build)) {
        return Err(format!("{lost} was acknowledged and is not in the store"));
    }
    if let Some(open) = record.builds.keys().find(|build| !record.ended.contains(build)) {
        return Err(format!(
            "{open} was taken and is not over; left are {:?}",
            outcome.leftovers
        ));
    }
    match outcome.leftovers.first() {
        None => Ok(()),
        Some(first) => Err(format!(
            "{} things are left, the first: {first}",
            outcome.leftovers.len()
        )),
    }
}

/// What the store says of a job's end is what the executor of that very attempt wrote down. Epochs only grow.
fn one_attempt_takes_effect(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    let mut ended: BTreeMap<AttemptId, Vec<(&ClusterName, &tombolo_core::attempt::Outcome)>> = BTreeMap::new();
    for (at, fact) in &outcome.history.facts {
        if let Fact::Ended {
            cluster,
            attempt,
            outcome,
        } = fact
        {
            ended.entry(*attempt).or_default().push((cluster, outcome));
        }
        if let Fact::Committed(Change::PutJob(status)) = fact {
            if record
                .jobs
                .get(&status.id)
                .is_some_and(|before| before.epoch > status.epoch)
            {
                return Err(format!(
                    "{at:?}: the epoch of {} went back to {}",
                    status.id, status.epoch
                ));
            }
            if status.is_taken_over() && status.epoch.0 == 0 {
                record.take(fact);
                continue;
            }
            if status.loss.is_some() {
                made_again(status, &ended).map_err(|what| format!("{at:?}: {what}: {status:?}"))?;
                record.take(fact);
                continue;
            }
            let attempt = AttemptId {
                job: status.id,
                epoch: status.epoch,
            };
            replaced_are_real(&record, status, &ended).map_err(|what| format!("{at:?}: {what}: {status:?}"))?;
            tries_are_real(&record, status, &ended).map_err(|what| format!("{at:?}: {what}: {status:?}"))?;
            let real = ended.get(&attempt).is_some_and(|ends| {
                ends.iter()
                    .any(|(cluster, end)| Some(*cluster) == status.cluster.as_ref() && is_end(status, end))
            });
            let runs = record
                .nodes
                .get(&status.id)
                .is_none_or(|node| node.kind == JobKind::Run && node.array().is_none());
            if !runs && (status.epoch.0 > 0 || status.output.is_some()) {
                return Err(format!("{at:?}: a job that runs nothing has an attempt: {status:?}"));
            }
            if runs && claims_an_executors_end(status) && !real {
                return Err(format!(
                    "{at:?}: attempt {attempt} did not end as the store says: {status:?}"
                ));
            }
        }
        record.take(fact);
    }
    Ok(())
}

fn claims_an_executors_end(status: &JobStatus) -> bool {
    let ran = [TerminalState::Finished, TerminalState::Failure, TerminalState::Unstable];
    status.output.is_some() || status.state.terminal().is_some_and(|state| ran.contains(&state))
}

/// A job that was cancelled may be killed although its command ended in another way.
fn is_end(status: &JobStatus, end: &tombolo_core::attempt::Outcome) -> bool {
    let state = status.state.terminal();
    let same_state = state == Some(end.state) && status.exit_code == end.exit_code;
    let cancelled = state == Some(TerminalState::Killed) && status.cancel_requested;
    // What it would have made was refused.
    let refused = state == Some(TerminalState::Error) && end.generated.is_some() && status.exit_code == end.exit_code;
    (same_state || cancelled || refused) && status.output == end.output && status.log_lines == Some(end.log_lines)
}

/// Whoever is given an attempt matches the job's selector with the labels that it has then, and nobody else starts it.
fn selectors_honoured(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    let mut placed: BTreeMap<AttemptId, ClusterName> = BTreeMap::new();
    for (at, fact) in &outcome.history.facts {
        match fact {
            Fact::Committed(Change::PutJob(status)) if status.state == JobState::Assigned => {
                let attempt = AttemptId {
                    job: status.id,
                    epoch: status.epoch,
                };
                let cluster = status.cluster.as_ref().and_then(|name| record.clusters.get(name));
                let (Some(cluster), Some(node)) = (cluster, record.node(status.id)) else {
                    return Err(format!(
                        "{at:?}: attempt {attempt} was given to {:?}, which is not there",
                        status.cluster
                    ));
                };
                if !matches(node, cluster) && !placed.contains_key(&attempt) {
                    let labels = &cluster.labels;
                    return Err(format!(
                        "{at:?}: {attempt} with {:?} was given to {labels:?}",
                        node.selector
                    ));
                }
                placed.insert(attempt, cluster.name.clone());
            }
            Fact::CommandStarted {
                cluster, assignment, ..
            } => {
                let wanted = placed.get(&assignment.attempt);
                if wanted.is_some_and(|wanted| wanted != cluster) {
                    return Err(format!(
                        "{at:?}: {} is for {wanted:?} and starts on {cluster}",
                        assignment.attempt
                    ));
                }
            }
            _ => {}
        }
        record.take(fact);
    }
    Ok(())
}

fn matches(node: &JobNode, cluster: &Cluster) -> bool {
    node.selector
        .matches(&cluster.labels.clone().with_cluster(&cluster.name))
}

/// What the attempts of a cluster need together never is more than it has, nor are they more than its slots.
fn capacity_honoured(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    let mut capacities: BTreeMap<&ClusterName, (u32, Resources)> = BTreeMap::new();
    let facts = &outcome.history.facts;
    for (index, (at, fact)) in facts.iter().enumerate() {
        record.take(fact);
        if let Fact::Capacity {
            cluster,
            slots,
            resources,
        } = fact
        {
            capacities.insert(cluster, (*slots, *resources));
        }
        // In the middle of a transaction nothing has to hold.
        let goes_on = |(next_at, next): &(Duration, Fact)| next_at == at && matches!(next, Fact::Committed(_));
        if !matches!(fact, Fact::Committed(Change::PutJob(_))) || facts.get(index + 1).is_some_and(goes_on) {
            continue;
        }
        for (name, (slots, has)) in &capacities {
            let here = record
                .jobs
                .values()
                .filter(|job| job.cluster.as_ref() == Some(name) && held(job.state));
            let needs: Vec<Resources> = here
                .filter_map(|job| record.nodes.get(&job.id))
                .map(|node| node.resources)
                .collect();
            let sum = needs.iter().fold(Resources::default(), |sum, need| sum.plus(need));
            if needs.len() > *slots as usize || !has.fits(&sum) {
                return Err(format!("{at:?}: {name} with {slots} slots and {has:?} has {needs:?}"));
            }
        }
    }
    Ok(())
}

/// Whether a cluster has an attempt of the job in hands.
const fn held(state: JobState) -> bool {
    matches!(
        state,
        JobState::Assigned | JobState::Preparing | JobState::Running | JobState::Publishing
    )
}

/// An agent is never told to start what the store does not know that it has.
fn orders_are_durable(outcome: &Outcome) -> Result<(), String> {
    let mut given: BTreeSet<(AttemptId, ClusterName)> = BTreeSet::new();
    for (at, fact) in &outcome.history.facts {
        match fact {
            Fact::Committed(Change::PutJob(JobStatus {
                id,
                epoch,
                cluster: Some(cluster),
                ..
            })) => {
                given.insert((
                    AttemptId {
                        job: *id,
                        epoch: *epoch,
                    },
                    cluster.clone(),
                ));
            }
            Fact::StartOrdered { cluster, attempt } if !given.contains(&(*attempt, cluster.clone())) => {
                return Err(format!(
                    "{at:?}: {cluster} starts {attempt}, and the store does not know it"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A build is over when all its jobs are, and its state is the worst of theirs.
fn builds_end_right(outcome: &Outcome) -> Result<(), String> {
    let mut record = Record::default();
    for (at, fact) in &outcome.history.facts {
        if let Fact::Committed(Change::PutBuild(build)) = fact
            && let BuildState::Terminal(state) = build.state
        {
            let wanted = record.worst(build.id);
            if wanted != Some(state) {
                return Err(format!(
                    "{at:?}: {} ended as {state}, its jobs say {wanted:?}",
                    build.id
                ));
            }
            if record.ended.contains(&build.id) && build.released_at.is_none() {
                return Err(format!("{at:?}: {} ended twice", build.id));
            }
        }
        record.take(fact);
    }
    Ok(())
}
