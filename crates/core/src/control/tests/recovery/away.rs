//! Clusters that are away for a while or for good, and recoveries that nobody waits for any more.

use std::time::Duration;

use super::super::super::Command;
use super::super::super::testing::{World, cluster, ended, job, orders};
use super::{leaves, misses, placed, removed};
use crate::attempt::Phase;
use crate::build::TerminalState::{Finished, Killed};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_cluster_that_is_away_is_waited_for() {
    let (mut world, jobs) = placed();
    let session = world.session("east");
    world.done(Command::Disconnect {
        cluster: cluster("east"),
        session,
    });
    world.report(jobs[1], misses(jobs[0], 1, &[], &["east"]));
    assert_eq!(world.states(&jobs), ["finished", "waiting", "assigned"]);
    let words = "it waits for cluster `east` to connect, which has the output of its parent `a`";
    assert_eq!(world.message(jobs[1]), words);
    assert_eq!(world.control.explain(jobs[1]).unwrap().summary, words);
    world.restart();
    world.hello("west", 2, &[(world.attempt(jobs[2]), Phase::Accepted)]);
    assert_eq!(world.states(&jobs[1..2]), ["waiting"]);
    world.hello("east", 1, &[]);
    assert_eq!(world.states(&jobs[1..2]), ["assigned"]);
    assert_eq!(world.seen[&jobs[1]].replacements, 1);
}

#[test]
fn a_late_heartbeat_is_enough_for_those_who_wait() {
    let (mut world, jobs) = placed();
    let heartbeat = |world: &mut World, name: &str| {
        let (cluster, session) = (cluster(name), world.session(name));
        world.done(Command::Heartbeat { cluster, session })
    };
    world.pass(20 * SECOND);
    heartbeat(&mut world, "west");
    world.pass(20 * SECOND);
    world.report(jobs[1], misses(jobs[0], 1, &[], &["east"]));
    assert_eq!(world.states(&jobs[1..2]), ["waiting"]);
    heartbeat(&mut world, "east");
    assert!(world.control.next_deadline().unwrap() <= world.now.steady);
    world.done(Command::Tick);
    assert_eq!(world.states(&jobs[1..2]), ["assigned"]);
    assert!(world.control.next_deadline().unwrap() > world.now.steady);
}

#[test]
fn a_cluster_that_does_not_come_back_is_lost_with_what_it_had() {
    // Whether another cluster may run the parent.
    for elsewhere in [true, false] {
        let mut world = World::new();
        world.up("east", &["AWS"], 1);
        world.up("west", &["GCP"], 1);
        let parent = if elsewhere {
            job("a").preferring("east")
        } else {
            job("a").on("AWS")
        };
        let (_, jobs) = world.submit(vec![parent, job("b").after("a").on("GCP")]);
        world.report(jobs[0], leaves(1));
        for _ in 0..32 {
            world.pass(10 * SECOND);
            let (cluster, session) = (cluster("west"), world.session("west"));
            world.done(Command::Heartbeat { cluster, session });
        }
        world.report(jobs[1], Phase::Preparing);
        world.report(jobs[1], misses(jobs[0], 1, &[], &["east"]));
        assert_eq!(world.shown(&jobs), ["finished", "waiting"]);
        world.pass(10 * SECOND);
        if elsewhere {
            assert_eq!(
                (world.cluster_of(jobs[0]), world.shown(&jobs)),
                ("west".to_owned(), vec!["finished".to_owned(), "waiting".to_owned()])
            );
            world.report(jobs[0], leaves(2));
            assert_eq!(world.states(&jobs), ["finished", "assigned"]);
            // What east still has is of no interest any more.
            world.hello("east", 1, &[]);
            assert_eq!(world.sources(jobs[1]), ["west"]);
        } else {
            assert_eq!(world.states(&jobs), ["finished", "error"]);
            let expected = "the output of its parent `a` is lost: cluster `east`, which had it, was not heard of for 330s; no other \
                            cluster is there that may run the job again";
            assert_eq!(world.message(jobs[1]), expected);
        }
    }
}

#[test]
fn a_job_that_only_the_lost_cluster_may_run_waits_for_it() {
    let mut world = World::new();
    world.up("east", &["AWS"], 1);
    let (_, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("b").after("a").on("AWS"),
        job("c").after("a").on("AWS"),
    ]);
    world.report(jobs[0], leaves(1));
    world.pass(30 * SECOND);
    world.pass(300 * SECOND);
    assert_eq!(world.states(&jobs), ["finished", "queued", "queued"]);
    world.hello("east", 1, &[]);
    assert_eq!(
        world.states(&jobs),
        ["finished", "assigned", "queued"],
        "the output was there all the time"
    );
}

#[test]
fn cancelling_a_build_stops_what_is_made_again() {
    for accepted in [false, true] {
        let (mut world, jobs) = removed();
        if accepted {
            world.report(jobs[2], ended(Finished));
        }
        let build = world.control.job(jobs[0]).unwrap().build.id;
        let effects = world.done(Command::CancelBuild {
            build,
            extent: Default::default(),
        });
        assert_eq!(world.shown(&jobs[..2]), ["finished", "killed"]);
        if accepted {
            assert_eq!(orders(&effects)[0], "west: stop 2");
            world.report(jobs[0], ended(Killed));
        }
        assert_eq!(world.states(&jobs[..2]), ["finished", "killed"]);
        let status = &world.seen[&jobs[0]];
        assert!(!status.cancel_requested && status.output_lost().is_some());
        assert!(world.control.build(build).is_none(), "it is over");
    }
}

#[test]
fn a_recovery_that_nobody_needs_is_stopped() {
    for accepted in [false, true] {
        let (mut world, jobs) = removed();
        if accepted {
            world.report(jobs[2], ended(Finished));
        }
        let effects = world.done(Command::CancelJob { job: jobs[1] });
        assert_eq!(world.shown(&jobs[..2]), ["finished", "killed"]);
        if accepted {
            assert_eq!(orders(&effects)[0], "west: stop 2");
            // It had ended before it heard that: then the output is there.
            world.report(jobs[0], leaves(2));
            assert_eq!(world.seen[&jobs[0]].output_lost(), None);
        }
        assert_eq!(world.states(&jobs[..2]), ["finished", "killed"]);
    }
}
