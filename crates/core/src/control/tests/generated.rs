//! Jobs that jobs make.

use super::super::command::Generated;
use super::super::testing::{World, ended, job, outcome};
use super::super::{Caution, Change, Command, Effects, Settings};
use crate::attempt::{GeneratedFile, Outcome, Phase};
use crate::build::{BuildState, JobKind, JobSpec, StateSet, TerminalState};
use crate::id::{AttemptId, JobId};
use crate::volume::VolumeKind;
use TerminalState::{Error, Failure, Finished, Killed, Unstable};

/// The end of an attempt that has left a job file.
fn with_file(state: TerminalState) -> Phase {
    let file = GeneratedFile {
        name: "infrabox.json".to_owned(),
        text: Ok("{}".to_owned()),
        workflows: Vec::new(),
    };
    Phase::Ended(Outcome {
        generated: Some(Box::new(file)),
        ..outcome(state)
    })
}

/// The job's attempt ends, with these jobs in its file.
fn make_in(world: &mut World, maker: JobId, state: TerminalState, jobs: Vec<JobSpec>) -> (Effects, Vec<JobId>) {
    let ids: Vec<JobId> = jobs.iter().map(|_| JobId::from_u128(world.fresh())).collect();
    let jobs = Ok(ids.iter().copied().zip(jobs).collect());
    (end_with(world, maker, state, jobs), ids)
}

fn end_with(
    world: &mut World,
    maker: JobId,
    state: TerminalState,
    jobs: Result<Vec<(JobId, JobSpec)>, String>,
) -> Effects {
    let attempt = world.attempt(maker);
    let command = report(world, attempt, state, Some(jobs));
    world.done(command)
}

fn report(
    world: &World,
    attempt: AttemptId,
    state: TerminalState,
    jobs: Option<Result<Vec<(JobId, JobSpec)>, String>>,
) -> Command {
    let name = world.cluster_of(attempt.job);
    let Command::Report { cluster, session, .. } = world.report_command(&name, attempt, with_file(state)) else {
        unreachable!("it is a report")
    };
    Command::Report {
        cluster,
        session,
        attempt,
        phase: with_file(state),
        generated: jobs.map(|jobs| Box::new(Generated { jobs })),
    }
}

pub(super) fn make(world: &mut World, maker: JobId, jobs: Vec<JobSpec>) -> Vec<JobId> {
    make_in(world, maker, Finished, jobs).1
}

fn name_of(world: &World, job: JobId) -> String {
    world.control.job(job).unwrap().node.name.to_string()
}

pub(super) fn parents_of(world: &World, job: JobId) -> Vec<String> {
    let view = world.control.job(job).unwrap();
    let jobs: Vec<_> = world.control.jobs(view.build.id).collect();
    let parents = view.node.parents.iter();
    parents
        .map(|(parent, _)| jobs[*parent as usize].node.name.to_string())
        .collect()
}

#[test]
fn roots_follow_the_maker_and_its_children_the_leaves() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (_, jobs) = world.submit(vec![
        job("gen"),
        job("child").after("gen"),
        job("any").after_when("gen", StateSet::ALL),
        job("grandchild").after("child"),
        job("other"),
    ]);
    let made = make(&mut world, jobs[0], vec![job("a"), job("b").after("a"), job("c")]);
    let names: Vec<String> = made.iter().map(|id| name_of(&world, *id)).collect();
    assert_eq!(names, ["gen/a", "gen/b", "gen/c"]);
    assert_eq!(world.states(&jobs[..4]), ["finished", "waiting", "waiting", "waiting"]);
    assert_eq!(world.states(&made), ["assigned", "waiting", "assigned"]);
    assert_eq!(parents_of(&world, made[0]), ["gen"]);
    assert_eq!(parents_of(&world, jobs[1]), ["gen", "gen/b", "gen/c"]);
    assert_eq!(parents_of(&world, jobs[3]), ["child"]);
    world.restart();
    world.hello(
        "east",
        8,
        &[
            (world.attempt(made[0]), Phase::Accepted),
            (world.attempt(made[2]), Phase::Accepted),
            (world.attempt(jobs[4]), Phase::Accepted),
        ],
    );

    world.report(made[0], ended(Finished));
    world.report(made[1], ended(Finished));
    assert_eq!(world.states(&jobs[1..3]), ["waiting"; 2], "not all leaves have ended");
    world.report(made[2], ended(Unstable));
    assert_eq!(
        world.states(&jobs[1..4]),
        ["skipped", "assigned", "skipped"],
        "children follow the leaves on the condition on which they follow the maker"
    );
}

