//! Array jobs: one node, many attempts.

mod again;
mod inputs;

use std::time::Duration;

use super::super::testing::{World, cluster, ended, hello, job, orders, outcome, running};
use super::super::{Caution, Change, Command, EventKind, Extent, Generated, Reply, Settings};
use crate::attempt::{GeneratedFile, Phase};
use crate::build::{JobState, TerminalState};
use crate::id::JobId;
use crate::session::Order;
use TerminalState::{Error, Failure, Finished, Killed};

fn world(slots: u32) -> World {
    let mut world = World::new();
    world.up("east", &[], slots);
    world
}

/// The indexes of the array that a cluster has, in order.
fn held(world: &World, array: JobId) -> Vec<u32> {
    let statuses = world.live.indexes.iter().filter(|status| {
        let held = matches!(
            status.state,
            JobState::Assigned | JobState::Preparing | JobState::Running
        );
        held && status.id.specified_by() == array
    });
    statuses
        .filter_map(|status| Some(status.id.array_and_index()?.1))
        .collect()
}

fn counts(world: &World, array: JobId) -> String {
    let counts = world.control.counts(array).unwrap();
    let counts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    counts.join(", ")
}

#[test]
fn indexes_run_and_the_array_ends_with_the_last() {
    let mut world = world(2);
    let (_, jobs) = world.submit(vec![job("sim").times(4), job("after").after("sim")]);
    assert_eq!(held(&world, jobs[0]), [0, 1]);
    assert_eq!(counts(&world, jobs[0]), "2 queued, 2 assigned");
    assert_eq!(world.states(&jobs), ["running", "waiting"]);
    for index in [1, 0, 2] {
        world.report(jobs[0].of_index(index), ended(Finished));
    }
    assert_eq!(world.states(&jobs), ["running", "waiting"]);
    world.report(jobs[0].of_index(3), ended(Finished));
    assert_eq!(world.states(&jobs), ["finished", "assigned"]);
    assert_eq!(world.seen[&jobs[0].of_index(3)].epoch.0, 1);
}

#[test]
fn what_has_not_begun_is_neither_in_memory_nor_written() {
    let mut world = world(2);
    let (build, jobs) = world.submit(vec![job("sim").times(100_000)]);
    // Two that were placed, and the one that stands for all others.
    assert_eq!(world.live.indexes.len(), 3);
    let live = world.control.builds.get(build).unwrap();
    assert_eq!(live.all().count(), 4);
    assert_eq!(counts(&world, jobs[0]), "99998 queued, 2 assigned");
    assert_eq!(world.control.builds.job_count(), 100_001);
    let effects = world.report(jobs[0].of_index(0), ended(Finished));
    let written = effects
        .changes
        .iter()
        .filter(|change| matches!(change, Change::PutJob(_)));
    assert_eq!(
        written.count(),
        3,
        "the one that ended, the one that was placed, and the next in the queue"
    );
}

#[test]
fn no_more_run_at_once_than_the_array_says() {
    let mut world = world(8);
    let (_, jobs) = world.submit(vec![job("sim").times_at_once(6, Some(2)), job("other")]);
    assert_eq!(held(&world, jobs[0]), [0, 1]);
    assert_eq!(world.state(jobs[1]), JobState::Assigned);
    let explained = world.control.explain(jobs[0].of_index(4)).unwrap();
    assert_eq!(
        explained.summary,
        "as many have begun and are not over as may be at once (2, `parallel`)"
    );
    assert!(explained.limit.is_some());
    let explained = world.control.explain(jobs[0]).unwrap();
    assert!(
        explained
            .summary
            .starts_with("of its 6 indexes, 4 queued, 2 assigned; as many have begun"),
        "{explained:?}"
    );
    world.report(jobs[0].of_index(1), ended(Failure));
    assert_eq!(held(&world, jobs[0]), [0, 2]);
    world.restart();
    world.hello_again("east", 8);
    world.report(jobs[0].of_index(0), ended(Finished));
    assert_eq!(held(&world, jobs[0]), [2, 3]);
}

