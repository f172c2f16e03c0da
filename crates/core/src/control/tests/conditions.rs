//! The truth table of `depends_on.on`: which ends of its parents let a job run.

use super::super::Command;
use super::super::testing::{World, ended, job};
use crate::build::{JobSpec, JobState, StateSet, TerminalState};
use crate::id::JobId;
use TerminalState::{Error, Failure, Finished, Killed, Skipped, Unstable};

/// How parents end, in the order of the table's columns.
const ENDS: [TerminalState; 6] = [Finished, Error, Failure, Unstable, Killed, Skipped];

const ANY: &[TerminalState] = &TerminalState::ALL;

/// What `on` names, and whether the job runs after a parent that ended like that: all that InfraBox's files can say. `*` is last.
#[rustfmt::skip]
const TABLE: [(&[TerminalState], [bool; 6]); 16] = [
    //                                      finished error  failure unstable killed skipped
    (&[Finished],                           [true,   false, false,  false,   false, false]),
    (&[Error],                              [false,  true,  false,  false,   false, false]),
    (&[Failure],                            [false,  false, true,   false,   false, false]),
    (&[Unstable],                           [false,  false, false,  true,    false, false]),
    (&[Finished, Error],                    [true,   true,  false,  false,   false, false]),
    (&[Finished, Failure],                  [true,   false, true,   false,   false, false]),
    (&[Finished, Unstable],                 [true,   false, false,  true,    false, false]),
    (&[Error, Failure],                     [false,  true,  true,   false,   false, false]),
    (&[Error, Unstable],                    [false,  true,  false,  true,    false, false]),
    (&[Failure, Unstable],                  [false,  false, true,   true,    false, false]),
    (&[Finished, Error, Failure],           [true,   true,  true,   false,   false, false]),
    (&[Finished, Error, Unstable],          [true,   true,  false,  true,    false, false]),
    (&[Finished, Failure, Unstable],        [true,   false, true,   true,    false, false]),
    (&[Error, Failure, Unstable],           [false,  true,  true,   true,    false, false]),
    (&[Finished, Error, Failure, Unstable], [true,   true,  true,   true,    false, false]),
    (ANY,                                   [true,   true,  true,   true,    true,  true]),
];

/// A parent by its name and, for one that is to be skipped, the job that it is skipped for.
fn parent(name: &str, end: Option<TerminalState>) -> Vec<JobSpec> {
    if end != Some(Skipped) {
        return vec![job(name)];
    }
    let before = format!("before-{name}");
    vec![job(&before), job(name).after(&before)]
}

/// Has the last of these jobs end.
fn bring_about(world: &mut World, jobs: &[JobId], end: Option<TerminalState>) {
    let last = *jobs.last().unwrap();
    match end {
        None => {}
        Some(Killed) => drop(world.done(Command::CancelJob { job: last })),
        Some(Skipped) => drop(world.report(jobs[0], ended(Failure))),
        Some(end) => drop(world.report(last, ended(end))),
    }
    // One that runs is killed by its cluster.
    if end == Some(Killed) && world.state(last).terminal().is_none() {
        world.report(last, ended(Killed));
    }
    assert_eq!(world.state(last).terminal(), end);
}

/// Where a job is after parents that have ended like that, and that it follows on those conditions.
fn child_of(parents: &[(&[TerminalState], Option<TerminalState>)]) -> JobState {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (mut specs, mut groups) = (Vec::new(), Vec::new());
    let mut child = job("child");
    for (index, (on, end)) in parents.iter().enumerate() {
        let name = format!("parent-{index}");
        let first = specs.len();
        specs.extend(parent(&name, *end));
        groups.push(first..specs.len());
        child = child.after_when(&name, StateSet::of(on));
    }
    specs.push(child);
    // The build goes on whatever becomes of these.
    specs.push(job("other"));
    let (_, jobs) = world.submit(specs);
    let last = jobs[jobs.len() - 2];
    for (group, (_, end)) in groups.into_iter().zip(parents) {
        bring_about(&mut world, &jobs[group], *end);
    }
    world.state(last)
}

/// Where a job is that all its parents let run, let not, or keep waiting.
fn expected(parents: &[(bool, Option<TerminalState>)]) -> JobState {
    if parents.iter().any(|(_, end)| end.is_none()) {
        return JobState::Waiting;
    }
    match parents.iter().all(|(allows, _)| *allows) {
        true => JobState::Assigned,
        false => JobState::Terminal(Skipped),
    }
}

/// Every end with whether `allowed` lets the child run, and a parent that has not ended.
fn columns(allowed: [bool; 6]) -> impl Iterator<Item = (bool, Option<TerminalState>)> {
    let ends = ENDS.into_iter().map(Some).chain([None]);
    allowed.into_iter().chain([false]).zip(ends)
}

#[test]
fn one_parent_in_every_state_on_every_condition() {
    let mut cases = 0;
    for (on, allowed) in TABLE {
        for (allows, end) in columns(allowed) {
            assert_eq!(child_of(&[(on, end)]), expected(&[(allows, end)]), "{on:?} {end:?}");
            cases += 1;
        }
    }
    assert_eq!(cases, 16 * 7);
}

#[test]
fn two_parents_in_every_state() {
    let rows = || [TABLE[0], TABLE[2], TABLE[6], TABLE[9], TABLE[14], TABLE[15]].into_iter();
    let mut cases = 0;
    for (first, of_first) in rows() {
        for (second, of_second) in rows() {
            for one in columns(of_first) {
                for other in columns(of_second) {
                    let found = child_of(&[(first, one.1), (second, other.1)]);
                    assert_eq!(
                        found,
                        expected(&[one, other]),
                        "{first:?} {:?}, {second:?} {:?}",
                        one.1,
                        other.1
                    );
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 6 * 6 * 7 * 7);
}