#[test]
fn jobs_and_edges_are_written_before_what_follows() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (_, jobs) = world.submit(vec![job("gen"), job("child").after("gen")]);
    let (effects, made) = make_in(&mut world, jobs[0], Finished, vec![job("a")]);
    let extends = |change: &Change| {
        matches!(change, Change::ExtendBuild { nodes, specs, parents, .. }
        if nodes[0].id == made[0] && specs[0].name.as_str() == "gen/a" && parents.len() == 1 && parents[0].0 == jobs[1])
    };
    let at = effects.changes.iter().position(extends).expect("the build is extended");
    let put = |change: &Change| matches!(change, Change::PutJob(status) if status.id == made[0]);
    assert!(effects.changes.iter().position(put).is_some_and(|put| put > at));
}

#[test]
fn only_a_job_that_finished_makes_others() {
    for state in [Failure, Unstable, Error, Killed] {
        let mut world = World::new();
        world.up("east", &[], 8);
        let (build, jobs) = world.submit(vec![job("gen"), job("child").after("gen"), job("other")]);
        make_in(&mut world, jobs[0], state, vec![job("a")]);
        assert_eq!(world.states(&jobs[..2]), [state.as_str(), "skipped"]);
        assert_eq!(world.control.jobs(build).count(), 3);
    }
}

#[test]
fn a_job_that_was_cancelled_makes_none() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (build, jobs) = world.submit(vec![job("gen"), job("other")]);
    world.done(Command::CancelJob { job: jobs[0] });
    make(&mut world, jobs[0], vec![job("a")]);
    assert_eq!(world.states(&jobs[..1]), ["killed"]);
    assert_eq!(world.control.jobs(build).count(), 2);
}

/// As a hello would tell it, or a driver that does not read files: the end waits for the report with what is in the file.
#[test]
fn an_end_whose_file_nobody_has_read_does_not_count() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (_, jobs) = world.submit(vec![job("gen"), job("other")]);
    let attempt = world.attempt(jobs[0]);
    let unread = report(&world, attempt, Finished, None);
    world.done(unread);
    assert_eq!(world.states(&jobs[..1]), ["assigned"]);
    let others = world.attempt(jobs[1]);
    world.hello("east", 8, &[(attempt, with_file(Finished)), (others, Phase::Accepted)]);
    assert_eq!(world.states(&jobs[..1]), ["assigned"]);
    make(&mut world, jobs[0], vec![job("a")]);
    assert_eq!(world.states(&jobs[..1]), ["finished"]);
}

#[test]
fn a_report_that_comes_twice_makes_jobs_once() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (build, jobs) = world.submit(vec![job("gen"), job("other")]);
    make(&mut world, jobs[0], vec![job("a")]);
    let (effects, _) = make_in(&mut world, jobs[0], Finished, vec![job("a")]);
    assert_eq!(effects.changes, []);
    assert_eq!(world.control.jobs(build).count(), 3);
}

#[test]
fn a_file_that_is_not_valid_is_an_error_of_its_maker() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (_, jobs) = world.submit(vec![
        job("gen"),
        job("child").after("gen"),
        job("cleaner").after_when("gen", StateSet::of(&[Error])),
    ]);
    let faults = "its job file `output/infrabox.json` is not valid: infrabox.json:1:1: the file is empty";
    end_with(&mut world, jobs[0], Finished, Err(faults.to_owned()));
    assert_eq!(world.states(&jobs), ["error", "skipped", "assigned"]);
    let status = &world.seen[&jobs[0]];
    assert_eq!((status.message.as_str(), status.exit_code), (faults, Some(0)));
    assert!(status.output.is_some(), "what it left is there to be looked at");
}