#[test]
fn an_array_ends_as_the_worst_of_its_indexes() {
    for (ends, state, message) in [
        ([Finished, Finished, Finished], Finished, ""),
        (
            [Finished, Failure, Finished],
            Failure,
            "index 1 of 3 ended as `failure`",
        ),
        (
            [Failure, Finished, Failure],
            Failure,
            "2 of 3 indexes ended as `failure`, the first of them 0",
        ),
        ([Failure, Finished, Error], Error, "index 2 of 3 ended as `error`"),
    ] {
        let mut world = world(3);
        let (_, jobs) = world.submit(vec![job("sim").times(3), job("after").after("sim")]);
        for (index, end) in (0..).zip(ends) {
            world.report(jobs[0].of_index(index), ended(end));
        }
        assert_eq!(world.seen[&jobs[0]].state, JobState::Terminal(state));
        assert_eq!(world.seen[&jobs[0]].message, message);
        let after = if state == Finished { "assigned" } else { "skipped" };
        assert_eq!(world.states(&jobs[1..]), [after]);
    }
}

#[test]
fn each_index_is_retried_and_replaced_by_itself() {
    let mut world = world(2);
    let (_, jobs) = world.submit(vec![job("sim").times(3).retried(1)]);
    world.report(jobs[0].of_index(0), ended(Failure));
    assert_eq!(world.state(jobs[0].of_index(0)), JobState::Waiting);
    assert_eq!(held(&world, jobs[0]), [1, 2], "another one runs meanwhile");
    world.restart();
    world.hello_again("east", 2);
    world.report(jobs[0].of_index(2), ended(Finished));
    world.pass(Duration::from_secs(11));
    let again = world.attempt(jobs[0].of_index(0));
    assert_eq!((again.epoch.0, world.state(again.job)), (2, JobState::Assigned));
    // What the first attempt still says does not count.
    let stale = crate::id::AttemptId {
        epoch: crate::id::Epoch(1),
        ..again
    };
    let effects = world.apply(world.report_command("east", stale, ended(Finished)));
    assert!(effects.reply.is_err());
    assert_eq!(orders(&effects), ["east: forget 1"]);
    world.report(again.job, ended(Finished));
    // The system loses an attempt: the index is placed again.
    world.report(jobs[0].of_index(1), running());
    world.hello("east", 2, &[]);
    let replaced = &world.seen[&jobs[0].of_index(1)];
    assert_eq!((replaced.epoch.0, replaced.replacements), (2, 1));
    world.report(jobs[0].of_index(1), ended(Finished));
    assert_eq!(world.states(&jobs), ["finished"]);
}

#[test]
fn a_cancelled_array_ends_without_what_has_not_begun() {
    let mut world = world(2);
    let (_, jobs) = world.submit(vec![job("sim").times(1000), job("after").after("sim")]);
    let effects = world.done(Command::CancelJob { job: jobs[0] });
    assert_eq!(orders(&effects), ["east: stop 1", "east: stop 1"]);
    assert_eq!(counts(&world, jobs[0]), "2 assigned, 998 killed");
    assert_eq!(world.states(&jobs), ["running", "waiting"]);
    world.restart();
    world.hello_again("east", 2);
    for index in 0..2 {
        world.report(jobs[0].of_index(index), ended(Killed));
    }
    assert_eq!(world.states(&jobs), ["killed", "skipped"]);
    assert_eq!(world.seen[&jobs[0]].message, "cancelled");
    assert_eq!(world.live.indexes.len(), 0, "the build is over");
}

#[test]
fn what_waits_of_an_array_is_cancelled_without_what_runs() {
    let mut world = world(2);
    let (build, jobs) = world.submit(vec![
        job("sim").times(1000),
        job("next").times(5).after("sim"),
        job("last").after("sim"),
    ]);
    let effects = world.done(Command::CancelQueued { build });
    assert_eq!(effects.reply, Ok(Reply::Cancelled(998 + 5 + 1)));
    assert!(effects.orders.is_empty());
    assert_eq!(counts(&world, jobs[0]), "2 assigned, 998 killed");
    assert_eq!(world.states(&jobs), ["running", "killed", "killed"]);
    world.restart();
    world.hello_again("east", 2);
    for index in 0..2 {
        world.report(jobs[0].of_index(index), ended(Finished));
    }
    assert_eq!(world.states(&jobs[..1]), ["killed"]);
    assert_eq!(world.live.indexes.len(), 0, "the build is over");
}

