//! Hooks: jobs that run when the others are over.

use std::time::Duration;

use super::super::testing::{World, ended, job};
use super::super::{Change, Command, Effects, Extent, Known};
use super::generated::make;
use crate::build::hook::Hook;
use crate::build::{BuildState, JobSpec, StateSet, TerminalState};
use crate::id::BuildId;
use crate::rerun::{self, Indexes, Scope};
use crate::volume::VolumeKind;
use TerminalState::{Error, Failure, Finished, Killed, Unstable};

fn hook(hook: Hook, name: &str) -> JobSpec {
    let mut spec = job(name);
    spec.set_hook(Some(hook));
    spec
}

fn after(name: &str) -> JobSpec {
    hook(Hook::After, name)
}

fn on_error(name: &str) -> JobSpec {
    hook(Hook::OnError, name)
}

fn state_of(world: &World, build: BuildId) -> Option<BuildState> {
    world.control.build(build).map(|build| build.state)
}

/// How a build has ended by that.
fn ended_as(effects: &Effects) -> Option<TerminalState> {
    effects.changes.iter().find_map(|change| match change {
        Change::PutBuild(build) => match build.state {
            BuildState::Terminal(state) => Some(state),
            BuildState::Running => None,
        },
        _ => None,
    })
}

fn cancel(world: &mut World, build: BuildId, extent: Extent) {
    world.done(Command::CancelBuild { build, extent });
}

#[test]
fn hooks_wait_for_all_jobs_and_run_by_how_the_build_stands() {
    for (state, sees, expected) in [
        (Finished, Finished, ["skipped", "assigned"]),
        (Unstable, Unstable, ["skipped", "assigned"]),
        (Failure, Failure, ["assigned", "waiting"]),
        (Error, Error, ["assigned", "waiting"]),
    ] {
        let mut world = World::new();
        world.up("east", &[], 8);
        let (build, jobs) = world.submit(vec![
            job("a"),
            after("clean"),
            on_error("tell"),
            job("b").after_when("a", StateSet::ALL),
        ]);
        assert_eq!(world.states(&jobs), ["assigned", "waiting", "waiting", "waiting"]);
        world.report(jobs[0], ended(state));
        assert_eq!(world.states(&jobs[1..3]), ["waiting", "waiting"], "not all is over");
        world.restart();
        world.hello_again("east", 8);
        world.report(jobs[3], ended(Finished));
        assert_eq!(world.states(&[jobs[2], jobs[1]]), expected, "{state}");
        if expected[0] == "assigned" {
            let attempt = world.attempt(jobs[2]);
            let so_far = world.control.assignment(attempt).unwrap().so_far.unwrap();
            assert_eq!(so_far.state, sees);
            world.report(jobs[2], ended(Finished));
        }
        let attempt = world.attempt(jobs[1]);
        let view = world.control.assignment(attempt).unwrap();
        let so_far = view.so_far.unwrap();
        let failed: Vec<&str> = so_far.failed.iter().map(|job| job.node.name.as_str()).collect();
        assert_eq!((so_far.state, failed.len()), (sees, usize::from(state != Finished)));
        assert_eq!(state_of(&world, build), Some(BuildState::Running));
        assert_eq!(ended_as(&world.report(jobs[1], ended(Finished))), Some(sees));
        assert_eq!(state_of(&world, build), None, "it is over");
    }
}

#[test]
fn a_hook_that_fails_counts_and_changes_nothing_that_is_over() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (_, jobs) = world.submit(vec![
        job("a"),
        after("one"),
        after("two").after("one"),
        on_error("tell"),
    ]);
    world.report(jobs[0], ended(Finished));
    assert_eq!(world.states(&jobs), ["finished", "assigned", "waiting", "skipped"]);
    assert_eq!(ended_as(&world.report(jobs[1], ended(Failure))), Some(Failure));
    assert_eq!(
        world.states(&jobs),
        ["finished", "failure", "skipped", "skipped"],
        "what went wrong after its turn does not call those of `on_error`"
    );
}

#[test]
fn hooks_get_the_outputs_of_jobs_that_they_follow() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (_, jobs) = world.submit(vec![
        job("a"),
        job("b"),
        after("clean").after_when("a", StateSet::ALL),
        after("never").after("b"),
    ]);
    world.report(jobs[0], ended(Finished));
    assert_eq!(world.states(&jobs[2..]), ["waiting", "waiting"], "`b` goes on");
    world.report(jobs[1], ended(Failure));
    assert_eq!(world.states(&jobs[2..]), ["assigned", "skipped"]);
    let attempt = world.attempt(jobs[2]);
    assert_eq!(world.control.assignment(attempt).unwrap().inputs.len(), 1);
}

#[test]
fn jobs_that_are_made_and_tried_again_come_before_hooks() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (build, jobs) = world.submit(vec![job("gen"), job("flaky").retried(1), after("clean")]);
    let made = make(&mut world, jobs[0], vec![job("x")]);
    world.report(jobs[1], ended(Failure));
    world.report(made[0], ended(Finished));
    assert_eq!(world.states(&jobs), ["finished", "waiting", "waiting"]);
    world.pass(Duration::from_secs(11));
    world.report(jobs[1], ended(Finished));
    assert_eq!(world.states(&jobs[2..]), ["assigned"]);
    // What a hook makes is of its stage, and the build waits for it.
    let made = make(&mut world, jobs[2], vec![job("y")]);
    assert_eq!(world.control.job(made[0]).unwrap().node.hook(), Some(Hook::After));
    assert_eq!(state_of(&world, build), Some(BuildState::Running));
    assert_eq!(ended_as(&world.report(made[0], ended(Finished))), Some(Finished));
}

