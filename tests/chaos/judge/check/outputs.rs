//! That outputs are what their jobs have left, wherever they are read.

use super::errors::SILENCES;
use super::run::{Attempt, Read, Run};
use super::{Promise, Verdict};
use crate::judge::history::{FinalJob, Maker, Output};

pub(super) fn outputs_are_what_was_left(run: &Run<'_>) -> Verdict {
    let mut faults = Vec::new();
    let (mut read, mut downloaded, mut silent) = (0, 0, 0);
    for ((tag, job), attempts) in &run.attempts {
        for (epoch, attempt) in attempts {
            for input in &attempt.reads {
                read += 1;
                if let Some(made_by) = input.made_by
                    && let Err(fault) = is_its_own(run, tag, input, made_by)
                {
                    let parent = input.parent;
                    faults.push(format!("{job} in {tag}, attempt {epoch}, got from {parent}: {fault}"));
                }
            }
        }
    }
    for job in run.jobs.values() {
        let said = match &job.output {
            None if !leaves_output(run, job) => continue,
            None => match &job.output_lost {
                Some(reason) if was_silent(run, reason) => {
                    silent += 1;
                    continue;
                }
                Some(reason) => Err(format!("is said to be lost: {reason}")),
                None => Err("is not there, though the command has left one".to_owned()),
            },
            Some(Output::Refused { why }) => Err(format!("cannot be had: {why}")),
            Some(Output::Downloaded { digest, made_by }) => {
                downloaded += 1;
                is_that_of(run, job, digest, made_by.as_ref())
            }
        };
        if let Err(fault) = said {
            faults.push(format!("the output of {} of build {}: {fault}", job.job, job.build));
        }
    }
    Verdict {
        promise: Promise::OutputsWhole,
        numbers: vec![
            ("inputs read by jobs", read.to_string()),
            ("outputs downloaded", downloaded.to_string()),
            ("given up while their cluster was silent", silent.to_string()),
        ],
        faults,
    }
}

/// Each command that ends well has left an output; an array has none of its own.
fn leaves_output(run: &Run<'_>, job: &FinalJob) -> bool {
    job.state == "finished" && !run.is_array(job)
}

/// Nothing that goes wrong removes what a store has. But a cluster that is silent for too long is not waited for: what it has is made again, and
/// given up if that does not come about.
fn was_silent(run: &Run<'_>, reason: &str) -> bool {
    let cluster = reason
        .strip_prefix("cluster `")
        .and_then(|rest| rest.split_once("`, which had it, was not heard of for "));
    let befalls =
        |target: &str, cluster: &str| target == cluster || target.starts_with("master-") || target == "database";
    cluster.is_some_and(|(cluster, _)| {
        let mut events = run.events.iter();
        events.any(|event| SILENCES.contains(&event.kind) && befalls(&event.target, cluster))
    })
}

fn left_by<'run>(run: &'run Run<'_>, maker: &'run Maker) -> Option<&'run Attempt<'run>> {
    run.attempts
        .get(&(maker.tag.as_str(), maker.job.as_str()))?
        .get(&maker.epoch)
}

/// An input is what an attempt of that very parent has left, and one that counted.
fn is_its_own(run: &Run<'_>, tag: &str, input: &Read<'_>, made_by: &Maker) -> Result<(), String> {
    if made_by.tag != tag || made_by.job != input.parent {
        return Err(format!("what {} of {} has left", made_by.job, made_by.tag));
    }
    let left = left_by(run, made_by).and_then(|attempt| attempt.ends);
    match left {
        None => return Err(format!("what attempt {} has never left", made_by.epoch)),
        Some((_, digest, _)) if digest != input.digest => {
            return Err(format!("other bytes than attempt {} has left", made_by.epoch));
        }
        Some(_) => {}
    }
    let Some(parent) = run.job_of(tag, input.parent) else {
        return Ok(());
    };
    if parent.epoch != made_by.epoch && !run.was_over_with(parent.build, &parent.job, made_by.epoch) {
        return Err(format!(
            "what attempt {} has left, which never counted; attempt {} does",
            made_by.epoch, parent.epoch
        ));
    }
    Ok(())
}

/// What a user downloads is what the attempt has left that counts.
fn is_that_of(run: &Run<'_>, job: &FinalJob, digest: &str, made_by: Option<&Maker>) -> Result<(), String> {
    let maker = made_by.ok_or("it does not say who made it")?;
    let tag = run.builds.get(&job.build).map(|(tag, _)| *tag).unwrap_or_default();
    if maker.tag != tag || maker.job != job.job {
        return Err(format!("it is that of {} of {}", maker.job, maker.tag));
    }
    if maker.epoch != job.epoch {
        return Err(format!(
            "it is that of attempt {}; attempt {} counts",
            maker.epoch, job.epoch
        ));
    }
    match left_by(run, maker).and_then(|attempt| attempt.ends) {
        Some((_, left, _)) if left == digest => Ok(()),
        Some(_) => Err(format!("other bytes than attempt {} has left", maker.epoch)),
        None => Err(format!("attempt {} has never left one", maker.epoch)),
    }
}

pub(super) fn inputs_are_there(run: &Run<'_>) -> Verdict {
    let mut faults = Vec::new();
    let (mut begun, mut inputs) = (0, 0);
    for ((tag, job), attempts) in &run.attempts {
        let Some(asked) = run.asked_for(tag, job) else { continue };
        for (epoch, attempt) in attempts {
            begun += 1;
            inputs += asked.parents.len();
            for parent in &asked.parents {
                let found = attempt.reads.iter().find(|read| read.parent == parent);
                // A command that was stopped while it read has said nothing of the rest.
                let missing = found.is_some_and(|read| read.made_by.is_none());
                if missing || (found.is_none() && attempt.ends.is_some()) {
                    faults.push(format!(
                        "{job} in {tag}, attempt {epoch}, began without what {parent} had left"
                    ));
                }
            }
        }
    }
    Verdict {
        promise: Promise::InputsThere,
        numbers: vec![
            ("attempts begun", begun.to_string()),
            ("inputs asked for", inputs.to_string()),
        ],
        faults,
    }
}