#[test]
fn what_cannot_be_added_is_an_error_of_its_maker() {
    let settings = Settings {
        max_generated_jobs: 3,
        max_jobs_per_build: 7,
        ..Settings::default()
    };
    let named = |name: &str, needs| JobSpec {
        needs: [needs].into_iter().collect(),
        ..job(name)
    };
    let long = "x".repeat(255);
    for (made, part) in [
        (
            vec![job("a"), job("b"), job("c"), job("d")],
            "its job file has 4 jobs, with 0 that were made before and are not over; the limit is 3",
        ),
        (
            vec![job("gen")],
            "`gen` and `gen/gen` would both come to `inputs/gen` of `child`",
        ),
        (
            vec![job("side")],
            "`side` and `gen/side` would both come to `inputs/side` of `child`",
        ),
        (vec![job("a").after("b"), job("b").after("a")], "for itself"),
        (vec![job("a").after("z")], "`gen/a` follows `gen/z`, which there is not"),
        (vec![job("a"), job("a")], "the build has a job `gen/a` already"),
        (
            vec![job("a").times(3), job("a/1")],
            "the build has a job `gen/a/1`, and an array of which an index would be called that too",
        ),
        (vec![job(&long)], "255"),
        (
            vec![job("a").with(&[VolumeKind::Shared]).on("region=eu")],
            "all that share the volume of the build: `more` needs `region=us`, `gen/a` needs `region=eu`",
        ),
        (
            vec![named("a", crate::capability::Capability::Docker)],
            "no cluster here has what the build needs: `docker` (for job `gen/a`)",
        ),
        (
            vec![JobSpec {
                secrets: [("X".to_owned(), crate::name::SecretName::new("gone").unwrap())].into(),
                ..job("a")
            }],
            "the project lacks the secret `gone` (for job `gen/a`)",
        ),
    ] {
        let mut world = World::with(settings.clone());
        world.up("east", &[], 8);
        let (build, jobs) = world.submit(vec![
            job("gen"),
            job("side"),
            job("child").after("gen").after("side"),
            job("more").with(&[VolumeKind::Shared]).on("region=us"),
            job("other"),
        ]);
        make(&mut world, jobs[0], made);
        assert_eq!(world.states(&jobs[..1]), ["error"], "{part}");
        let message = &world.seen[&jobs[0]].message;
        assert!(message.contains(part), "{message}");
        assert_eq!(world.control.jobs(build).count(), 5);
    }
}

#[test]
fn jobs_that_were_made_may_make_more_within_the_limits() {
    let settings = Settings {
        max_generated_jobs: 2,
        max_jobs_per_build: 5,
        ..Settings::default()
    };
    let mut world = World::with(settings);
    world.up("east", &[], 8);
    let (build, jobs) = world.submit(vec![job("gen")]);
    let first = make(&mut world, jobs[0], vec![job("a"), job("b")]);
    // It has ended itself when its own come.
    make(&mut world, first[0], vec![job("x"), job("y")]);
    assert_eq!(world.state(first[0]).terminal(), Some(Error), "b, x and y are three");
    let second = make(&mut world, first[1], vec![job("x"), job("y")]);
    assert_eq!(world.states(&first), ["error", "finished"]);
    assert_eq!(name_of(&world, second[0]), "gen/b/x");
    make(&mut world, second[0], vec![job("z")]);
    let message = &world.seen[&second[0]].message;
    assert!(message.contains("the build has 6, the limit is 5"), "{message}");
    world.report(second[1], ended(Finished));
    assert!(world.control.build(build).is_none());
}

#[test]
fn a_workflow_answers_for_what_its_jobs_have_made() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let flow = JobSpec {
        kind: JobKind::Workflow,
        ..job("flow")
    };
    let (_, jobs) = world.submit(vec![
        job("flow/gen"),
        flow.after_when("flow/gen", StateSet::ALL),
        job("child").after("flow"),
        job("other"),
    ]);
    let made = make(&mut world, jobs[0], vec![job("a")]);
    assert_eq!(world.states(&jobs[..2]), ["finished", "waiting"]);
    world.report(made[0], ended(Failure));
    assert_eq!(world.states(&jobs[1..3]), ["failure", "skipped"]);
    assert_eq!(world.seen[&jobs[1]].message, "its job `flow/gen/a` ended as `failure`");
}