#[test]
fn cancelling_runs_what_is_for_afterwards_and_cancelling_again_does_not() {
    let start = || {
        let mut world = World::new();
        world.up("east", &[], 8);
        let (build, jobs) = world.submit(vec![job("a"), job("b").after("a"), on_error("tell"), after("clean")]);
        (world, build, jobs)
    };
    // Once: what has an attempt is stopped first.
    let (mut world, build, jobs) = start();
    cancel(&mut world, build, Extent::Jobs);
    assert_eq!(world.states(&jobs), ["assigned", "killed", "killed", "waiting"]);
    world.report(jobs[0], ended(Killed));
    assert_eq!(world.states(&jobs), ["killed", "killed", "killed", "assigned"]);
    let attempt = world.attempt(jobs[3]);
    assert_eq!(world.control.assignment(attempt).unwrap().so_far.unwrap().state, Killed);
    assert_eq!(ended_as(&world.report(jobs[3], ended(Finished))), Some(Killed));

    // Again, while it stops, or while those for afterwards run.
    let (mut world, build, jobs) = start();
    cancel(&mut world, build, Extent::Jobs);
    cancel(&mut world, build, Extent::Jobs);
    assert_eq!(world.states(&jobs), ["assigned", "killed", "killed", "killed"]);
    assert_eq!(ended_as(&world.report(jobs[0], ended(Finished))), Some(Killed));

    let (mut world, build, jobs) = start();
    cancel(&mut world, build, Extent::Jobs);
    world.report(jobs[0], ended(Killed));
    cancel(&mut world, build, Extent::Jobs);
    assert_eq!(ended_as(&world.report(jobs[3], ended(Killed))), Some(Killed));
    assert_eq!(world.states(&jobs), ["killed"; 4]);

    // At once.
    let (mut world, build, jobs) = start();
    cancel(&mut world, build, Extent::Whole);
    assert_eq!(world.states(&jobs), ["assigned", "killed", "killed", "killed"]);

    // One of them alone.
    let (mut world, _, jobs) = start();
    world.done(Command::CancelJob { job: jobs[3] });
    world.report(jobs[0], ended(Finished));
    assert_eq!(ended_as(&world.report(jobs[1], ended(Finished))), Some(Killed));
    assert_eq!(world.states(&jobs), ["finished", "finished", "skipped", "killed"]);
}

#[test]
fn hooks_run_where_the_shared_volume_is() {
    let mut world = World::new();
    world.up("east", &[], 8);
    world.up("west", &["GCP"], 8);
    let (_, jobs) = world.submit(vec![
        job("a").with(&[VolumeKind::Shared]),
        after("clean").with(&[VolumeKind::Shared]).on("GCP"),
    ]);
    assert_eq!(world.cluster_of(jobs[0]), "west", "where the last one can go");
    world.report(jobs[0], ended(Failure));
    assert_eq!(world.cluster_of(jobs[1]), "west");
}

#[test]
fn a_file_that_a_job_leaves_has_no_hooks() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (_, jobs) = world.submit(vec![job("gen")]);
    make(&mut world, jobs[0], vec![job("a"), after("b")]);
    assert_eq!(world.states(&jobs), ["error"]);
}

#[test]
fn a_rerun_runs_the_hooks_again() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let specs = vec![
        job("a").with(&[VolumeKind::Shared]),
        job("b"),
        after("clean").with(&[VolumeKind::Shared]),
    ];
    let (_, jobs) = world.submit(specs.clone());
    world.report(jobs[0], ended(Finished));
    world.report(jobs[1], ended(Failure));
    let nodes: Vec<_> = world
        .control
        .jobs(world.control.job(jobs[0]).unwrap().build.id)
        .map(|job| job.node.clone())
        .collect();
    world.report(jobs[2], ended(Finished));
    let statuses = jobs.iter().map(|job| world.seen[job].clone());
    let known: Vec<_> = nodes.into_iter().zip(statuses).collect();
    let plan = rerun::plan(&Scope::Failed, &known, &specs, &Indexes::default(), &|_, _| None).unwrap();
    let runs: Vec<bool> = plan.jobs.iter().map(|Known { ended, .. }| ended.is_none()).collect();
    assert_eq!(runs, [false, true, true]);
    assert_eq!(plan.definition.jobs[2].hook(), Some(Hook::After));
}

#[test]
fn a_cancel_spares_arrays_for_afterwards_too() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (build, jobs) = world.submit(vec![job("a"), after("clean").times(2)]);
    cancel(&mut world, build, Extent::Jobs);
    assert_eq!(world.states(&jobs[1..]), ["waiting"]);
    world.report(jobs[0], ended(Killed));
    assert_eq!(world.states(&jobs), ["killed", "running"]);
    for index in 0..2 {
        world.report(jobs[1].of_index(index), ended(Finished));
    }
    assert_eq!(world.seen[&jobs[1]].state.terminal(), Some(Finished));
}
