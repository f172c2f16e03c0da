//! That selectors hold, and that there was something to judge at all.

use std::collections::BTreeSet;

use super::run::Run;
use super::{Promise, Verdict};
use crate::judge::plan::kinds;

pub(super) fn selectors_hold(run: &Run<'_>) -> Verdict {
    let mut faults = Vec::new();
    let mut chosen = 0;
    for ((tag, job), attempts) in &run.attempts {
        let Some(asked) = run.asked_for(tag, job) else { continue };
        for (epoch, attempt) in attempts {
            chosen += usize::from(!asked.selector.is_empty());
            for cluster in &attempt.clusters {
                let labels = run.labels.get(cluster);
                let lacks = |wanted: &&String| labels.is_none_or(|labels| !labels.contains(*wanted));
                if let Some(wanted) = asked.selector.iter().find(lacks) {
                    faults.push(format!(
                        "{job} in {tag}, attempt {epoch}, ran on {cluster}, which has no `{wanted}`"
                    ));
                }
            }
        }
    }
    Verdict {
        promise: Promise::SelectorsHold,
        numbers: vec![("attempts with a selector", chosen.to_string())],
        faults,
    }
}

/// A run in which nothing ends well finds nothing.
pub(super) fn the_run_says_something(run: &Run<'_>, planned: usize) -> Verdict {
    let mut faults = Vec::new();
    let kinds = kinds(run.events.iter().copied());
    if kinds.len() < planned {
        faults.push(format!("{} of {planned} kinds of trouble came about", kinds.len()));
    }
    let open: BTreeSet<u32> = run.events.iter().map(|event| event.number).collect();
    for number in open.difference(&run.mended) {
        faults.push(format!("event {number} was not mended"));
    }
    // What users cancelled, or what follows something that fails by itself, is not meant to finish.
    let meant = |build: &u64| !run.cancel_asked.contains(build);
    let meant: Vec<_> = run
        .jobs
        .values()
        .filter(|job| meant(&job.build) && job.state != "skipped")
        .collect();
    let errors = meant.iter().filter(|job| job.state == "error").count();
    if meant.len() < 2 || errors * 2 > meant.len() {
        faults.push(format!("{errors} of {} jobs ended as error", meant.len()));
    }
    Verdict {
        promise: Promise::SaysSomething,
        numbers: vec![
            ("events", run.events.len().to_string()),
            ("kinds", kinds.len().to_string()),
            ("jobs not cancelled", meant.len().to_string()),
            ("of them errors", errors.to_string()),
        ],
        faults,
    }
}
