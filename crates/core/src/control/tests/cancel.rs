//! Cancel is final.

use std::time::Duration;

use super::super::testing::{World, ended, job, orders, running};
use super::super::{Command, Refusal, Reply};
use crate::attempt::Phase;
use crate::build::StateSet;
use crate::build::TerminalState::{Failure, Finished, Killed};

#[test]
fn what_no_cluster_has_ends_at_once() {
    let mut world = World::new();
    let (_, jobs) = world.submit(vec![
        job("a"),
        job("b").after("a"),
        job("c").after_when("a", StateSet::of(&[Killed])),
    ]);
    world.done(Command::CancelJob { job: jobs[1] });
    assert_eq!(world.states(&jobs), ["queued", "killed", "waiting"]);
    world.done(Command::CancelJob { job: jobs[0] });
    assert_eq!(
        world.states(&jobs),
        ["killed", "killed", "queued"],
        "a child may be there for this very case"
    );
    world.up("east", &[], 4);
    assert_eq!(world.states(&jobs), ["killed", "killed", "assigned"]);
}

#[test]
fn what_a_cluster_has_is_stopped_there() {
    for outcome in [Finished, Failure, Killed] {
        for phase in [Phase::Accepted, Phase::Preparing, running(), Phase::Publishing] {
            let mut world = World::new();
            world.up("east", &[], 1);
            let (_, jobs) = world.submit(vec![job("a"), job("b").after("a")]);
            world.report(jobs[0], phase);
            let effects = world.done(Command::CancelJob { job: jobs[0] });
            assert_eq!(orders(&effects), ["east: stop 1"]);
            assert!(world.seen[&jobs[0]].cancel_requested && world.state(jobs[0]).terminal().is_none());
            let again = world.done(Command::CancelJob { job: jobs[0] });
            assert!(again.orders.is_empty() && again.changes.is_empty());
            world.report(jobs[0], ended(outcome));
            assert_eq!(world.states(&jobs), ["killed", "skipped"]);
        }
    }
}

#[test]
fn an_end_that_was_there_first_stays() {
    let mut world = World::new();
    world.up("east", &[], 2);
    let (_, jobs) = world.submit(vec![job("a"), job("b")]);
    world.report(jobs[0], ended(Finished));
    let effects = world.done(Command::CancelJob { job: jobs[0] });
    assert!(effects.changes.is_empty() && effects.orders.is_empty());
    assert_eq!(world.states(&jobs), ["finished", "assigned"]);
}

#[test]
fn a_cancelled_build_starts_nothing_more() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let (build, jobs) = world.submit(vec![
        job("a"),
        job("b"),
        job("c").after_when("b", StateSet::ALL),
        job("d").after_when("a", StateSet::ALL),
    ]);
    world.done(Command::CancelBuild {
        build,
        extent: Default::default(),
    });
    assert_eq!(world.states(&jobs), ["assigned", "killed", "killed", "killed"]);
    world.report(jobs[0], ended(Finished));
    assert_eq!(world.states(&jobs[..1]), ["killed"]);
    assert_eq!(world.control.builds().count(), 0);
    for (command, kind) in [
        (
            Command::CancelBuild {
                build,
                extent: Default::default(),
            },
            "build",
        ),
        (Command::CancelJob { job: jobs[0] }, "job"),
    ] {
        assert!(matches!(world.refused(command), Refusal::NotFound { kind: found, .. } if found == kind));
    }
}

#[test]
fn what_waits_is_cancelled_without_what_runs() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let (build, jobs) = world.submit(vec![
        job("runs"),
        job("queued"),
        job("child").after("runs"),
        job("cleanup").after_when("queued", StateSet::of(&[Finished])),
    ]);
    let (other, others) = world.submit(vec![job("other")]);
    let effects = world.done(Command::CancelQueued { build });
    assert_eq!(effects.reply.unwrap(), Reply::Cancelled(3));
    assert!(effects.orders.is_empty(), "nothing that runs is stopped");
    assert_eq!(world.states(&jobs), ["assigned", "killed", "killed", "killed"]);
    assert_eq!(world.states(&others), ["queued"], "of other builds nothing is");
    let again = world.done(Command::CancelQueued { build });
    assert_eq!((again.reply.unwrap(), again.changes.len()), (Reply::Cancelled(0), 0));
    world.report(jobs[0], ended(Finished));
    assert_eq!(world.states(&jobs[..1]), ["finished"]);
    assert!(matches!(
        world.refused(Command::CancelQueued { build }),
        Refusal::NotFound { kind: "build", .. }
    ));
    world.report(others[0], ended(Finished));
    assert!(world.control.build(other).is_none());
}

#[test]
fn a_stop_is_repeated_when_the_agent_comes_back() {
    let mut world = World::new();
    world.up("east", &[], 2);
    let (_, jobs) = world.submit(vec![job("a"), job("b")]);
    let attempts = [world.attempt(jobs[0]), world.attempt(jobs[1])];
    world.report(jobs[0], running());
    for job in &jobs {
        world.done(Command::CancelJob { job: *job });
    }
    let effects = world.hello("east", 2, &[(attempts[0], running())]);
    assert_eq!(orders(&effects), ["east: stop 1", "east: forget 1"]);
    assert_eq!(world.states(&jobs), ["running", "killed"], "what it never had is over");
}

#[test]
fn a_cancelled_job_is_not_replaced() {
    for (phase, until) in [(Phase::Preparing, 30), (running(), 330)] {
        let mut world = World::new();
        world.up("east", &[], 1);
        let (_, jobs) = world.submit(vec![job("a")]);
        world.report(jobs[0], phase);
        world.done(Command::CancelJob { job: jobs[0] });
        world.pass(Duration::from_secs(30));
        world.pass(Duration::from_secs(until - 30));
        assert_eq!(world.states(&jobs), ["killed"]);
    }
}