#[test]
fn cancelling_the_build_cancels_what_was_made() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (build, jobs) = world.submit(vec![job("gen"), job("child").after("gen"), job("other")]);
    let made = make(&mut world, jobs[0], vec![job("a"), job("b").after("a")]);
    world.done(Command::CancelBuild {
        build,
        extent: Default::default(),
    });
    for running in [made[0], jobs[2]] {
        world.report(running, ended(Killed));
    }
    assert_eq!(world.states(&made), ["killed", "killed"]);
    assert!(world.live.builds.is_empty(), "{:?}", BuildState::Running);
}

#[test]
fn children_that_are_over_follow_nobody_anew() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (_, jobs) = world.submit(vec![job("gen"), job("child").after("gen"), job("other")]);
    world.done(Command::CancelJob { job: jobs[1] });
    let made = make(&mut world, jobs[0], vec![job("a")]);
    assert_eq!(parents_of(&world, jobs[1]), ["gen"]);
    world.report(made[0], ended(Finished));
    assert_eq!(world.states(&jobs[1..2]), ["killed"]);
}

#[test]
fn a_file_without_jobs_changes_nothing() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (_, jobs) = world.submit(vec![job("gen"), job("child").after("gen"), job("other")]);
    make(&mut world, jobs[0], vec![]);
    assert_eq!(world.states(&jobs[..2]), ["finished", "assigned"]);
}

/// Those that share the volume already keep where it is; what is made asks for it too.
#[test]
fn jobs_that_were_made_share_the_volume_of_the_build() {
    let mut world = World::new();
    world.up("east", &["A", "B"], 8);
    world.up("west", &["A"], 8);
    let (_, jobs) = world.submit(vec![
        job("gen").on("A").with(&[VolumeKind::Shared]).preferring("east"),
        job("other"),
    ]);
    assert_eq!(world.cluster_of(jobs[0]), "east");
    world.report(jobs[0], super::super::testing::running());
    let made = make(
        &mut world,
        jobs[0],
        vec![
            job("a").on("B").with(&[VolumeKind::Shared]),
            job("b").with(&[VolumeKind::Shared]),
        ],
    );
    assert_eq!(world.states(&made), ["assigned", "assigned"]);
    assert_eq!(
        (world.cluster_of(made[0]), world.cluster_of(made[1])),
        ("east".to_owned(), "east".to_owned())
    );
}

/// An attempt that only makes an output again makes no jobs again.
#[test]
fn a_recovery_makes_no_jobs() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (build, jobs) = world.submit(vec![job("gen"), job("other")]);
    let made = make(&mut world, jobs[0], vec![job("a")]);
    assert_eq!(world.states(&made), ["assigned"]);
    world.up("west", &[], 8);
    world.done(Command::RemoveCluster {
        name: super::super::testing::cluster("east"),
        caution: Caution::None,
    });
    // `a` needs what `gen` left, which went with its cluster.
    assert_eq!(world.states(&made), ["waiting"]);
    assert_eq!(world.state(jobs[0]).as_str(), "assigned");
    make(&mut world, jobs[0], vec![job("a")]);
    assert_eq!(world.control.jobs(build).count(), 3);
    assert_eq!(world.states(&made), ["assigned"]);
    assert_eq!(world.seen[&jobs[0]].ended(), Some(Finished));
}

#[test]
fn arrays_that_are_made_keep_to_the_limits_of_a_build() {
    let submit = |settings: Settings| {
        let mut world = World::with(settings);
        world.up("east", &[], 1);
        let (_, jobs) = world.submit(vec![job("maker"), job("collect").after("maker")]);
        (world, jobs)
    };
    let (mut world, jobs) = submit(Settings::default());
    make(&mut world, jobs[0], vec![job("many").times(10_001)]);
    let message = &world.seen[&jobs[0]].message;
    assert!(
        message.contains("`collect` takes the outputs of 10001 indexes"),
        "{message}"
    );
    assert_eq!(world.states(&jobs), ["error", "skipped"]);

    let (mut world, jobs) = submit(Settings {
        max_indexes_per_build: 10,
        ..Settings::default()
    });
    make(&mut world, jobs[0], vec![job("one").times(6), job("other").times(5)]);
    let message = &world.seen[&jobs[0]].message;
    assert!(message.contains("the build has 11, the limit is 10"), "{message}");
}
