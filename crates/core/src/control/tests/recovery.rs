//! Outputs that are lost after their jobs have ended are made again.

mod away;
mod hooks;

use super::super::testing::{World, cluster, digest, ended, job, leaves, orders, outcome, running};
use super::super::{Caution, Change, Command, Settings};
use crate::attempt::{LostInput, Outcome, Phase, RouteKind, TransferReceipt};
use crate::build::{
    BuildState, StateSet,
    TerminalState::{Error, Failure, Finished},
};
use crate::id::{Epoch, JobId};
use crate::name::{ClusterName, JobName};
use crate::time::Timestamp;
use crate::volume::VolumeKind;

/// Could not get the output of `parent`.
fn misses(parent: JobId, manifest: u8, missing: &[&str], unreachable: &[&str]) -> Phase {
    let names = |names: &[&str]| names.iter().map(|name| cluster(name)).collect::<Vec<ClusterName>>();
    Phase::Ended(Outcome {
        message: "cannot get the output of `a`".to_owned(),
        exit_code: None,
        lost_inputs: vec![LostInput {
            parent,
            manifest: digest(manifest),
            missing: names(missing),
            unreachable: names(unreachable),
        }],
        ..outcome(Error)
    })
}

/// Runs, with the output of `a`.
fn runs_with(manifest: u8) -> Phase {
    Phase::Running {
        started_at: Timestamp(1),
        inputs: vec![TransferReceipt {
            parent: Some(JobName::new("a").unwrap()),
            cache: false,
            from: Some(cluster("east")),
            route: RouteKind::Relay,
            manifest: digest(manifest),
            bytes: 100,
            moved_bytes: 100,
            milliseconds: 1,
            routes: Vec::new(),
            prefetched: false,
            failure: None,
        }],
    }
}

impl World {
    fn remove(&mut self, name: &str) {
        self.done(Command::RemoveCluster {
            name: cluster(name),
            caution: Caution::None,
        });
    }

    /// Where jobs stand for users.
    fn shown(&self, jobs: &[JobId]) -> Vec<String> {
        let shown = |job: &JobId| self.seen[job].as_ended().state.to_string();
        jobs.iter().map(shown).collect()
    }

    fn message(&self, job: JobId) -> &str {
        &self.seen[&job].message
    }

    /// The clusters that an attempt is told to ask for its first input.
    fn sources(&self, job: JobId) -> Vec<String> {
        let assignment = self.control.assignment(self.attempt(job)).unwrap();
        assignment.inputs[0].holders.iter().map(ToString::to_string).collect()
    }
}

/// `a` has ended on east, which was removed; its child waits for west, which is full.
fn removed() -> (World, Vec<JobId>) {
    let mut world = World::new();
    world.up("east", &["AWS"], 1);
    world.up("west", &["GCP"], 1);
    let (_, jobs) = world.submit(vec![job("a").preferring("east"), job("b").after("a").on("GCP")]);
    let (_, other) = world.submit(vec![job("other").on("GCP"), job("another").on("GCP")]);
    world.report(jobs[0], running());
    world.report(jobs[0], leaves(1));
    assert_eq!(world.states(&jobs), ["finished", "queued"]);
    world.remove("east");
    world.report(other[0], running());
    (world, [jobs, other].concat())
}

#[test]
fn the_output_of_a_removed_cluster_is_made_again() {
    let (mut world, jobs) = removed();
    assert_eq!(world.states(&jobs[..2]), ["queued", "waiting"]);
    assert_eq!(world.shown(&jobs[..2]), ["finished", "waiting"]);
    let status = world.seen[&jobs[0]].clone();
    assert_eq!(status.ended(), Some(Finished));
    assert_eq!(status.output_lost(), Some("cluster `east`, which had it, was removed"));
    assert_eq!((status.log_epoch(), status.replacements), (Epoch(1), 1));
    let summary = world.control.explain(jobs[0]).unwrap().summary;
    let expected = "it is over: finished; its output was lost (cluster `east`, which had it, was removed) and is made again: it waits \
                    for room on `west`";
    assert_eq!(summary, expected);
    assert_eq!(world.control.explain(jobs[1]).unwrap().summary, "it waits for `a`");

    // Ready first, served first.
    world.report(jobs[2], ended(Finished));
    assert_eq!(world.attempt(jobs[0]).epoch, Epoch(2));
    assert_eq!(world.cluster_of(jobs[0]), "west");
    world.restart();
    world.hello("west", 1, &[(world.attempt(jobs[0]), Phase::Accepted)]);
    world.report(jobs[0], running());
    world.report(jobs[0], leaves(2));
    let status = &world.seen[&jobs[0]];
    assert_eq!((status.state.terminal(), status.output_lost()), (Some(Finished), None));
    assert_eq!(status.output.map(|output| output.manifest), Some(digest(2)));
    assert_eq!((status.epoch, status.log_epoch()), (Epoch(2), Epoch(1)));
    assert_eq!(world.states(&jobs[1..2]), ["assigned"]);
    assert_eq!(world.sources(jobs[1]), ["west"]);
    world.report(jobs[1], ended(Finished));
    assert_eq!(world.shown(&jobs[..2]), ["finished", "finished"]);
}

