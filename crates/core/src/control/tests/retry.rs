//! Jobs that run again after an attempt went wrong.

use std::time::Duration;

use super::super::testing::{World, cluster, ended, job, orders, outcome, running};
use super::super::{Caution, Command, EventKind};
use crate::attempt::Phase;
use crate::build::{StateSet, TerminalState};
use crate::id::{Epoch, JobId};

const SECOND: Duration = Duration::from_secs(1);

/// One build of one job, which has ended once as `failure`.
fn failed_once(count: u32) -> (World, JobId) {
    let mut world = World::new();
    world.up("east", &[], 2);
    let (_, jobs) = world.submit(vec![job("flaky").retried(count)]);
    world.report(jobs[0], running());
    world.report(jobs[0], ended(TerminalState::Failure));
    (world, jobs[0])
}

#[test]
fn a_job_that_fails_runs_again_after_a_pause_and_is_marked_flaky() {
    let (mut world, id) = failed_once(2);
    let status = &world.seen[&id];
    assert_eq!(status.state.as_str(), "waiting");
    let words = "retried 10s after attempt 1 of 3 ended as `failure` (exit code 1)";
    assert_eq!(status.message, words);
    assert_eq!(world.control.explain(id).unwrap().summary, words);
    assert_eq!(
        (status.cluster.as_ref(), status.output, status.ended_at),
        (None, None, None)
    );

    assert!(world.pass(9 * SECOND).orders.is_empty(), "not before its time");
    let effects = world.pass(SECOND);
    assert_eq!(orders(&effects), ["east: assign 2"]);
    world.report(id, running());
    assert_eq!(world.seen[&id].message, "");
    let effects = world.report(id, ended(TerminalState::Finished));
    let told = effects.events.iter().find_map(|event| match &event.kind {
        EventKind::Job { status, .. } => Some(status.is_flaky()),
        _ => None,
    });
    let status = &world.seen[&id];
    assert_eq!(
        (status.state.as_str(), status.is_flaky(), told),
        ("finished", true, Some(true))
    );
    let tries: Vec<_> = status
        .tries()
        .iter()
        .map(|earlier| (earlier.epoch, earlier.state))
        .collect();
    assert_eq!(tries, [(Epoch(1), TerminalState::Failure)]);
}

#[test]
fn the_last_attempt_says_how_the_job_ends() {
    let (mut world, id) = failed_once(2);
    for (pause, epoch, state) in [(10, 2, TerminalState::Error), (20, 3, TerminalState::Failure)] {
        let session = world.session("east");
        world.done(Command::Heartbeat {
            cluster: cluster("east"),
            session,
        });
        world.pass(pause * SECOND);
        assert_eq!(world.attempt(id).epoch, Epoch(epoch));
        world.report(id, ended(state));
    }
    let status = &world.seen[&id];
    assert_eq!((status.state.as_str(), status.is_flaky()), ("failure", false));
    assert_eq!(
        (status.tries().len(), status.retry_at(), status.message.as_str()),
        (2, None, "")
    );
    assert!(world.control.builds().next().is_none(), "the build is over");
}

#[test]
fn only_the_ends_that_the_job_names_are_retried() {
    let named = StateSet::of(&[TerminalState::Unstable]);
    for (states, end, retried) in [
        (named, TerminalState::Unstable, true),
        (named, TerminalState::Failure, false),
        (named, TerminalState::Error, false),
        (named, TerminalState::Finished, false),
        (StateSet::of(&[TerminalState::Error]), TerminalState::Error, true),
        (StateSet::of(&[TerminalState::Error]), TerminalState::Failure, false),
    ] {
        let mut world = World::new();
        world.up("east", &[], 2);
        let (_, jobs) = world.submit(vec![job("a").retried_after(1, states)]);
        world.report(jobs[0], ended(end));
        assert_eq!(world.state(jobs[0]).terminal().is_none(), retried, "{end}");
    }
}

