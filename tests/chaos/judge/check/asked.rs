//! That builds are made of the jobs that were asked for, and that their ends follow from one another.

use std::collections::BTreeSet;

use super::run::Run;
use super::{Promise, Verdict};
use crate::judge::history::{Asked, FinalJob};

/// A build ends as the first of these that one of its jobs ended as.
const WORST_FIRST: [&str; 4] = ["killed", "error", "failure", "unstable"];

pub(super) fn builds_are_as_asked_for(run: &Run<'_>) -> Verdict {
    let mut faults = Vec::new();
    let (mut jobs, mut indexes) = (0, 0);
    for (build, (tag, state)) in &run.builds {
        let Some(asked) = run.asked.get(tag) else {
            faults.push(format!("build {build} is that of `{tag}`, for which nobody has asked"));
            continue;
        };
        jobs += asked.len();
        indexes += asked.iter().map(|job| job.count).sum::<u32>();
        let found = of_build(run, *build, state, asked);
        faults.extend(found.into_iter().map(|fault| format!("build {build} ({tag}): {fault}")));
    }
    Verdict {
        promise: Promise::AsAskedFor,
        numbers: vec![
            ("jobs asked for", jobs.to_string()),
            ("indexes of arrays", indexes.to_string()),
        ],
        faults,
    }
}

fn of_build(run: &Run<'_>, build: u64, state: &str, asked: &[Asked]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut wanted = BTreeSet::new();
    for job in asked {
        wanted.insert(job.name.clone());
        wanted.extend((0..job.count).map(|index| format!("{}/{index}", job.name)));
    }
    let of_it = run.jobs.range((build, "")..(build + 1, ""));
    let there: BTreeSet<String> = of_it.map(|((_, name), _)| (*name).to_owned()).collect();
    for name in wanted.difference(&there) {
        faults.push(format!("{name} was asked for, and is not there"));
    }
    for name in there.difference(&wanted) {
        faults.push(format!("{name} is there, and nobody has asked for it"));
    }
    for name in wanted.intersection(&there) {
        let asked = asked.iter().find(|job| is_of(name, job));
        let last = run.jobs.get(&(build, name.as_str()));
        if let Some((asked, last)) = asked.zip(last)
            && let Err(fault) = end_follows(run, asked, last)
        {
            faults.push(format!("{name} {fault}"));
        }
    }
    let states: BTreeSet<&str> = asked.iter().filter_map(|job| state_of(run, build, &job.name)).collect();
    let worst = WORST_FIRST.into_iter().find(|state| states.contains(state));
    let worst = worst.unwrap_or("finished");
    if state != worst {
        faults.push(format!("it is {state}, and follows from its jobs as {worst}"));
    }
    faults
}

/// Whether that is its name, or the name of one of its indexes.
fn is_of(name: &str, job: &Asked) -> bool {
    let rest = name.strip_prefix(&job.name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn state_of<'run>(run: &'run Run<'_>, build: u64, job: &str) -> Option<&'run str> {
    run.jobs.get(&(build, job)).map(|last| last.state.as_str())
}

/// A job's end follows from those of its parents, and from what its command does; an array's, from those of its indexes.
fn end_follows(run: &Run<'_>, asked: &Asked, last: &FinalJob) -> Result<(), String> {
    let state = last.state.as_str();
    let unfinished = asked
        .parents
        .iter()
        .find(|parent| state_of(run, last.build, parent) != Some("finished"));
    match (state, unfinished) {
        ("skipped", None) => return Err("was skipped, though all its parents finished".to_owned()),
        ("finished" | "failure", Some(parent)) => {
            let ended = state_of(run, last.build, parent).unwrap_or("not there");
            return Err(format!("is {state}, though its parent {parent} is {ended}"));
        }
        ("unstable", _) => return Err("is unstable, and has no tests".to_owned()),
        _ => {}
    }
    if asked.count > 0 && last.job == asked.name {
        return array_follows(run, asked, last);
    }
    // One that fails at first only is retried.
    if state == "failure" && asked.fails_until != u32::MAX {
        return Err(format!(
            "is failure ({}), though its command fails {} times at most, and may be retried",
            last.message, asked.fails_until
        ));
    }
    Ok(())
}

fn array_follows(run: &Run<'_>, asked: &Asked, array: &FinalJob) -> Result<(), String> {
    let name = |index: u32| format!("{}/{index}", asked.name);
    let states: BTreeSet<&str> = (0..asked.count)
        .filter_map(|index| state_of(run, array.build, &name(index)))
        .collect();
    let all_finished = states.iter().all(|state| *state == "finished");
    let follows = match array.state.as_str() {
        "finished" => all_finished,
        other => states.contains(other),
    };
    match follows {
        true => Ok(()),
        false => Err(format!("is {}, and its indexes are {states:?}", array.state)),
    }
}