#[test]
fn a_child_that_has_the_output_is_asked_for_it() {
    let mut world = World::new();
    world.up("east", &["AWS"], 1);
    world.up("west", &["GCP"], 1);
    world.up("north", &["HOME"], 1);
    let (_, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("b").after("a").on("GCP"),
        job("c").after("a").on("GCP"),
        job("d").after("a").on("HOME"),
    ]);
    world.report(jobs[0], leaves(1));
    world.report(jobs[1], runs_with(1));
    world.report(jobs[3], runs_with(7));
    assert_eq!(
        world.control.output(jobs[0]).unwrap().holders,
        [&cluster("east"), &cluster("west")]
    );
    world.remove("east");
    assert_eq!(world.states(&jobs), ["finished", "running", "queued", "running"]);
    world.report(jobs[1], ended(Finished));
    assert_eq!(world.states(&jobs[2..3]), ["assigned"]);
    assert_eq!(world.sources(jobs[2]), ["west"]);
    // West does not have it either, and nobody is left who may make it again.
    world.report(jobs[2], misses(jobs[0], 1, &["west"], &[]));
    assert_eq!(world.states(&jobs[..3]), ["finished", "finished", "error"]);
    let message = world.message(jobs[2]);
    assert!(
        message.starts_with("the output of its parent `a` is lost: cluster `west`, which had it"),
        "{message}"
    );
    assert!(
        message.ends_with("; no other cluster is there that may run the job again"),
        "{message}"
    );
}

#[test]
fn where_an_output_could_not_be_made_again_its_inputs_are_not_believed_to_be() {
    let mut world = World::new();
    world.up("east", &["AWS"], 1);
    world.up("west", &["GCP"], 2);
    let (_, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("b").after("a").preferring("east"),
        job("c").after("b").on("GCP"),
        job("d").after("a").on("AWS"),
        job("e").after("a").on("nowhere"),
    ]);
    world.report(jobs[0], leaves(1));
    world.report(jobs[1], runs_with(1));
    world.report(jobs[1], leaves(2));
    world.report(jobs[3], runs_with(1));
    // East is full: the output is to be made again on west, where that comes to nothing.
    world.report(jobs[2], misses(jobs[1], 2, &["east"], &[]));
    assert_eq!(world.seen[&jobs[1]].cluster, Some(cluster("west")));
    world.report(jobs[1], ended(Error));
    assert_eq!(world.shown(&jobs[1..3]), ["finished", "error"]);
    assert_eq!(world.control.output(jobs[0]).unwrap().holders, [&cluster("east")]);
}

/// Two clusters; `a` has ended on east, and its child was given to west.
fn placed() -> (World, Vec<JobId>) {
    let mut world = World::new();
    world.up("east", &["AWS"], 1);
    world.up("west", &["GCP"], 2);
    let (_, jobs) = world.submit(vec![
        job("a").preferring("east"),
        job("b").after("a").on("GCP"),
        job("c").after("a").on("GCP"),
    ]);
    world.report(jobs[0], leaves(1));
    assert_eq!(world.states(&jobs), ["finished", "assigned", "assigned"]);
    (world, jobs)
}

#[test]
fn what_a_store_has_lost_is_made_again_and_who_has_begun_goes_on() {
    let (mut world, jobs) = placed();
    world.report(jobs[1], Phase::Preparing);
    world.report(jobs[2], running());
    let effects = world.report(jobs[1], misses(jobs[0], 1, &["east"], &[]));
    assert_eq!(orders(&effects), ["west: forget 1", "east: assign 2"]);
    assert_eq!(world.shown(&jobs), ["finished", "waiting", "running"]);
    assert_eq!(world.seen[&jobs[1]].replacements, 1);
    world.report(jobs[2], ended(Finished));
    world.report(jobs[0], running());
    world.report(jobs[0], leaves(1));
    assert_eq!(world.shown(&jobs), ["finished", "assigned", "finished"]);
    world.report(jobs[1], running());
    world.report(jobs[1], ended(Finished));
    assert_eq!(world.shown(&jobs), ["finished", "finished", "finished"]);
}

