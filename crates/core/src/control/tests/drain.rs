//! Clusters are emptied before they go: nobody runs again for what was there.

mod moving;

use std::time::Duration;

use super::super::testing::{PROJECT, World, cluster, digest, ended, job, leaves, orders, outcome, running};
use super::super::{Caution, Command, Copied, CopyStage, DrainView, Effects, Present, Refusal};
use crate::attempt::{OutputReference, Phase, RouteKind, TransferReceipt};
use crate::build::TerminalState::{Failure, Finished};
use crate::id::JobId;
use crate::label::Selector;
use crate::name::JobName;
use crate::placement::Availability::{self, Cordoned, Draining, Open};
use crate::share::Share;
use crate::time::Timestamp;
use crate::volume::VolumeKind::Shared;

/// What is left, in short.
fn left(world: &World, name: &str) -> String {
    let DrainView {
        attempts,
        bound_jobs,
        outputs,
        bytes,
        moving,
        is_over,
        ..
    } = drain(world, name);
    let over = if is_over { "; it is drained" } else { "" };
    format!("{attempts} attempts, {bound_jobs} bound, {outputs} outputs of {bytes} bytes, {moving} on their way{over}")
}

const NOTHING: &str = "0 attempts, 0 bound, 0 outputs of 0 bytes, 0 on their way; it is drained";

fn drain<'a>(world: &'a World, name: &str) -> DrainView<'a> {
    world.control.cluster(&cluster(name)).unwrap().drain.unwrap()
}

fn obstacle(world: &World, name: &str) -> String {
    drain(world, name).obstacle.unwrap_or_default().to_owned()
}

impl World {
    fn set(&mut self, name: &str, availability: Availability) -> Effects {
        self.done(Command::SetAvailability {
            name: cluster(name),
            availability,
            present: Present::Stay,
        })
    }

    /// Drains a cluster, and looks what is left: the orders.
    fn drain(&mut self, name: &str) -> Vec<String> {
        self.set(name, Draining);
        orders(&self.done(Command::Tick))
    }

    /// Lets so many seconds pass, one by one, while all agents go on: the orders.
    fn seconds(&mut self, seconds: u64) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..seconds {
            self.advance(Duration::from_secs(1));
            let clusters = self.control.clusters();
            let sessions = clusters.filter_map(|view| Some((view.record.name.clone(), view.session?)));
            for (cluster, session) in sessions.collect::<Vec<_>>() {
                self.done(Command::Heartbeat { cluster, session });
            }
            all.extend(orders(&self.done(Command::Tick)));
        }
        all
    }

    fn copied(&mut self, name: &str, job: JobId, manifest: u8, stage: CopyStage) -> Vec<String> {
        let command = Command::Copied {
            from: (cluster(name), self.session(name)),
            copied: Copied {
                job,
                manifest: digest(manifest),
                stage,
            },
        };
        orders(&self.done(command))
    }

    fn removal(&self, name: &str) -> Command {
        Command::RemoveCluster {
            name: cluster(name),
            caution: Caution::Needs,
        }
    }

    fn copies(&self, job: JobId) -> Vec<String> {
        self.seen[&job].copies().iter().map(ToString::to_string).collect()
    }
}

/// `a` has left something on east, and `b` waits for room on west.
fn waiting() -> (World, Vec<JobId>) {
    let mut world = World::new();
    world.up("east", &["AWS"], 2);
    world.up("west", &["GCP"], 1);
    let (_, jobs) = world.submit(vec![job("a").on("AWS"), job("b").after("a").on("GCP")]);
    let (_, other) = world.submit(vec![job("other").on("GCP")]);
    world.report(other[0], running());
    world.report(jobs[0], leaves(1));
    assert_eq!(world.states(&jobs), ["finished", "queued"]);
    (world, [jobs, other].concat())
}

#[test]
fn outputs_that_jobs_wait_for_are_elsewhere_before_a_cluster_goes() {
    let (mut world, jobs) = waiting();
    assert_eq!(world.drain("east"), ["west: copy"]);
    assert_eq!(
        left(&world, "east"),
        "0 attempts, 0 bound, 1 outputs of 100 bytes, 1 on their way"
    );
    assert_eq!(world.copied("west", jobs[0], 1, CopyStage::Whole), [""; 0]);
    assert_eq!(left(&world, "east"), NOTHING);
    assert_eq!(world.copies(jobs[0]), ["west"]);
    let removal = world.removal("east");
    world.done(removal);
    world.restart();
    world.hello_again("west", 1);
    assert_eq!(world.states(&jobs[..2]), ["finished", "queued"], "nobody runs again");
    world.report(jobs[2], ended(Finished));
    assert_eq!(world.cluster_of(jobs[1]), "west");
    let holders = world.control.output(jobs[0]).unwrap().holders;
    assert_eq!(holders, [&cluster("west")]);
    assert_eq!(world.seen[&jobs[0]].replacements, 0);
}

