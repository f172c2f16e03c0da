//! That logs are whole.

use super::run::Run;
use super::{Promise, Verdict};
use crate::judge::history::{FinalJob, Log};

pub(super) fn logs_are_whole(run: &Run<'_>) -> Verdict {
    let mut faults = Vec::new();
    let mut lines = 0;
    for log in run.logs.values() {
        lines += log.numbers.len();
        let job = run.jobs.get(&(log.build, log.job.as_str()));
        if let Some(job) = job
            && let Err(fault) = is_whole(run, job, log)
        {
            faults.push(format!("the log of {} of build {}: {fault}", log.job, log.build));
        }
    }
    for job in run.jobs.values() {
        if wanted(run, job) > 0 && !run.logs.contains_key(&(job.build, job.job.as_str())) {
            faults.push(format!(
                "{} of build {} is {}, and has no log",
                job.job, job.build, job.state
            ));
        }
    }
    Verdict {
        promise: Promise::LogsWhole,
        numbers: vec![("logs", run.logs.len().to_string()), ("lines", lines.to_string())],
        faults,
    }
}

fn came_to_its_end(job: &FinalJob) -> bool {
    ["finished", "failure"].contains(&job.state.as_str())
}

/// How many lines of its command have to be there; an array has none.
fn wanted(run: &Run<'_>, job: &FinalJob) -> u64 {
    if !came_to_its_end(job) || run.is_array(job) {
        return 0;
    }
    let tag = run.builds.get(&job.build).map(|(tag, _)| *tag).unwrap_or_default();
    run.asked_for(tag, &job.job).map_or(0, |asked| asked.lines)
}

fn is_whole(run: &Run<'_>, job: &FinalJob, log: &Log) -> Result<(), String> {
    if let Some(pair) = log.numbers.windows(2).find(|pair| pair[1] <= pair[0]) {
        return Err(format!("line {} comes after line {}", pair[1], pair[0]));
    }
    if let Some((line, epoch)) = log.written.iter().find(|(_, epoch)| *epoch != log.epoch) {
        return Err(format!(
            "line {line} of attempt {epoch} is in that of attempt {}",
            log.epoch
        ));
    }
    if let Some(pair) = log.written.windows(2).find(|pair| pair[1].0 <= pair[0].0) {
        return Err(format!(
            "the command's line {} comes after its line {}",
            pair[1].0, pair[0].0
        ));
    }
    if log.epoch != job.epoch && !run.was_over_with(job.build, &job.job, log.epoch) {
        return Err(format!(
            "it is that of attempt {}; attempt {} counts",
            log.epoch, job.epoch
        ));
    }
    // Of what was stopped nobody knows how far it came.
    if !came_to_its_end(job) {
        return Ok(());
    }
    let wanted = wanted(run, job);
    if log.missing > 0 {
        return Err(format!("it says itself that {} lines are not there", log.missing));
    }
    if !log.is_whole {
        return Err("it ends too early, or is not as long as it says itself".to_owned());
    }
    let steps = log.numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
    if let Some(pair) = steps {
        return Err(format!("line {} follows line {}", pair[1], pair[0]));
    }
    if log.written.len() as u64 != wanted {
        return Err(format!(
            "{} of {wanted} lines of the command are there",
            log.written.len()
        ));
    }
    Ok(())
}