#[test]
fn what_comes_late_of_an_earlier_attempt_is_refused() {
    let (mut world, id) = failed_once(1);
    let first = world.attempt(id);
    let late = world.report_command("east", first, ended(TerminalState::Finished));
    assert!(world.apply(late).reply.is_err(), "while the next one is waited for");
    world.pass(10 * SECOND);
    let late = world.report_command("east", first, Phase::Ended(outcome(TerminalState::Finished)));
    assert!(world.apply(late).reply.is_err(), "and while it runs");
    assert_eq!(world.state(id).as_str(), "assigned");
}

#[test]
fn cancelling_ends_the_wait_for_good() {
    let (mut world, id) = failed_once(3);
    world.done(Command::CancelJob { job: id });
    let status = &world.seen[&id];
    assert_eq!(
        (status.state.as_str(), status.message.as_str(), status.retry_at()),
        ("killed", "cancelled", None)
    );
    assert!(world.pass(100 * SECOND).changes.is_empty());
}

#[test]
fn an_attempt_that_was_cancelled_is_not_followed_by_another() {
    let (mut world, id) = failed_once(3);
    world.pass(10 * SECOND);
    world.report(id, running());
    world.done(Command::CancelJob { job: id });
    world.report(id, ended(TerminalState::Failure));
    assert_eq!(world.state(id).as_str(), "killed");
}

#[test]
fn the_wait_survives_a_restart_and_goes_by_the_time_that_was_written() {
    let (mut world, id) = failed_once(1);
    world.advance(4 * SECOND);
    world.restart();
    world.hello("east", 2, &[]);
    assert!(world.pass(5 * SECOND).orders.is_empty());
    assert_eq!(orders(&world.pass(SECOND)), ["east: assign 2"]);
    assert_eq!(world.state(id).as_str(), "assigned");
    // What was due while no master was there is due at once.
    let (mut world, _) = failed_once(1);
    world.advance(1000 * SECOND);
    world.restart();
    world.hello("east", 2, &[]);
    assert_eq!(orders(&world.done(Command::Tick)), ["east: assign 2"]);
}

#[test]
fn a_child_waits_for_the_last_attempt() {
    let mut world = World::new();
    world.up("east", &[], 2);
    let always = job("always").after_when("build", StateSet::ALL);
    let (_, jobs) = world.submit(vec![job("build").retried(1), job("test").after("build"), always]);
    world.report(jobs[0], ended(TerminalState::Error));
    assert_eq!(world.states(&jobs), ["waiting", "waiting", "waiting"]);
    world.pass(10 * SECOND);
    world.report(jobs[0], ended(TerminalState::Finished));
    assert_eq!(world.states(&jobs), ["finished", "assigned", "assigned"]);
}

#[test]
fn an_attempt_that_the_system_lost_is_none_of_those_that_count() {
    let (mut world, id) = failed_once(1);
    world.pass(10 * SECOND);
    world.report(id, running());
    // Its cluster is gone for good: it is placed again, and may still fail once more than it could.
    world.up("west", &[], 2);
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    assert_eq!((world.attempt(id).epoch, world.seen[&id].tries().len()), (Epoch(3), 1));
    world.report(id, ended(TerminalState::Failure));
    assert_eq!(world.state(id).as_str(), "failure");
}

#[test]
fn a_job_with_a_lost_input_waits_for_that_when_its_pause_is_over() {
    let mut world = World::new();
    world.up("east", &["e"], 2);
    world.up("west", &["w"], 2);
    let (_, jobs) = world.submit(vec![
        job("build").on("e"),
        job("test").on("w").after("build").retried(1),
    ]);
    world.report(jobs[0], ended(TerminalState::Finished));
    world.report(jobs[1], running());
    world.report(jobs[1], ended(TerminalState::Failure));
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    world.up("north", &["e"], 2);
    world.pass(10 * SECOND);
    assert_eq!(
        world.states(&jobs),
        ["assigned", "waiting"],
        "the input is made again first"
    );
    assert_eq!(world.seen[&jobs[1]].retry_at(), None);
    world.report(jobs[0], ended(TerminalState::Finished));
    assert_eq!(world.states(&jobs), ["finished", "assigned"]);
}
