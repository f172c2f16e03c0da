//! Agents whose process ends for another one to take its place.

use std::time::Duration;

use proptest::prelude::*;

use super::super::testing::{World, cluster, job, running};
use super::super::{Caution, Command, Contact, Refusal, Settings};
use crate::build::extensions::OnDisconnect;
use crate::build::{JobSpec, JobState};
use crate::id::JobId;
use crate::time::Moment;

const SECOND: Duration = Duration::from_secs(1);

fn exclusive(name: &str) -> JobSpec {
    let mut job = job(name);
    job.extensions.get_or_insert_default().exclusive = true;
    job
}

fn replace(name: &str) -> JobSpec {
    let mut job = job(name);
    job.extensions.get_or_insert_default().on_disconnect = OnDisconnect::Replace;
    job
}

/// Three jobs that run on `east`: one that is exclusive, one that moves at the end of the lease, and one that says nothing.
fn running_in_the_east() -> (World, Vec<JobId>) {
    let mut world = World::new();
    world.up("east", &[], 4);
    let (_, jobs) = world.submit(vec![exclusive("a"), replace("b"), job("c")]);
    jobs.iter().for_each(|job| drop(world.report(*job, running())));
    world.up("west", &[], 4);
    (world, jobs)
}

fn hand_over(world: &mut World) {
    let (cluster, session) = (cluster("east"), world.session("east"));
    world.done(Command::HandOver { cluster, session });
}

fn leave(world: &mut World) {
    hand_over(world);
    let (cluster, session) = (cluster("east"), world.session("east"));
    world.done(Command::Disconnect { cluster, session });
}

/// Another process of the agent of `east`, with all that there was.
fn come_back(world: &mut World, jobs: &[JobId]) {
    let attempts: Vec<_> = jobs.iter().map(|job| (world.attempt(*job), running())).collect();
    world.hello("east", 4, &attempts);
}

/// Lets `west` alone be heard of, for so many seconds.
fn without_the_east(world: &mut World, seconds: u32) {
    for _ in 0..seconds {
        world.hello_again("west", 4);
        world.pass(SECOND);
    }
}

fn places(world: &World, jobs: &[JobId]) -> Vec<String> {
    jobs.iter().map(|job| world.cluster_of(*job)).collect()
}

fn is_handing_over(world: &World) -> bool {
    let east = world.live.clusters.iter().find(|other| other.name == cluster("east"));
    east.is_some_and(|east| east.is_handing_over)
}

#[test]
fn what_runs_goes_on_until_the_end_of_the_handover_lease() {
    let (mut world, jobs) = running_in_the_east();
    leave(&mut world);
    let east = world.control.cluster(&cluster("east")).unwrap();
    assert_eq!(east.contact, Contact::Away);
    assert_eq!(east.handing_over_until, Some(world.now.steady + 300 * SECOND));
    assert!(is_handing_over(&world), "it is durable");
    assert_eq!(
        world.control.waiting_reason(jobs[0]).unwrap(),
        "cluster `east` waits for another process of its agent; what runs goes on"
    );
    without_the_east(&mut world, 299);
    assert_eq!(places(&world, &jobs), ["east"; 3]);
    without_the_east(&mut world, 1);
    assert_eq!(places(&world, &jobs), ["west", "west", "east"]);
    assert!(!is_handing_over(&world));
    // From then on, what holds for a lost cluster.
    without_the_east(&mut world, 300);
    assert_eq!(places(&world, &jobs), ["west"; 3]);
}

#[test]
fn how_long_a_cluster_was_silent_is_counted_from_when_it_was_heard_of() {
    for (restarts, first, second) in [(false, 310, 610), (true, 300, 600)] {
        let (mut world, jobs) = running_in_the_east();
        if restarts {
            hand_over(&mut world);
            world.restart();
            world.hello_again("west", 4);
            without_the_east(&mut world, 300);
        } else {
            // Ten seconds pass between the last heartbeat and the request.
            without_the_east(&mut world, 10);
            leave(&mut world);
            without_the_east(&mut world, 300);
        }
        let message = |job: JobId| world.seen[&job].message.clone();
        let expected = |seconds: u32| format!("cluster `east` was not heard of for {seconds}s");
        assert!(message(jobs[1]).contains(&expected(first)), "{}", message(jobs[1]));
        without_the_east(&mut world, 300);
        let message = world.seen[&jobs[2]].message.clone();
        assert!(message.contains(&expected(second)), "{message}");
    }
}

#[test]
fn nothing_is_given_to_a_process_that_is_about_to_end() {
    let mut world = World::new();
    world.up("east", &[], 4);
    hand_over(&mut world);
    let (_, jobs) = world.submit(vec![job("a")]);
    assert_eq!(world.state(jobs[0]), JobState::Queued);
    come_back(&mut world, &[]);
    assert_eq!(places(&world, &jobs), ["east"]);
}

#[test]
fn a_process_that_does_not_end_is_given_jobs_again_when_the_lease_is_over() {
    let mut world = World::new();
    world.up("east", &[], 4);
    hand_over(&mut world);
    let (_, jobs) = world.submit(vec![job("a")]);
    for second in 0..300 {
        assert_eq!(world.state(jobs[0]), JobState::Queued, "after {second} s");
        let (cluster, session) = (cluster("east"), world.session("east"));
        world.done(Command::Heartbeat { cluster, session });
        world.pass(SECOND);
    }
    assert_eq!(places(&world, &jobs), ["east"]);
}