#[test]
fn a_master_that_restarts_goes_on_with_what_is_not_there_yet() {
    let (mut world, jobs) = waiting();
    world.drain("east");
    world.restart();
    assert_eq!(world.seconds(1), [""; 0], "nobody is connected");
    world.hello("east", 2, &[]);
    world.hello_again("west", 1);
    assert_eq!(world.seconds(2), ["west: copy"]);
    world.copied("west", jobs[0], 1, CopyStage::Whole);
    world.restart();
    world.hello("east", 2, &[]);
    world.hello_again("west", 1);
    assert_eq!(world.seconds(40), [""; 0], "it is there");
    assert_eq!(left(&world, "east"), NOTHING);
}

#[test]
fn a_cluster_with_outputs_that_jobs_wait_for_is_removed_by_force_only() {
    for drains in [false, true] {
        let (mut world, jobs) = waiting();
        if drains {
            world.drain("east");
        }
        let removal = world.removal("east");
        let refusal = world.refused(removal);
        assert!(matches!(refusal, Refusal::Conflict(_)), "{refusal:?}");
        let expected = "cluster `east` has an output that jobs wait for and no other cluster has (100 B)";
        assert_eq!(refusal.to_string(), expected);
        world.up("north", &["AWS"], 1);
        world.done(Command::RemoveCluster {
            name: cluster("east"),
            caution: Caution::None,
        });
        assert_eq!(world.states(&jobs[..2]), ["assigned", "waiting"], "`a` runs again");
        assert_eq!(world.cluster_of(jobs[0]), "north");
    }
}

#[test]
fn a_cluster_with_jobs_is_removed_by_force_only() {
    for (jobs, with_output, expected) in [
        (1, false, "cluster `east` has a job that is not over"),
        (3, false, "cluster `east` has 3 jobs that are not over"),
        (
            1,
            true,
            "cluster `east` has a job that is not over, and an output that jobs wait for and no other cluster has (24.0 MB)",
        ),
    ] {
        let mut world = World::new();
        world.up("east", &["AWS"], 4);
        if with_output {
            let (_, jobs) = world.submit(vec![job("a").on("AWS"), job("b").after("a").on("GCP")]);
            let bytes = 24_000_000;
            let mut end = outcome(Finished);
            end.output = end.output.map(|output| OutputReference { bytes, ..output });
            world.report(jobs[0], Phase::Ended(end));
        }
        let specs = (0..jobs).map(|index| job(&format!("j{index}")).on("AWS"));
        let (_, jobs) = world.submit(specs.collect());
        world.report(jobs[0], running());
        world.up("west", &["AWS"], 4);
        let removal = world.removal("east");
        let refusal = world.refused(removal.clone());
        assert_eq!(refusal, Refusal::Conflict(expected.to_owned()));
        if !with_output {
            // Those of which nothing is expected are not waited for.
            let lost = world.control.settings().lost_after + world.control.settings().lease;
            let mut later = World::new();
            later.up("east", &[], 1);
            later.submit(vec![job("a")]);
            later.pass(lost);
            later.pass(lost);
            let removal = later.removal("east");
            later.done(removal);
        }
        world.done(Command::RemoveCluster {
            name: cluster("east"),
            caution: Caution::None,
        });
        assert!(jobs.iter().all(|job| world.cluster_of(*job) == "west"));
    }
}

#[test]
fn an_output_that_is_lost_with_its_cluster_is_said_to_be() {
    let mut world = World::new();
    world.up("east", &["AWS"], 2);
    world.up("west", &["GCP"], 2);
    let (build, jobs) = world.submit(vec![job("a").on("AWS"), job("goes-on").on("GCP")]);
    world.report(jobs[0], leaves(1));
    let status = world.seen[&jobs[0]].clone();
    let build = world.control.build(build).unwrap().clone();
    assert_eq!(world.control.output_gone(&build, &status), None);
    assert_eq!(world.control.output_at(&build, &status), Some(cluster("east")));
    let removal = world.removal("east");
    world.done(removal);
    let expected = Some("cluster `east`, which had it, was removed".to_owned());
    assert_eq!(world.control.output_gone(&build, &status), expected);
    // Also when its build is over.
    world.report(jobs[1], ended(Failure));
    assert!(world.control.job(jobs[0]).is_none());
    assert_eq!(world.control.output_gone(&build, &status), expected);
    assert_eq!(
        world.control.output_gone(&build, &world.seen[&jobs[1]]),
        None,
        "it left nothing"
    );
}

#[test]
fn what_nobody_waits_for_stays_where_it_is() {
    let mut world = World::new();
    world.up("east", &["AWS"], 9);
    world.up("west", &["GCP"], 1);
    let (_, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("b").on("AWS"),
        job("c").on("AWS"),
        job("fails").on("GCP"),
        // Keeps the build from ending.
        job("goes-on").on("GCP"),
        job("uses-a").after("a").on("AWS"),
        job("takes-nothing").after("b").on("GCP").without_output_of("b"),
        job("is-skipped").after("c").after("fails").on("GCP"),
    ]);
    world.report(jobs[3], ended(Failure));
    for (index, manifest) in [(0, 1), (1, 2), (2, 3)] {
        world.report(jobs[index], leaves(manifest));
    }
    world.report(jobs[5], leaves(5));
    assert_eq!(world.drain("east"), [""; 0]);
    assert_eq!(left(&world, "east"), NOTHING);
    let removal = world.removal("east");
    world.done(removal);
    assert_eq!(world.states(&jobs[..3]), ["finished"; 3]);
}

