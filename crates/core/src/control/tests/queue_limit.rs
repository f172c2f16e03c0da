//! Jobs that wait for a cluster only so long.

use std::time::Duration;

use super::super::testing::{World, cluster, ended, job, running};
use super::super::{Caution, Command};
use crate::build::TerminalState;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_job_that_finds_no_cluster_in_its_time_ends_as_error_and_says_why() {
    let mut world = World::new();
    world.up("east", &["AWS"], 1);
    let (_, jobs) = world.submit(vec![job("late").found_within(90).on("GCP"), job("other").on("GCP")]);
    world.pass(89 * SECOND);
    assert_eq!(world.states(&jobs), ["queued", "queued"]);
    world.pass(SECOND);
    assert_eq!(world.states(&jobs), ["error", "queued"], "only those that say so");
    let message = &world.seen[&jobs[0]].message;
    let expected = "it found no cluster within 1m30s (`timeouts.queue`): no cluster can run it; the nearest is `east`";
    assert!(message.starts_with(expected), "{message}");
    let advice =
        "; to have it fit on cluster `east`: leave `GCP` out of its selector, or `tombolo cluster label east GCP`";
    assert!(message.contains(advice), "{message}");
}

#[test]
fn only_the_wait_counts_and_each_wait_for_itself() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let (_, jobs) = world.submit(vec![job("a").found_within(60)]);
    world.report(jobs[0], running());
    for _ in 0..10 {
        let session = world.session("east");
        world.done(Command::Heartbeat {
            cluster: cluster("east"),
            session,
        });
        world.pass(10 * SECOND);
    }
    assert_eq!(world.states(&jobs), ["running"]);
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    world.pass(59 * SECOND);
    assert_eq!(world.states(&jobs), ["queued"], "placed again, it waits anew");
    world.pass(SECOND);
    assert_eq!(world.states(&jobs), ["error"]);
}

#[test]
fn the_time_goes_on_while_no_master_is_there() {
    let mut world = World::new();
    let (_, jobs) = world.submit(vec![job("a").found_within(60), job("b").found_within(60)]);
    world.advance(59 * SECOND);
    world.restart();
    world.pass(SECOND / 2);
    assert_eq!(world.states(&jobs), ["queued", "queued"]);
    world.pass(SECOND / 2);
    assert_eq!(world.states(&jobs), ["error", "error"]);
}

#[test]
fn a_job_that_makes_its_output_again_is_not_limited_and_stays_as_it_ended() {
    let mut world = World::new();
    world.up("east", &["AWS"], 1);
    world.up("west", &["GCP"], 1);
    let parent = job("a").preferring("east").found_within(60);
    let (_, jobs) = world.submit(vec![parent, job("b").after("a").on("GCP")]);
    let (_, other) = world.submit(vec![job("other").on("GCP")]);
    world.report(jobs[0], ended(TerminalState::Finished));
    let course = world.seen[&jobs[0]].course.clone();
    world.report(other[0], running());
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    for _ in 0..10 {
        let session = world.session("west");
        world.done(Command::Heartbeat {
            cluster: cluster("west"),
            session,
        });
        world.pass(10 * SECOND);
    }
    assert_eq!(
        world.states(&jobs),
        ["queued", "waiting"],
        "its output is still to be made again"
    );
    let mut status = world.seen[&jobs[0]].clone();
    if let Some(course) = &mut status.course {
        assert!(std::mem::take(&mut course.cluster_removed), "until it has another one");
    }
    assert_eq!((status.ended(), status.course), (Some(TerminalState::Finished), course));
}

#[test]
fn a_child_of_one_that_found_no_cluster_is_skipped() {
    let mut world = World::new();
    let (_, jobs) = world.submit(vec![job("a").found_within(1), job("b").after("a")]);
    world.pass(SECOND);
    assert_eq!(world.states(&jobs), ["error", "skipped"]);
    world.up("east", &[], 1);
    let (_, jobs) = world.submit(vec![job("a").found_within(1)]);
    world.report(jobs[0], ended(TerminalState::Finished));
    world.pass(SECOND);
    assert_eq!(world.states(&jobs), ["finished"]);
}
