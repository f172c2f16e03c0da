//! Submission, edges, and the end of builds.

use super::super::record::Build;
use super::super::testing::{PROJECT, World, ended, job};
use super::super::{Change, Command, Effects, EventKind, Refusal, Settings};
use crate::build::{BuildState, JobSpec, StateSet, TerminalState};
use crate::id::JobId;
use TerminalState::{Error, Failure, Finished, Killed, Skipped, Unstable};

/// The build as it ended, if it did.
fn ended_build(effects: &Effects) -> Option<&Build> {
    effects.changes.iter().find_map(|change| match change {
        Change::PutBuild(build) => Some(build),
        _ => None,
    })
}

#[test]
fn roots_are_placed_in_the_same_step() {
    let mut world = World::new();
    world.up("east", &[], 4);
    let submission = world.submission(PROJECT, vec![job("a"), job("b").after("a")]);
    let (id, jobs) = (submission.id, submission.jobs.clone());
    let effects = world.done(Command::Submit(Box::new(submission)));
    assert_eq!(world.states(&jobs), ["assigned", "waiting"]);
    assert!(
        matches!(
            effects.changes.as_slice(),
            [Change::PutProject(project), Change::InsertBuild { build, nodes, specs }, Change::PutJob(status)]
                if project.last_build == 1 && build.id == id && nodes.len() == 2 && specs.len() == 2 && status.id == jobs[0]
        ),
        "{:?}",
        effects.changes
    );
    assert_eq!(effects.events.len(), 2);
    assert_eq!(world.control.build(id).map(|build| build.number), Some(1));
    let (second, _) = world.submit(vec![job("a")]);
    assert_eq!(world.control.build(second).map(|build| build.number), Some(2));
}

#[test]
fn children_follow_when_all_conditions_hold() {
    let any = StateSet::ALL;
    let unless_finished = StateSet::of(&[Failure, Error, Unstable]);
    for (first, second, conditions, expected) in [
        (Finished, Finished, [StateSet::of(&[Finished]); 2], "assigned"),
        (Finished, Failure, [StateSet::of(&[Finished]); 2], "skipped"),
        (Finished, Failure, [any, any], "assigned"),
        (Failure, Finished, [unless_finished, any], "assigned"),
        (Finished, Finished, [unless_finished, any], "skipped"),
        (Unstable, Error, [unless_finished, unless_finished], "assigned"),
    ] {
        let mut world = World::new();
        world.up("east", &[], 4);
        let child = job("c").after_when("a", conditions[0]).after_when("b", conditions[1]);
        let (_, jobs) = world.submit(vec![job("a"), job("b"), child, job("keeper")]);
        world.report(jobs[0], ended(first));
        assert_eq!(world.states(&jobs[2..3]), ["waiting"], "one parent still runs");
        world.report(jobs[1], ended(second));
        assert_eq!(world.states(&jobs[2..3]), [expected], "{first} {second}");
        if expected == "skipped" {
            let message = &world.seen[&jobs[2]].message;
            assert!(
                message.contains("its parent `") && message.contains("ended as"),
                "{message}"
            );
        }
    }
}

#[test]
fn builds_take_over_the_worst_state() {
    for (states, expected) in [
        (vec![Finished], Finished),
        (vec![Finished, Unstable], Unstable),
        (vec![Unstable, Failure, Finished], Failure),
        (vec![Failure, Error, Unstable], Error),
        (vec![Error, Killed, Failure], Killed),
    ] {
        let mut world = World::new();
        world.up("east", &[], 4);
        let names = ["a", "b", "c"];
        let jobs: Vec<JobSpec> = names.iter().take(states.len()).map(|name| job(name)).collect();
        let (id, jobs) = world.submit(jobs);
        let (last, rest) = jobs.split_last().unwrap();
        for (job, state) in rest.iter().zip(&states) {
            assert_eq!(ended_build(&world.report(*job, ended(*state))), None);
        }
        let effects = world.report(*last, ended(states[rest.len()]));
        let build = ended_build(&effects).unwrap();
        assert_eq!(build.state, BuildState::Terminal(expected));
        assert_eq!(build.ended_at, Some(world.now.wall));
        assert!(
            matches!(effects.events.last().map(|event| &event.kind), Some(EventKind::Build(told)) if told == build)
        );
        assert!(
            world.control.build(id).is_none() && world.control.job(*last).is_none(),
            "it leaves memory"
        );
    }
}

