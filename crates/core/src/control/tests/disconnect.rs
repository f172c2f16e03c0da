//! What becomes of attempts whose cluster is not heard of, as their jobs say.

use std::time::Duration;

use super::super::testing::{World, cluster, job, orders, outcome, running};
use super::super::{Caution, Command, Present, Standing};
use crate::attempt::{Outcome, Phase};
use crate::build::TerminalState::{Error, Finished, Killed};
use crate::build::extensions::OnDisconnect;
use crate::build::{JobSpec, JobState};
use crate::id::{AttemptId, Epoch, JobId};
use crate::placement::Availability;
use crate::time::Timestamp;

const SECOND: Duration = Duration::from_secs(1);

fn exclusive(name: &str) -> JobSpec {
    let mut job = job(name);
    job.extensions.get_or_insert_default().exclusive = true;
    job
}

fn on_disconnect(name: &str, what: OnDisconnect) -> JobSpec {
    let mut job = job(name);
    job.extensions.get_or_insert_default().on_disconnect = what;
    job
}

/// Jobs that run on `east`, which is connected.
fn running_in_the_east(jobs: Vec<JobSpec>) -> (World, Vec<JobId>) {
    let mut world = World::new();
    world.up("east", &[], 4);
    let (_, jobs) = world.submit(jobs);
    for job in &jobs {
        world.report(*job, running());
    }
    (world, jobs)
}

/// Lets `west` alone be heard of, for so many seconds.
fn without_the_east(world: &mut World, seconds: u32) {
    for _ in 0..seconds {
        world.hello_again("west", 4);
        world.pass(SECOND);
    }
}

#[test]
fn at_the_end_of_the_lease_those_move_that_say_so() {
    let (mut world, jobs) = running_in_the_east(vec![
        job("later"),
        on_disconnect("replace", OnDisconnect::Replace),
        on_disconnect("wait", OnDisconnect::Wait),
        exclusive("exclusive"),
    ]);
    world.up("west", &[], 4);
    without_the_east(&mut world, 29);
    assert_eq!(world.states(&jobs), ["running"; 4]);
    without_the_east(&mut world, 1);
    assert_eq!(world.states(&jobs), ["running", "assigned", "running", "assigned"]);
    assert_eq!([world.cluster_of(jobs[1]), world.cluster_of(jobs[3])], ["west", "west"]);

    without_the_east(&mut world, 300);
    assert_eq!(world.states(&jobs), ["assigned", "assigned", "running", "assigned"]);
    without_the_east(&mut world, 3600);
    assert_eq!(
        (world.state(jobs[2]), world.cluster_of(jobs[2])),
        (JobState::Running, "east".to_owned())
    );
    assert_eq!(
        world.control.waiting_reason(jobs[2]).unwrap(),
        "cluster `east` is not heard of; the job waits for it (`on_disconnect: wait`)"
    );

    let attempt = world.attempt(jobs[2]);
    world.hello("east", 4, &[(attempt, running())]);
    assert_eq!(world.control.waiting_reason(jobs[2]), None);
    world.report(jobs[2], Phase::Ended(outcome(Finished)));
    assert_eq!(world.states(&jobs[2..3]), ["finished"], "its first attempt counts");
    assert_eq!(attempt.epoch, Epoch(1));
}

#[test]
fn one_that_waits_for_a_lost_cluster_can_be_cancelled_and_goes_with_it() {
    let (mut world, jobs) =
        running_in_the_east(["a", "b"].map(|name| on_disconnect(name, OnDisconnect::Wait)).to_vec());
    world.up("west", &[], 4);
    without_the_east(&mut world, 400);
    world.done(Command::CancelJob { job: jobs[0] });
    assert_eq!(world.states(&jobs), ["killed", "running"]);
    assert!(world.seen[&jobs[0]].message.contains("cluster `east` is lost"));
    let stale = (world.attempt(jobs[0]), running());
    assert_eq!(
        orders(&world.hello("east", 4, &[stale, (world.attempt(jobs[1]), running())])),
        ["east: forget 1"]
    );
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    assert_eq!(
        (world.states(&jobs[1..]), world.cluster_of(jobs[1])),
        (vec!["assigned".to_owned()], "west".to_owned())
    );
}

#[test]
fn one_that_was_cancelled_is_not_waited_for() {
    let (mut world, jobs) = running_in_the_east(vec![on_disconnect("a", OnDisconnect::Wait)]);
    world.done(Command::CancelJob { job: jobs[0] });
    world.pass(30 * SECOND);
    assert_eq!(world.state(jobs[0]), JobState::Running);
    world.pass(300 * SECOND);
    assert_eq!(world.state(jobs[0]), JobState::Terminal(Killed));
}