#[test]
fn an_ordinary_lease_follows_when_another_process_has_connected() {
    let (mut world, jobs) = running_in_the_east();
    leave(&mut world);
    without_the_east(&mut world, 20);
    come_back(&mut world, &jobs);
    let east = world.control.cluster(&cluster("east")).unwrap();
    assert_eq!((east.contact, east.handing_over_until), (Contact::Connected, None));
    without_the_east(&mut world, 30);
    let states = world.states(&jobs);
    assert_eq!(
        states,
        ["waiting", "assigned", "running"],
        "a supervisor may know of the longer lease"
    );
    without_the_east(&mut world, 249);
    assert_eq!(world.state(jobs[0]), JobState::Waiting);
    without_the_east(&mut world, 1);
    assert_eq!(world.cluster_of(jobs[0]), "west");
}

#[test]
fn heartbeats_do_not_shorten_it() {
    let (mut world, jobs) = running_in_the_east();
    hand_over(&mut world);
    world.pass(SECOND);
    let (east, session) = (cluster("east"), world.session("east"));
    world.done(Command::Heartbeat { cluster: east, session });
    without_the_east(&mut world, 298);
    assert_eq!(places(&world, &jobs), ["east"; 3]);
}

#[test]
fn one_that_is_asked_for_again_takes_the_place_of_the_one_before() {
    let (mut world, _) = running_in_the_east();
    hand_over(&mut world);
    let deadlines = world.control.deadlines.len();
    for _ in 0..20 {
        world.pass(SECOND);
        world.hello_again("west", 4);
        hand_over(&mut world);
        assert_eq!(world.control.deadlines.len(), deadlines, "none is left behind");
    }
    let until = world.control.cluster(&cluster("east")).unwrap().handing_over_until;
    assert_eq!(until, Some(world.now.steady + 300 * SECOND));
}

#[test]
fn a_master_that_restarts_counts_it_in_full() {
    let (mut world, jobs) = running_in_the_east();
    leave(&mut world);
    without_the_east(&mut world, 200);
    world.restart();
    without_the_east(&mut world, 299);
    assert_eq!(places(&world, &jobs), ["east"; 3]);
    without_the_east(&mut world, 1);
    assert_eq!(places(&world, &jobs), ["west", "west", "east"]);
    assert!(!is_handing_over(&world));
}

#[test]
fn the_exclusive_job_of_a_cluster_that_is_removed_meanwhile_waits_for_its_end() {
    let (mut world, jobs) = running_in_the_east();
    leave(&mut world);
    without_the_east(&mut world, 100);
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    assert_eq!(world.states(&jobs), ["waiting", "assigned", "assigned"]);
    without_the_east(&mut world, 199);
    assert_eq!(world.state(jobs[0]), JobState::Waiting);
    without_the_east(&mut world, 1);
    assert_eq!(world.cluster_of(jobs[0]), "west");
}

#[test]
fn it_is_refused_where_there_is_none() {
    let mut world = World::with(Settings {
        handover: Duration::ZERO,
        ..Settings::default()
    });
    world.up("east", &[], 4);
    let (cluster, session) = (cluster("east"), world.session("east"));
    let refusal = world.refused(Command::HandOver { cluster, session });
    assert!(matches!(refusal, Refusal::Unsupported(_)), "{refusal:?}");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Pass(u32),
    HandOver,
    Heartbeat,
    Disconnect,
    ComeBack,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u32..120).prop_map(Step::Pass),
        2 => Just(Step::HandOver),
        2 => Just(Step::Heartbeat),
        1 => Just(Step::Disconnect),
        2 => Just(Step::ComeBack),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    /// Whatever comes in whichever order: an exclusive command is given to nobody else before the last lease is over that its own cluster was granted.
    #[test]
    fn an_exclusive_command_is_never_given_away_before_its_last_lease_is_over(steps in prop::collection::vec(step(), 1..30)) {
        let (mut world, jobs) = running_in_the_east();
        let attempt = world.attempt(jobs[0]);
        let Settings { lease, handover, .. } = *world.control.settings();
        let mut acts_until: Moment = world.now.steady + lease;
        let mut connected = true;
        for step in steps {
            match step {
                Step::Pass(seconds) => {
                    for _ in 0..seconds {
                        without_the_east(&mut world, 1);
                        if world.attempt(jobs[0]) != attempt || world.state(jobs[0]) != JobState::Running {
                            break;
                        }
                    }
                }
                Step::HandOver if connected => {
                    hand_over(&mut world);
                    acts_until = acts_until.max(world.now.steady + handover);
                }
                Step::Heartbeat if connected => {
                    let (cluster, session) = (cluster("east"), world.session("east"));
                    world.done(Command::Heartbeat { cluster, session });
                    acts_until = acts_until.max(world.now.steady + lease);
                }
                Step::Disconnect if connected => {
                    let (cluster, session) = (cluster("east"), world.session("east"));
                    world.done(Command::Disconnect { cluster, session });
                    connected = false;
                }
                Step::ComeBack => {
                    // Supervisors are told of the new lease if their attempt counts.
                    come_back(&mut world, &jobs);
                    acts_until = acts_until.max(world.now.steady + lease);
                    connected = true;
                }
                Step::Restart => {
                    world.restart();
                    connected = false;
                }
                _ => {}
            }
            let is_elsewhere = world.attempt(jobs[0]) != attempt;
            if is_elsewhere {
                prop_assert!(world.now.steady >= acts_until, "at {:?}, acts until {acts_until:?}", world.now.steady);
            }
            if is_elsewhere || world.state(jobs[0]) != JobState::Running {
                // It was taken away, and will be given to another one: not before the end of the last lease that counted for it.
                while world.attempt(jobs[0]) == attempt {
                    without_the_east(&mut world, 1);
                    prop_assert!(world.now.steady < acts_until + 400 * SECOND, "it is given to somebody");
                }
                prop_assert!(world.now.steady >= acts_until, "at {:?}, acts until {acts_until:?}", world.now.steady);
                break;
            }
        }
    }
}
