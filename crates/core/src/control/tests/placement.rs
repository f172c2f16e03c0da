//! Who goes where, and who goes first.

use super::super::testing::{PROJECT, World, cluster, ended, job, outcome};
use super::super::{Command, Settings};
use crate::attempt::{OutputReference, Phase};
use crate::build::JobSpec;
use crate::build::TerminalState::Finished;
use crate::id::{JobId, ProjectId};
use crate::name::ProjectName;
use crate::route::{Cost, Costs, Tariff};
use crate::time::Moment;
use std::time::Duration;

const GIGABYTE: u64 = 1_000_000_000;

#[test]
fn the_best_cluster_wins() {
    for (case, spec, expected) in [
        ("selector", job("a").on("GCP"), "west"),
        ("implied label", job("a").on("cluster=tiny"), "tiny"),
        ("fact", job("a").on("node.os=linux, !AWS, !GCP").cpu(500), "tiny"),
        ("size", job("a").cpu(3000), "east"),
        ("preferred", job("a").preferring("west"), "west"),
        ("preferred but unfit", job("a").preferring("west").on("AWS"), "east"),
        ("unknown preferred", job("a").preferring("nowhere").on("AWS"), "east"),
        ("first by name among equals", job("a").on("!GCP"), "east"),
        ("nobody", job("a").on("gpu>0"), ""),
        ("too large", job("a").cpu(9000), ""),
    ] {
        let mut world = World::new();
        world.up("west", &["GCP"], 2);
        world.up("tiny", &[], 1);
        world.up("east", &["AWS"], 4);
        let (_, jobs) = world.submit(vec![job("x").on("nowhere"), spec]);
        let found = world.seen[&jobs[1]]
            .cluster
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn clusters_fill_evenly() {
    let mut world = World::new();
    world.up("large", &[], 6);
    world.up("small", &[], 3);
    let (_, jobs) = world.submit((0..9).map(|index| job(&format!("j{index}"))).collect());
    let count = |world: &World| {
        jobs.iter()
            .take(6)
            .filter(|job| world.cluster_of(**job) == "large")
            .count()
    };
    assert_eq!(count(&world), 4, "two thirds of the first six");
}

#[test]
fn children_go_where_most_of_their_inputs_are() {
    let mut world = World::new();
    world.up("east", &["AWS"], 1);
    world.up("west", &["GCP"], 100);
    let child = job("c").after("a").after("b");
    let (_, jobs) = world.submit(vec![job("a").on("AWS"), job("b").on("GCP"), child]);
    for (job, bytes) in [(jobs[1], GIGABYTE), (jobs[0], 2 * GIGABYTE)] {
        let mut end = outcome(Finished);
        end.output = end.output.map(|output| OutputReference { bytes, ..output });
        world.report(job, Phase::Ended(end));
    }
    assert_eq!(world.cluster_of(jobs[2]), "east");
    let assignment = world.control.assignment(world.attempt(jobs[2])).unwrap();
    let inputs: Vec<String> = assignment
        .inputs
        .iter()
        .map(|input| format!("{} {} {}", input.parent.node.name, input.output.bytes, input.holders[0]))
        .collect();
    assert_eq!(inputs, ["a 2000000000 east", "b 1000000000 west"]);
}

/// The jobs that were placed first, as letters of their projects.
fn order_of_service(world: &mut World, queues: &[(ProjectId, usize)]) -> String {
    let mut jobs: Vec<(JobId, usize)> = Vec::new();
    for (place, (project, count)) in queues.iter().enumerate() {
        let specs: Vec<JobSpec> = (0..*count).map(|index| job(&format!("j{index}"))).collect();
        let submission = world.submission(*project, specs);
        jobs.extend(submission.jobs.iter().map(|job| (*job, place)));
        world.done(Command::Submit(Box::new(submission)));
    }
    world.up("east", &[], 1);
    let mut served = String::new();
    while let Some((job, place)) = jobs
        .iter()
        .find(|(job, _)| world.control.assignment(world.attempt(*job)).is_some())
    {
        served.push(char::from(b'a' + u8::try_from(*place).unwrap()));
        world.report(*job, ended(Finished));
    }
    served
}

#[test]
fn projects_take_turns() {
    let projects = [PROJECT, ProjectId::from_u128(2), ProjectId::from_u128(3)];
    for (counts, expected) in [([6, 2, 1], "abcabaaaa"), ([1, 3, 0], "abbb"), ([0, 2, 2], "bcbc")] {
        let mut world = World::new();
        for (project, name) in projects.iter().zip(["demo", "two", "three"]).skip(1) {
            let name = ProjectName::new(name).unwrap();
            world.done(Command::CreateProject { id: *project, name });
        }
        let queues: Vec<(ProjectId, usize)> = projects
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .collect();
        let letters: Vec<char> = counts
            .iter()
            .zip("abc".chars())
            .filter(|(count, _)| **count > 0)
            .map(|(_, letter)| letter)
            .collect();
        let served: String = order_of_service(&mut world, &queues)
            .bytes()
            .map(|letter| letters[usize::from(letter - b'a')])
            .collect();
        assert_eq!(served, expected);
    }
}

#[test]
fn within_a_project_the_first_comes_first_over_all_classes() {
    let mut world = World::new();
    let (_, jobs) = world.submit(
        (0..4)
            .map(|index| job(&format!("j{index}")).cpu(1000 - 100 * index))
            .collect(),
    );
    world.up("east", &[], 1);
    for (index, job) in jobs.iter().enumerate() {
        assert!(world.control.assignment(world.attempt(*job)).is_some(), "job {index}");
        world.report(*job, ended(Finished));
    }
}

#[test]
fn one_command_sends_out_only_so_many() {
    let settings = Settings {
        max_placements_per_command: 3,
        ..Settings::default()
    };
    let mut world = World::with(settings);
    world.up("east", &[], 8);
    let (_, jobs) = world.submit((0..10).map(|index| job(&format!("j{index}"))).collect());
    let placed = |world: &World| {
        jobs.iter()
            .filter(|job| world.control.assignment(world.attempt(**job)).is_some())
            .count()
    };
    for expected in [3, 6] {
        assert_eq!(placed(&world), expected);
        assert_eq!(world.control.next_deadline(), Some(Moment::default()));
        world.done(Command::Tick);
    }
    assert_eq!(placed(&world), 8);
    assert!(world.control.next_deadline() > Some(world.now.steady));
}

#[test]
fn a_cluster_that_shrinks_gets_nothing_new_until_it_has_room() {
    let mut world = World::new();
    world.up("east", &[], 2);
    let (_, jobs) = world.submit(vec![job("a"), job("b"), job("c"), job("keeper").on("nowhere")]);
    let held = [world.attempt(jobs[0]), world.attempt(jobs[1])].map(|attempt| (attempt, Phase::Accepted));
    world.hello("east", 1, &held);
    world.report(jobs[0], ended(Finished));
    assert_eq!(world.states(&jobs[..3]), ["finished", "assigned", "queued"]);
    world.report(jobs[1], ended(Finished));
    assert_eq!(world.states(&jobs[..3]), ["finished", "finished", "assigned"]);
    assert_eq!(world.control.cluster(&cluster("east")).unwrap().attempts, 1);
}

#[test]
fn many_classes_come_and_go() {
    let mut world = World::new();
    world.up("east", &[], 2);
    // More classes than are kept idle; the checks of the world would take long here.
    for index in 0..3000_u64 {
        let submission = world.submission(PROJECT, vec![job("a").cpu(1 + index % 1500)]);
        let job = submission.jobs[0];
        let control = &mut world.control;
        assert!(
            control
                .apply(world.now, Command::Submit(Box::new(submission)))
                .reply
                .is_ok()
        );
        let attempt = crate::id::AttemptId {
            job,
            epoch: crate::id::Epoch(1),
        };
        assert!(control.assignment(attempt).is_some(), "job {index}");
        let session = control.cluster(&cluster("east")).unwrap().session.unwrap();
        let report = Command::Report {
            generated: None,
            cluster: cluster("east"),
            session,
            attempt,
            phase: ended(Finished),
        };
        assert!(control.apply(world.now, report).reply.is_ok());
    }
}

#[test]
fn a_job_that_no_cluster_suits_ends_after_a_while_and_says_why() {
    let hour = Duration::from_secs(60 * 60);
    let settings = Settings {
        unschedulable_after: Some(hour),
        ..Settings::default()
    };
    let mut world = World::with(settings);
    world.up("east", &[], 1);
    let (_, jobs) = world.submit(vec![
        job("waits").on("gpu>0"),
        job("child").after("waits"),
        job("large").cpu(2000),
        job("fits"),
        job("full"),
    ]);
    world.pass(hour / 2);
    let (_, later) = world.submit(vec![job("later").on("gpu>0")]);
    world.pass(hour / 2);
    let states = ["error", "skipped", "queued", "queued", "queued"];
    assert_eq!(world.states(&jobs), states, "one that is away may have become larger");
    let message = "it has waited for 3600s in vain: no cluster can run it; the nearest is `east`: selector `gpu>0` does not hold; to have it fit on cluster `east`: ";
    let told = &world.seen[&jobs[0]].message;
    assert!(
        told.starts_with(message) && told.contains("leave `gpu>0` out of its selector"),
        "{told}"
    );
    assert_eq!(world.states(&later), ["queued"]);
    world.hello("east", 1, &[]);
    world.pass(hour);
    assert_eq!(world.states(&later), ["error"]);
    world.restart();
    world.hello("east", 1, &[]);
    world.up("gpu", &["gpu=1"], 1);
    let (_, fitting) = world.submit(vec![job("a").on("gpu>0"), job("b").on("gpu>0")]);
    world.pass(3 * hour);
    assert_eq!(world.states(&fitting)[1], "queued", "a cluster suits it");
}

#[test]
fn jobs_go_where_moving_their_inputs_costs_least() {
    let tariff = |from: &str, to: &str, per_gigabyte| Tariff {
        from: Some(cluster(from)),
        to: Some(cluster(to)),
        carriage: None,
        per_gigabyte: Cost(per_gigabyte),
    };
    for (case, tariffs, bytes, expected) in [
        ("the most bytes", vec![], [GIGABYTE, 2 * GIGABYTE], "west"),
        (
            "dear to leave",
            vec![tariff("east", "west", 5_000_000)],
            [GIGABYTE, 2 * GIGABYTE],
            "east",
        ),
        (
            "dear between the two: the third",
            vec![tariff("east", "north", 5_000_000), tariff("west", "east", 5_000_000)],
            [GIGABYTE, 2 * GIGABYTE],
            "west",
        ),
        ("hardly anything", vec![], [1000, 2000], "north"),
    ] {
        let costs = Costs {
            tariffs,
            ..Costs::default()
        };
        let settings = Settings {
            costs,
            ..Settings::default()
        };
        let mut world = World::with(settings);
        world.up("east", &[], 4);
        world.up("north", &[], 4);
        world.up("west", &[], 4);
        let jobs = vec![
            job("a").on("cluster=east"),
            job("b").on("cluster=west"),
            job("c").after("a").after("b"),
            // So that the emptiest is neither of them.
            job("d").on("cluster=east"),
            job("e").on("cluster=west"),
        ];
        let (_, jobs) = world.submit(jobs);
        for (job, bytes) in jobs.iter().zip(bytes) {
            let mut end = outcome(Finished);
            end.output = end.output.map(|output| OutputReference { bytes, ..output });
            world.report(*job, Phase::Ended(end));
        }
        assert_eq!(world.cluster_of(jobs[2]), expected, "{case}");
    }
}

#[test]
fn jobs_of_one_build_are_spread_over_clusters_that_are_as_good() {
    let mut world = World::new();
    world.up("east", &[], 4);
    world.up("west", &[], 4);
    let (_, other) = world.submit(vec![job("a").on("cluster=west")]);
    // As much is free on both; `east` comes first by name.
    let (_, jobs) = world.submit(vec![job("a").on("cluster=east"), job("b")]);
    assert_eq!(world.cluster_of(jobs[1]), "west");
    world.report(other[0], ended(Finished));
}