#[test]
fn one_index_is_cancelled_whether_it_has_begun_or_not() {
    let mut world = world(1);
    let (_, jobs) = world.submit(vec![job("sim").times(4)]);
    for index in [3, 1] {
        world.done(Command::CancelJob {
            job: jobs[0].of_index(index),
        });
    }
    assert_eq!(counts(&world, jobs[0]), "1 queued, 1 assigned, 2 killed");
    world.done(Command::CancelJob {
        job: jobs[0].of_index(3),
    });
    assert!(
        world
            .apply(Command::CancelJob {
                job: jobs[0].of_index(4)
            })
            .reply
            .is_err()
    );
    world.report(jobs[0].of_index(0), ended(Finished));
    assert_eq!(held(&world, jobs[0]), [2]);
    world.report(jobs[0].of_index(2), ended(Finished));
    assert_eq!(
        world.seen[&jobs[0]].message,
        "2 of 4 indexes ended as `killed`, the first of them 1"
    );
}

#[test]
fn a_cancelled_build_ends_its_arrays_begun_or_not() {
    let mut world = world(1);
    let (build, jobs) = world.submit(vec![job("sim").times(4), job("more").times(4).after("sim")]);
    world.done(Command::CancelBuild {
        build,
        extent: Extent::Jobs,
    });
    assert_eq!(world.states(&jobs), ["running", "killed"]);
    world.report(jobs[0].of_index(0), ended(Killed));
    assert_eq!(world.states(&jobs), ["killed", "killed"]);
    assert_eq!(world.live.builds, []);
}

#[test]
fn those_behind_one_that_waited_too_long_end_with_it() {
    let mut world = world(2);
    let (_, jobs) = world.submit(vec![job("sim").times(1000).on("gpu").found_within(60)]);
    assert_eq!(world.states(&jobs), ["queued"]);
    world.pass(Duration::from_secs(59));
    assert_eq!(counts(&world, jobs[0]), "1000 queued");
    world.pass(Duration::from_secs(1));
    let status = &world.seen[&jobs[0]];
    assert_eq!(status.state, JobState::Terminal(Error));
    assert_eq!(
        status.message,
        "1000 of 1000 indexes ended as `error`, the first of them 0"
    );
    assert!(world.seen[&jobs[0].of_index(0)].message.contains("`timeouts.queue`"));
    let unbegun = status.of_unbegun(jobs[0].of_index(5));
    assert_eq!(unbegun.message, world.seen[&jobs[0].of_index(0)].message);
}

#[test]
fn explanations_say_which_comes_next() {
    let mut world = world(1);
    let (_, jobs) = world.submit(vec![job("first"), job("sim").times(3).after("first").on("gpu")]);
    let summary = |world: &World, id: JobId| world.control.explain(id).unwrap().summary;
    assert_eq!(summary(&world, jobs[1].of_index(2)), "it waits for `first`");
    world.report(jobs[0], ended(Finished));
    assert!(summary(&world, jobs[1]).starts_with("of its 3 indexes, 3 queued; index 0 is the next: "));
    assert!(summary(&world, jobs[1].of_index(2)).starts_with("it comes after index 0: "));
    assert_eq!(world.control.explain(jobs[1].of_index(2)).unwrap().clusters.len(), 1);
    assert!(world.control.explain(jobs[1].of_index(3)).is_none());
}

#[test]
fn watchers_are_told_how_many_are_in_which_state() {
    let mut world = world(2);
    let (_, jobs) = world.submit(vec![job("sim").times(5)]);
    let effects = world.report(jobs[0].of_index(1), ended(Finished));
    let told: Vec<String> = effects
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Indexes { array, counts } if *array == jobs[0] => {
                let counts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
                Some(counts.join(", "))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, ["2 queued, 2 assigned, 1 finished"]);
    let named = |kind: &EventKind| matches!(kind, EventKind::Job { name, .. } if name.as_str() == "sim/1");
    assert!(effects.events.iter().any(|event| named(&event.kind)));
}