#[test]
fn skipping_goes_down_a_long_chain_at_once() {
    const LENGTH: usize = 10_000;
    let mut world = World::new();
    let names: Vec<String> = (0..LENGTH).map(|index| format!("j{index}")).collect();
    let mut jobs = vec![job(&names[0])];
    jobs.extend(names.windows(2).map(|pair| job(&pair[1]).after(&pair[0])));
    let submission = world.submission(PROJECT, jobs);
    let first = submission.jobs[0];
    // The checks of the world are quadratic here: only the control plane itself is to be seen.
    let control = &mut world.control;
    assert!(
        control
            .apply(world.now, Command::Submit(Box::new(submission)))
            .reply
            .is_ok()
    );
    let effects = control.apply(world.now, Command::CancelJob { job: first });
    assert_eq!(
        ended_build(&effects).map(|build| build.state),
        Some(BuildState::Terminal(Killed))
    );
    assert_eq!(effects.changes.len(), LENGTH + 1);
    let skipped = effects
        .changes
        .iter()
        .filter(|change| matches!(change, Change::PutJob(status) if status.state.terminal() == Some(Skipped)));
    assert_eq!(skipped.count(), LENGTH - 1);
}

#[test]
fn diamonds_take_linear_time() {
    const LAYERS: usize = 30;
    let mut world = World::new();
    world.up("east", &[], 4);
    let mut jobs = vec![job("top")];
    let mut above = vec!["top".to_owned()];
    for layer in 0..LAYERS {
        let names = [format!("left{layer}"), format!("right{layer}")];
        for name in &names {
            jobs.push(above.iter().fold(job(name), |job, parent| job.after(parent)));
        }
        above = names.into();
    }
    let (_, jobs) = world.submit(jobs);
    for job in &jobs {
        world.report(*job, ended(Finished));
    }
    assert!(jobs.iter().all(|job| world.state(*job).terminal() == Some(Finished)));
    assert_eq!(world.control.builds().count(), 0);
}

#[test]
fn what_cannot_be_a_build_is_refused() {
    let settings = Settings {
        max_jobs_per_build: 2,
        max_running_builds: 1,
        max_live_jobs: 2,
        ..Settings::default()
    };
    let mut world = World::with(settings);
    for (jobs, part) in [
        (vec![], "at least one job"),
        (vec![job("a"), job("b"), job("c")], "the limit is 2"),
        (vec![job("a").after("b")], "`b`, which is not in the build"),
        (vec![job("a").after("b"), job("b").after("a")], "for itself"),
        (vec![job("a").after("a")], "for itself"),
        (vec![job("a"), job("a")], "the same name"),
    ] {
        let submission = world.submission(PROJECT, jobs);
        let refusal = world.refused(Command::Submit(Box::new(submission)));
        assert!(refusal.to_string().contains(part), "{refusal}");
    }
    world.control.settings.max_live_jobs = 1;
    let submission = world.submission(PROJECT, vec![job("a"), job("b")]);
    let never = "the build has 2 jobs, and all running builds together may have 1 (`limits.live_jobs`)".to_owned();
    assert_eq!(
        world.refused(Command::Submit(Box::new(submission))),
        Refusal::TooLarge(never)
    );
    world.control.settings.max_live_jobs = 2;
    let mut doubled = world.submission(PROJECT, vec![job("a"), job("b")]);
    doubled.jobs = vec![JobId::from_u128(5); 2];
    assert!(matches!(
        world.refused(Command::Submit(Box::new(doubled))),
        Refusal::Conflict(_)
    ));
    let stranger = world.submission(crate::id::ProjectId::from_u128(77), vec![job("a")]);
    assert!(matches!(
        world.refused(Command::Submit(Box::new(stranger))),
        Refusal::NotFound { kind: "project", .. }
    ));

    let submission = world.submission(PROJECT, vec![job("a")]);
    world.done(Command::Submit(Box::new(submission.clone())));
    assert!(matches!(
        world.refused(Command::Submit(Box::new(submission))),
        Refusal::Limit(_)
    ));
    assert_eq!(
        world.control.project_by_id(PROJECT).map(|project| project.last_build),
        Some(1)
    );
}

#[test]
fn a_build_is_taken_in_once() {
    let mut world = World::new();
    let submission = world.submission(PROJECT, vec![job("a")]);
    world.done(Command::Submit(Box::new(submission.clone())));
    let refusal = world.refused(Command::Submit(Box::new(submission)));
    assert!(matches!(refusal, Refusal::Exists { kind: "build", .. }));
}