#[test]
fn what_a_child_works_with_elsewhere_is_there_already() {
    let mut world = World::new();
    world.up("east", &["AWS"], 2);
    world.up("west", &["GCP"], 1);
    let (_, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("b").after("a").on("GCP"),
        job("c").after("a").on("GCP"),
    ]);
    world.report(jobs[0], leaves(1));
    assert_eq!(world.drain("east"), ["west: copy"], "it has not begun");
    let receipt = TransferReceipt {
        parent: Some(JobName::new("a").unwrap()),
        cache: false,
        from: Some(cluster("east")),
        route: RouteKind::Relay,
        manifest: digest(1),
        bytes: 100,
        moved_bytes: 100,
        milliseconds: 1,
        routes: Vec::new(),
        prefetched: false,
        failure: None,
    };
    world.report(
        jobs[1],
        Phase::Running {
            started_at: Timestamp(1),
            inputs: vec![receipt],
        },
    );
    assert_eq!(world.seconds(2), [""; 0]);
    assert_eq!(left(&world, "east"), NOTHING);
    // Now west is the only one.
    world.set("east", Open);
    let removal = world.removal("east");
    world.done(removal);
    world.up("north", &["GCP"], 1);
    assert_eq!(world.drain("west"), ["north: copy"]);
}

#[test]
fn outputs_that_come_while_a_cluster_is_drained_are_moved_too() {
    let mut world = World::new();
    world.up("east", &["AWS"], 2);
    world.up("west", &["GCP"], 1);
    let (_, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("late").on("AWS"),
        job("b").after("a").after("late").on("GCP"),
    ]);
    world.report(jobs[0], leaves(1));
    assert_eq!(world.drain("east"), ["west: copy"]);
    world.copied("west", jobs[0], 1, CopyStage::Whole);
    assert_eq!(
        left(&world, "east"),
        "1 attempts, 0 bound, 0 outputs of 0 bytes, 0 on their way"
    );
    world.report(jobs[1], leaves(2));
    assert!(!drain(&world, "east").is_over, "what came has not been looked at");
    assert_eq!(world.seconds(1), ["west: copy"]);
    world.copied("west", jobs[1], 2, CopyStage::Whole);
    assert_eq!(left(&world, "east"), NOTHING);
}

#[test]
fn jobs_that_can_run_nowhere_else_are_waited_for() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let (_, jobs) = world.submit(vec![
        job("a").with(&[Shared]),
        job("b").with(&[Shared]).after("a"),
        job("c").after("a").beside("a"),
        job("d").after("a").on("GCP"),
    ]);
    world.report(jobs[0], running());
    world.up("west", &["GCP"], 1);
    assert_eq!(world.drain("east"), [""; 0]);
    world.report(jobs[0], leaves(1));
    assert_eq!(world.seconds(1), ["west: copy"]);
    world.copied("west", jobs[0], 1, CopyStage::Whole);
    for index in [1, 2] {
        assert_eq!(world.cluster_of(jobs[index]), "east", "{index}");
        assert!(!drain(&world, "east").is_over, "{index}");
        world.report(jobs[index], ended(Finished));
    }
    world.seconds(1);
    assert_eq!(left(&world, "east"), NOTHING);
}

#[test]
fn a_cluster_that_is_in_use_again_gives_nothing_away() {
    for availability in [Open, Cordoned] {
        let (mut world, jobs) = waiting();
        assert_eq!(world.drain("east"), ["west: copy"]);
        world.set("east", availability);
        assert_eq!(world.control.cluster(&cluster("east")).unwrap().drain, None);
        world.copied("west", jobs[0], 1, CopyStage::Whole);
        assert_eq!(world.copies(jobs[0]), [""; 0], "nobody asked for it any more");
        assert_eq!(world.seconds(200), [""; 0]);
    }
}

#[test]
fn what_a_project_makes_stays_where_it_may_be() {
    let mut world = World::new();
    world.done(Command::SetShare {
        id: PROJECT,
        share: Share {
            clusters: Selector::parse("region=eu").unwrap(),
            ..Share::default()
        },
    });
    world.up("east", &["region=eu"], 2);
    world.up("west", &["region=us"], 2);
    let (_, jobs) = world.submit(vec![job("a"), job("b").after("a").on("GCP")]);
    world.report(jobs[0], leaves(1));
    assert_eq!(world.drain("east"), [""; 0]);
    let expected = "the output of `a` of build 1 cannot be moved: no other cluster is connected, takes jobs and may have what its project makes";
    assert_eq!(obstacle(&world, "east"), expected);
    world.up("north", &["region=eu"], 1);
    assert_eq!(world.seconds(1), ["north: copy"]);
    assert_eq!(obstacle(&world, "east"), "");
}
