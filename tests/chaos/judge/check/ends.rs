//! That what was acknowledged ends, and that ends are final.

use std::collections::BTreeMap;

use super::run::{Run, is_terminal};
use super::{Promise, Verdict};

/// How long after the last trouble everything has to be over, in milliseconds.
const WITHIN: u64 = 60_000;

pub(super) fn nothing_is_lost(run: &Run<'_>) -> Verdict {
    let mut faults = Vec::new();
    for (tag, build) in &run.acknowledged {
        match run.builds.get(build) {
            None => faults.push(format!("build {build} ({tag}) was acknowledged, and is not there")),
            Some((found, _)) if found != tag => {
                faults.push(format!("build {build} was acknowledged as {tag}, and is {found}"));
            }
            Some(_) => {}
        }
    }
    // All that users ask for can be done here.
    let refused = run.refused.iter();
    faults.extend(refused.map(|(tag, why)| format!("{tag} was refused for good: {why}")));
    let mut by_tag: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (build, (tag, state)) in &run.builds {
        by_tag.entry(tag).or_default().push(*build);
        if !is_terminal(state) {
            faults.push(format!("build {build} ({tag}) is {state} at the end"));
        }
    }
    for ((build, job), last) in &run.jobs {
        if !is_terminal(&last.state) {
            faults.push(format!("job {job} of build {build} is {} at the end", last.state));
        }
    }
    for (tag, builds) in by_tag.iter().filter(|(_, builds)| builds.len() > 1) {
        faults.push(format!("{tag} was asked for once, and is there as builds {builds:?}"));
    }
    Verdict {
        promise: Promise::NothingLost,
        numbers: vec![
            ("acknowledged", run.acknowledged.len().to_string()),
            ("without an answer", run.not_acknowledged.to_string()),
            ("builds at the end", run.builds.len().to_string()),
            ("jobs", run.jobs.len().to_string()),
        ],
        faults,
    }
}

pub(super) fn all_ends_in_time(run: &Run<'_>) -> Verdict {
    let took = run
        .all_mended
        .zip(run.all_over)
        .map(|(mended, over)| over.saturating_sub(mended));
    let fault = match took {
        None => Some("not all builds were over when the patience was".to_owned()),
        Some(took) if took > WITHIN => Some(format!(
            "all was over {} s after the last trouble, instead of within {} s",
            took / 1000,
            WITHIN / 1000
        )),
        Some(_) => None,
    };
    let over = took.map_or_else(|| "never".to_owned(), |took| format!("{:.1} s", took as f64 / 1000.0));
    Verdict {
        promise: Promise::InTime,
        numbers: vec![("over after the last trouble", over)],
        faults: fault.into_iter().collect(),
    }
}

pub(super) fn ends_are_final(run: &Run<'_>) -> Verdict {
    let mut faults = Vec::new();
    let mut ends = 0;
    for ((build, job), seen) in &run.seen {
        let last = run
            .jobs
            .get(&(*build, *job))
            .map(|last| (u64::MAX, last.state.as_str(), last.epoch));
        let mut over = None;
        for (_, state, epoch) in seen.iter().copied().chain(last) {
            if let Some((before, of)) = over
                && before != state
            {
                faults.push(format!(
                    "{job} of build {build} was {before} (attempt {of}), and then {state} (attempt {epoch})"
                ));
            }
            if is_terminal(state) {
                ends += usize::from(over.is_none());
                over = Some((state, epoch));
            }
        }
    }
    for ((build, name), job) in &run.jobs {
        let cancelled = run.cancelled.get(build);
        if job.state == "killed" && !run.cancel_asked.contains(build) {
            faults.push(format!(
                "{name} of build {build} was killed, and nobody had asked for it"
            ));
        }
        let ends = run.attempts_of(job).and_then(|attempts| attempts.get(&job.epoch)?.ends);
        if let Some((cancelled, (ended, ..))) = cancelled.zip(ends)
            && job.state == "finished"
            && ended > cancelled + CLOCKS
        {
            faults.push(format!(
                "{name} of build {build} finished, though it ended {} ms after its cancellation was acknowledged",
                ended - cancelled
            ));
        }
    }
    Verdict {
        promise: Promise::EndsFinal,
        numbers: vec![
            ("ends seen", ends.to_string()),
            ("builds cancelled", run.cancelled.len().to_string()),
            (
                "jobs killed",
                run.jobs
                    .values()
                    .filter(|job| job.state == "killed")
                    .count()
                    .to_string(),
            ),
        ],
        faults,
    }
}

/// How well the times of witnesses and of users agree, in milliseconds.
const CLOCKS: u64 = 100;