#[test]
fn a_command_that_was_stopped_at_the_end_of_a_lease_is_placed_again_at_once() {
    let (mut world, jobs) = running_in_the_east(vec![exclusive("a")]);
    let stopped = Outcome {
        lease_ended: true,
        ..outcome(Error)
    };
    let effects = world.report(jobs[0], Phase::Ended(stopped));
    assert_eq!(orders(&effects), ["east: forget 1", "east: assign 2"]);
    assert_eq!(world.seen[&jobs[0]].replacements, 1);
}

#[test]
fn a_command_that_went_with_its_machine_is_placed_again_and_not_started_again() {
    // The master may not have heard before that the cluster had it.
    for heard in [true, false] {
        let mut world = World::new();
        world.up("east", &[], 4);
        let (_, jobs) = world.submit(vec![exclusive("a")]);
        if heard {
            world.report(jobs[0], running());
        }
        let lost = Outcome {
            lost: true,
            ..outcome(Error)
        };
        let effects = world.hello("east", 4, &[(world.attempt(jobs[0]), Phase::Ended(lost))]);
        assert_eq!(orders(&effects), ["east: forget 1", "east: assign 2"], "{heard}");
        assert_eq!(world.seen[&jobs[0]].replacements, 1);
        assert!(world.seen[&jobs[0]].message.contains("ended with its machine"));
        let [replaced] = world.seen[&jobs[0]].replaced() else {
            panic!("{:?}", world.seen[&jobs[0]])
        };
        assert_eq!((replaced.epoch, replaced.log_lines), (Epoch(1), Some(3)));
        assert!(replaced.reason.contains("ended with its machine"), "{replaced:?}");
        let east = cluster("east");
        let lost = AttemptId {
            job: jobs[0],
            epoch: Epoch(1),
        };
        assert_eq!(world.control.standing(&east, lost), Some(Standing::Replaced(3)));
        let west = world.control.standing(&cluster("west"), lost);
        assert_eq!(west, Some(Standing::None), "it was not there");
        world.report(jobs[0], running());
        let status = &world.seen[&jobs[0]];
        assert_eq!(
            (status.message.as_str(), status.replaced().len()),
            ("", 1),
            "it is still known"
        );
        world.restart();
        assert_eq!(world.control.standing(&east, lost), Some(Standing::Replaced(3)));
    }
}

#[test]
fn an_exclusive_job_that_is_taken_away_waits_until_its_command_is_stopped() {
    for disable in [true, false] {
        let (mut world, jobs) = running_in_the_east(vec![exclusive("a"), job("b")]);
        world.up("west", &[], 4);
        world.pass(10 * SECOND);
        world.hello_again("west", 4);
        let name = cluster("east");
        world.done(match disable {
            true => Command::SetAvailability {
                name,
                availability: Availability::Disabled,
                present: Present::Move,
            },
            false => Command::RemoveCluster {
                name,
                caution: Caution::None,
            },
        });
        assert_eq!(world.states(&jobs), ["waiting", "assigned"]);
        assert!(world.seen[&jobs[0]].message.contains("it is `exclusive`"));
        without_the_east(&mut world, 19);
        assert_eq!(world.states(&jobs[..1]), ["waiting"]);
        without_the_east(&mut world, 1);
        assert_eq!(
            (world.states(&jobs[..1]), world.cluster_of(jobs[0])),
            (vec!["assigned".to_owned()], "west".to_owned())
        );
    }
}

#[test]
fn a_master_that_starts_waits_for_the_longest_lease_that_there_may_be() {
    let (mut world, jobs) = running_in_the_east(vec![exclusive("a")]);
    world.up("west", &[], 4);
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    without_the_east(&mut world, 20);
    // Its calendar is ahead.
    world.now.wall = Timestamp(world.now.wall.0 + 3_600_000);
    world.restart();
    without_the_east(&mut world, 299);
    assert_eq!(world.states(&jobs), ["waiting"]);
    without_the_east(&mut world, 1);
    assert_eq!(
        (world.states(&jobs), world.cluster_of(jobs[0])),
        (vec!["assigned".to_owned()], "west".to_owned())
    );
}

#[test]
fn an_exclusive_job_is_not_moved_by_a_drain() {
    let (mut world, jobs) = running_in_the_east(vec![job("b")]);
    let (_, more) = world.submit(vec![exclusive("a"), job("c")]);
    world.up("west", &[], 4);
    world.done(Command::SetAvailability {
        name: cluster("east"),
        availability: Availability::Draining,
        present: Present::Move,
    });
    assert_eq!(
        (world.states(&more), world.cluster_of(more[0])),
        (vec!["assigned".to_owned(); 2], "east".to_owned())
    );
    assert_eq!([world.cluster_of(more[1]), world.cluster_of(jobs[0])], ["west", "west"]);
}