#[test]
fn an_agent_is_believed_only_what_it_can_know() {
    let stranger = JobId::from_u128(7);
    // What it says, and what becomes of the job.
    for (say, state) in [
        (misses(stranger, 1, &["east"], &[]), "error"),
        // Somebody has the output who was not asked.
        (misses(JobId::from_u128(0), 1, &["north"], &[]), "assigned"),
        // An output that the parent has not (any more).
        (misses(JobId::from_u128(0), 9, &["east"], &[]), "assigned"),
        // East is there for the master: to be looked into by somebody.
        (misses(JobId::from_u128(0), 1, &[], &["east"]), "error"),
    ] {
        let (mut world, jobs) = placed();
        let Phase::Ended(mut end) = say else { unreachable!() };
        if end.lost_inputs[0].parent != stranger {
            end.lost_inputs[0].parent = jobs[0];
        }
        world.report(jobs[1], Phase::Ended(end.clone()));
        assert_eq!(world.states(&jobs[..2]), ["finished", state], "{end:?}");
        assert_eq!(world.seen[&jobs[0]].output_lost(), None);
    }
    // Its command has run: whatever was missing, it was no input.
    let (mut world, jobs) = placed();
    world.report(jobs[1], running());
    world.report(jobs[1], misses(jobs[0], 1, &["east"], &[]));
    assert_eq!(world.states(&jobs[..2]), ["finished", "error"]);
}

#[test]
fn a_recovery_that_ends_otherwise_is_the_end_of_those_who_wait() {
    let (mut world, jobs) = placed();
    world.report(jobs[1], misses(jobs[0], 1, &["east"], &[]));
    let mut end = outcome(Failure);
    end.message = "exit code 1".to_owned();
    world.report(jobs[0], Phase::Ended(end));
    assert_eq!(world.shown(&jobs), ["finished", "error", "assigned"]);
    let reason = "cluster `east`, which had it, does not have it any more; an attempt to make it again ended as `failure`: exit code 1";
    assert_eq!(world.seen[&jobs[0]].output_lost(), Some(reason));
    assert_eq!(
        world.message(jobs[1]),
        format!("the output of its parent `a` is lost: {reason}")
    );
    // It is lost for whoever comes later, too.
    let lost = world.control.explain(jobs[0]).unwrap().summary;
    assert_eq!(
        lost,
        format!("it is over: finished; its output was lost ({reason}) for good")
    );
    world.report(jobs[2], misses(jobs[0], 1, &["east"], &[]));
    assert_eq!(world.states(&jobs), ["finished", "error", "error"]);
}

#[test]
fn an_end_that_was_wanted_with_another_state_is_kept() {
    let mut world = World::new();
    world.up("east", &["AWS"], 1);
    world.up("west", &["GCP"], 1);
    let on = StateSet::of(&[Failure]);
    let (_, jobs) = world.submit(vec![job("a").on("AWS"), job("b").after_when("a", on).on("GCP")]);
    let fails = |manifest| {
        let Phase::Ended(end) = leaves(manifest) else {
            unreachable!()
        };
        Phase::Ended(Outcome {
            state: Failure,
            exit_code: Some(3),
            ..end
        })
    };
    world.report(jobs[0], fails(1));
    world.report(jobs[1], misses(jobs[0], 1, &["east"], &[]));
    world.report(jobs[0], fails(2));
    assert_eq!(world.shown(&jobs), ["failure", "assigned"]);
    assert_eq!(world.seen[&jobs[0]].exit_code, Some(3));
    // Once more: now it finishes, which is not what it did.
    world.report(jobs[1], misses(jobs[0], 2, &["east"], &[]));
    world.report(jobs[0], leaves(3));
    assert_eq!(world.shown(&jobs), ["failure", "error"]);
}

#[test]
fn what_a_recovery_needs_is_made_again_before() {
    let mut world = World::new();
    world.up("east", &["AWS"], 4);
    world.up("west", &["GCP"], 4);
    let (build, jobs) = world.submit(vec![
        job("a").preferring("east"),
        job("b").after("a").preferring("east"),
        job("c").after("b").preferring("east"),
        job("d").after("c").on("nowhere"),
    ]);
    for (manifest, job) in (0..3).zip(&jobs) {
        world.report(*job, running());
        world.report(*job, leaves(manifest));
    }
    assert_eq!(world.states(&jobs), ["finished", "finished", "finished", "queued"]);
    world.remove("east");
    assert_eq!(world.states(&jobs), ["assigned", "waiting", "waiting", "waiting"]);
    assert_eq!(world.shown(&jobs), ["finished", "finished", "finished", "waiting"]);
    // It is lost once more on the way.
    world.report(jobs[0], leaves(10));
    world.report(jobs[1], running());
    world.report(jobs[1], leaves(11));
    assert_eq!(world.states(&jobs), ["finished", "finished", "assigned", "waiting"]);
    world.up("north", &["HOME"], 4);
    world.report(jobs[2], misses(jobs[1], 11, &["west"], &[]));
    assert_eq!(world.states(&jobs), ["finished", "assigned", "waiting", "waiting"]);
    world.report(jobs[1], leaves(12));
    world.report(jobs[2], leaves(13));
    assert_eq!(world.states(&jobs), ["finished", "finished", "finished", "queued"]);
    world.done(Command::CancelBuild {
        build,
        extent: Default::default(),
    });
    assert_eq!(world.shown(&jobs), ["finished", "finished", "finished", "killed"]);
}