#[test]
fn the_order_in_the_queue_is_as_if_all_indexes_stood_in_it() {
    let mut world = world(1);
    let (_, first) = world.submit(vec![job("sim").times(3)]);
    world.pass(Duration::from_secs(1));
    let (_, second) = world.submit(vec![job("late"), job("urgent").priority(1)]);
    let mut order = Vec::new();
    for _ in 0..5 {
        let running = world.control.clusters().next().unwrap().attempts;
        assert_eq!(running, 1);
        let now = world.seen.iter().find(|(id, status)| {
            status.state == JobState::Assigned && (id.array_and_index().is_some() || !first.contains(id))
        });
        let id = *now.unwrap().0;
        order.push(id);
        world.report(id, ended(Finished));
    }
    let sim = first[0];
    assert_eq!(
        order,
        [sim.of_index(0), second[1], sim.of_index(1), sim.of_index(2), second[0]]
    );
}

#[test]
fn one_command_begins_as_many_as_it_may() {
    let mut world = World::with(Settings {
        max_placements_per_command: 3,
        ..Settings::default()
    });
    world.up("east", &[], 10);
    let (_, jobs) = world.submit(vec![job("sim").times(7)]);
    assert_eq!(held(&world, jobs[0]).len(), 3);
    world.done(Command::Tick);
    world.done(Command::Tick);
    assert_eq!(held(&world, jobs[0]).len(), 7);
}

#[test]
fn an_index_makes_no_jobs() {
    let mut world = world(1);
    let (_, jobs) = world.submit(vec![job("sim").times(1)]);
    let mut end = outcome(Finished);
    end.generated = Some(Box::new(GeneratedFile {
        name: "tombolo.yaml".to_owned(),
        text: Ok(String::new()),
        workflows: Vec::new(),
    }));
    let made = vec![(JobId::from_u128(77), job("made"))];
    let command = world.report_command("east", world.attempt(jobs[0].of_index(0)), Phase::Ended(end));
    let Command::Report {
        cluster,
        session,
        attempt,
        phase,
        ..
    } = command
    else {
        unreachable!("it is a report")
    };
    world.done(Command::Report {
        cluster,
        session,
        attempt,
        phase,
        generated: Some(Box::new(Generated { jobs: Ok(made) })),
    });
    let status = &world.seen[&jobs[0].of_index(0)];
    assert_eq!(status.state, JobState::Terminal(Error));
    assert!(
        status.message.contains("an index of an array cannot make jobs"),
        "{}",
        status.message
    );
}

#[test]
fn an_agent_that_connects_is_asked_for_each_index() {
    let mut world = world(2);
    let (_, jobs) = world.submit(vec![job("sim").times(2)]);
    let attempts: Vec<_> = (0..2).map(|index| world.attempt(jobs[0].of_index(index))).collect();
    let effects = world.hello("east", 2, &[(attempts[1], running())]);
    let again: Vec<_> = effects
        .orders
        .iter()
        .filter_map(|(_, order)| match order {
            Order::Assign(attempt) => Some(*attempt),
            _ => None,
        })
        .collect();
    assert_eq!(again, [attempts[0]]);
    assert_eq!(world.state(jobs[0].of_index(1)), JobState::Running);
    // One that was never given out is forgotten.
    let unknown = crate::id::AttemptId {
        job: jobs[0].of_index(9),
        ..attempts[0]
    };
    let hello = hello(2, &[(unknown, running())]);
    assert_eq!(hello.attempts.len(), 1);
    let effects = world.hello(
        "east",
        2,
        &[
            (attempts[0], Phase::Accepted),
            (attempts[1], running()),
            (unknown, running()),
        ],
    );
    assert_eq!(orders(&effects), ["east: forget 1"]);
    assert_eq!(world.control.cluster(&cluster("east")).unwrap().attempts, 2);
}

#[test]
fn indexes_whose_volume_went_with_its_cluster_end_together() {
    let mut world = World::new();
    world.up("east", &[], 1);
    world.up("west", &[], 0);
    let (_, jobs) = world.submit(vec![job("sim").with(&[crate::volume::VolumeKind::Shared]).times(500)]);
    world.report(jobs[0].of_index(0), running());
    world.report(jobs[0].of_index(0), ended(Finished));
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    assert_eq!(
        world.seen[&jobs[0]].state,
        JobState::Terminal(Error),
        "{} {:?}",
        counts(&world, jobs[0]),
        world.live.indexes
    );
    let begun = world.live.indexes.len();
    assert!(begun <= 3, "{begun} were made only to end");
}
