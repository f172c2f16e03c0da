//! That one attempt of a job takes effect.

use super::run::Run;
use super::{Promise, Verdict};
use crate::judge::history::FinalJob;

pub(super) fn one_attempt_counts(run: &Run<'_>) -> Verdict {
    let mut faults = Vec::new();
    let (mut attempts, mut again) = (0, 0);
    for ((tag, job), all) in &run.attempts {
        attempts += all.len();
        again += all.len().saturating_sub(1);
        for (epoch, attempt) in all {
            if attempt.clusters.len() > 1 {
                faults.push(format!(
                    "attempt {epoch} of {job} in {tag} ran on {:?}",
                    attempt.clusters
                ));
            }
            if attempt.begins.len() > 1 {
                faults.push(format!(
                    "attempt {epoch} of {job} in {tag} was started {} times: {:?}",
                    attempt.begins.len(),
                    attempt.begins
                ));
            }
        }
    }
    for job in run.jobs.values().filter(|job| job.output_lost.is_none()) {
        if let Err(fault) = its_own_end(run, job) {
            faults.push(format!("{} of build {}: {fault}", job.job, job.build));
        }
    }
    let count = |state: &str| run.jobs.values().filter(|job| job.state == state).count().to_string();
    Verdict {
        promise: Promise::OneTakesEffect,
        numbers: vec![
            ("attempts", attempts.to_string()),
            ("that followed another", again.to_string()),
            ("finished", count("finished")),
            ("failure", count("failure")),
        ],
        faults,
    }
}

/// What is said of a job's end is how the attempt ended that counts.
fn its_own_end(run: &Run<'_>, job: &FinalJob) -> Result<(), String> {
    let wanted = match job.state.as_str() {
        "finished" => 0,
        "failure" => 1,
        _ => return Ok(()),
    };
    if run.is_array(job) {
        return Ok(());
    }
    let epoch = job.epoch;
    let attempt = run.attempts_of(job).and_then(|attempts| attempts.get(&epoch));
    match attempt.map(|attempt| attempt.ends) {
        None => Err(format!("it is {}, and attempt {epoch} never began", job.state)),
        Some(None) => Err(format!(
            "it is {}, and attempt {epoch} never came to its end",
            job.state
        )),
        Some(Some((_, _, code))) if code != wanted => {
            Err(format!("it is {}, and attempt {epoch} ended with {code}", job.state))
        }
        Some(Some(_)) => Ok(()),
    }
}

pub(super) fn exclusive_is_alone(run: &Run<'_>) -> Verdict {
    let mut faults = Vec::new();
    let (mut jobs, mut again) = (0, 0);
    for ((tag, job), attempts) in &run.attempts {
        if run.asked_for(tag, job).is_none_or(|asked| !asked.exclusive) {
            continue;
        }
        jobs += 1;
        again += attempts.len() - 1;
        let mut spans: Vec<_> = attempts.iter().collect();
        spans.sort_by_key(|(_, attempt)| attempt.begins.first().copied());
        for pair in spans.windows(2) {
            let [(first, before), (second, after)] = pair else {
                continue;
            };
            let begins = after.begins.first().copied().unwrap_or(after.last);
            if begins < before.last {
                faults.push(format!(
                    "{job} in {tag}: attempt {second} began on {:?} at {begins} ms, while attempt {first} lived on {:?} until {} ms",
                    after.clusters, before.clusters, before.last
                ));
            }
        }
    }
    Verdict {
        promise: Promise::ExclusiveAlone,
        numbers: vec![
            ("exclusive jobs", jobs.to_string()),
            ("started again elsewhere", again.to_string()),
        ],
        faults,
    }
}