#[test]
fn nothing_is_begun_unless_all_of_it_can_be() {
    let mut world = World::new();
    world.up("east", &["AWS"], 4);
    world.up("west", &["GCP"], 4);
    let (_, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("b").after("a").preferring("east"),
        job("c").after("b").on("nowhere"),
    ]);
    world.report(jobs[0], leaves(1));
    world.report(jobs[1], leaves(2));
    world.remove("east");
    assert_eq!(world.states(&jobs), ["finished", "finished", "error"]);
    let message = world.message(jobs[2]);
    let expected = "the output of `a`, which is needed to make that of `b` again, is lost: cluster `east`, which had it, was removed; \
                    no other cluster is there that may run the job again";
    assert_eq!(message, expected);
    assert_eq!(world.seen[&jobs[1]].replacements, 0);
}

#[test]
fn the_cluster_that_makes_it_again_may_be_lost_as_well() {
    let (mut world, jobs) = removed();
    world.report(jobs[2], ended(Finished));
    world.report(jobs[0], running());
    world.up("north", &["GCP"], 2);
    world.remove("west");
    let status = &world.seen[&jobs[0]];
    assert_eq!((status.epoch, status.replacements), (Epoch(3), 2));
    assert_eq!(world.cluster_of(jobs[0]), "north");
    world.remove("north");
    // Nobody is left who could.
    assert_eq!(world.shown(&jobs[..2]), ["finished", "error"]);
    let message = world.message(jobs[1]);
    assert!(
        message.ends_with("an attempt to make it again ended as `error`: no cluster is left that may run it"),
        "{message}"
    );
}

#[test]
fn a_parent_that_is_lost_again_and_again_is_given_up() {
    let settings = Settings {
        max_replacements: 2,
        ..Settings::default()
    };
    let mut world = World::with(settings);
    world.up("east", &[], 4);
    let children = ["b", "c", "d"].map(|name| job(name).after("a"));
    let jobs = [vec![job("a")], children.to_vec()].concat();
    let (_, jobs) = world.submit(jobs);
    world.report(jobs[0], leaves(0));
    for (round, child) in (0..).zip(&jobs[1..]) {
        world.report(*child, misses(jobs[0], round, &["east"], &[]));
        if round < 2 {
            assert_eq!(world.attempt(jobs[0]).epoch, Epoch(u32::from(round) + 2));
            world.report(jobs[0], leaves(round + 1));
            world.report(*child, running());
        }
    }
    assert_eq!(world.shown(&jobs), ["finished", "running", "running", "error"]);
    let message = world.message(jobs[3]);
    assert!(message.ends_with("; it is not run again after 3 attempts"), "{message}");
}

#[test]
fn a_volume_stays_where_it_was_used() {
    let mut world = World::new();
    world.up("east", &[], 2);
    world.up("west", &[], 2);
    let shared = [VolumeKind::Shared];
    let (_, jobs) = world.submit(vec![job("a").with(&shared).preferring("east"), job("b").after("a")]);
    world.report(jobs[0], running());
    world.report(jobs[0], leaves(1));
    world.report(jobs[1], misses(jobs[0], 1, &["east"], &[]));
    assert_eq!(world.cluster_of(jobs[0]), "east");
    world.restart();
    world.remove("east");
    assert_eq!(world.shown(&jobs), ["finished", "error"]);
    let message = world.message(jobs[1]);
    assert!(message.contains("the shared volume of the build is lost"), "{message}");
}

#[test]
fn builds_end_as_their_jobs_ended() {
    let (mut world, jobs) = placed();
    let build = world.control.job(jobs[0]).unwrap().build.id;
    world.report(jobs[2], ended(Finished));
    world.report(jobs[1], misses(jobs[0], 1, &["east"], &[]));
    let mut over = world.control.build(build).unwrap().clone();
    (over.state, over.ended_at) = (BuildState::Terminal(Error), Some(world.now.wall));
    let over = Change::PutBuild(over);
    let effects = world.report(jobs[0], ended(Failure));
    assert!(world.control.build(build).is_none());
    assert_eq!(world.shown(&jobs), ["finished", "error", "finished"]);
    assert_eq!(effects.changes.last(), Some(&over), "the worst is the child's error");
}
