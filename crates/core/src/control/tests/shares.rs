//! Fair shares between projects, limits, and priorities.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::testing::{PROJECT, World, ended, job};
use super::super::{Command, Refusal, Settings};
use crate::build::JobSpec;
use crate::build::TerminalState::Finished;
use crate::id::{JobId, ProjectId};
use crate::name::ProjectName;
use crate::share::{Limits, Share};

pub(super) fn share(weight: u32, limits: Limits, build_limits: Limits) -> Share {
    Share {
        weight,
        limits,
        build_limits,
        ..Share::default()
    }
}

pub(super) fn jobs_at_once(jobs: u32) -> Limits {
    Limits {
        jobs: Some(jobs),
        ..Limits::default()
    }
}

/// A project with a number in place of an id.
pub(super) fn project(world: &mut World, number: u128, share: Share) -> ProjectId {
    let id = ProjectId::from_u128(number);
    if id != PROJECT {
        let name = ProjectName::new(&format!("project-{number}")).unwrap();
        world.done(Command::CreateProject { id, name });
    }
    world.done(Command::SetShare { id, share });
    id
}

pub(super) fn submit(world: &mut World, project: ProjectId, jobs: Vec<JobSpec>) -> Vec<JobId> {
    let submission = world.submission(project, jobs);
    let ids = submission.jobs.clone();
    world.done(Command::Submit(Box::new(submission)));
    ids
}

pub(super) fn placed<'a>(world: &World, jobs: impl IntoIterator<Item = &'a JobId>) -> Vec<JobId> {
    let jobs = jobs.into_iter().copied();
    jobs.filter(|job| world.control.assignment(world.attempt(*job)).is_some())
        .collect()
}

pub(super) fn alike(count: usize, cpu: u64) -> Vec<JobSpec> {
    (0..count).map(|index| job(&format!("j{index}")).cpu(cpu)).collect()
}

#[test]
fn projects_share_by_weight_what_is_scarcest() {
    // What 12 processors come to, of jobs of one processor or two.
    for (weights, sizes, expected) in [
        ([1, 1, 1], [1000, 1000, 1000], [4, 4, 4]),
        ([3, 2, 1], [1000, 1000, 1000], [6, 4, 2]),
        ([1, 1, 1], [1000, 2000, 1000], [4, 2, 4]),
    ] {
        let mut world = World::new();
        let mut jobs = Vec::new();
        for ((number, weight), size) in (1..).zip(weights).zip(sizes) {
            let id = project(&mut world, number, share(weight, Limits::default(), Limits::default()));
            jobs.push(submit(&mut world, id, alike(20, size)));
        }
        world.up("east", &[], 12);
        let found: Vec<usize> = jobs.iter().map(|jobs| placed(&world, jobs).len()).collect();
        assert_eq!(found, expected, "{weights:?} {sizes:?}");
        // Whoever has less than its share is next when something ends, whoever ended it.
        let first = placed(&world, &jobs[0])[0];
        world.report(first, ended(Finished));
        let found: Vec<usize> = jobs.iter().map(|jobs| placed(&world, jobs).len()).collect();
        assert_eq!(found, expected, "{weights:?} {sizes:?} after an end");
    }
}

#[test]
fn a_project_alone_has_everything() {
    let mut world = World::new();
    project(&mut world, 2, share(1000, Limits::default(), Limits::default()));
    let jobs = submit(&mut world, PROJECT, alike(5, 1000));
    world.up("east", &[], 4);
    assert_eq!(placed(&world, &jobs).len(), 4);
}

#[test]
fn limits_hold_and_say_so_and_lifting_them_lets_jobs_go_on() {
    let cpu = Limits {
        cpu_milli: Some(2500),
        ..Limits::default()
    };
    for (share, count, words) in [
        (
            share(1, jobs_at_once(2), Limits::default()),
            2,
            "its project `demo` may have 2 jobs at once, and has them",
        ),
        (
            share(1, cpu, Limits::default()),
            2,
            "its project `demo` may have 2.5 cpu at once, and would have 3 with it",
        ),
        (
            share(1, Limits::default(), jobs_at_once(3)),
            3,
            "its build may have 3 jobs at once, and has them",
        ),
        (
            share(1, jobs_at_once(3), jobs_at_once(1)),
            1,
            "its build may have 1 job at once, and has it",
        ),
    ] {
        let mut world = World::new();
        project(&mut world, 1, share);
        world.up("east", &[], 8);
        let jobs = submit(&mut world, PROJECT, alike(5, 1000));
        assert_eq!(placed(&world, &jobs), jobs[..count], "{words}");
        assert_eq!(world.control.explain(jobs[4]).unwrap().summary, words);
        world.report(jobs[0], ended(Finished));
        assert_eq!(
            placed(&world, &jobs),
            jobs[1..=count],
            "{words}: one more when one ends"
        );
        world.restart();
        world.hello("east", 8, &[]);
        assert_eq!(placed(&world, &jobs), jobs[1..=count], "{words}: after a restart");
        let id = PROJECT;
        let share = Share::default();
        world.done(Command::SetShare { id, share });
        assert_eq!(placed(&world, &jobs), jobs[1..], "{words}: lifted");
    }
}

#[test]
fn builds_at_their_limit_do_not_keep_others_waiting() {
    let mut world = World::new();
    project(&mut world, 1, share(1, Limits::default(), jobs_at_once(1)));
    let first = submit(&mut world, PROJECT, alike(3, 1000));
    let second = submit(&mut world, PROJECT, alike(3, 1000));
    world.up("east", &[], 8);
    assert_eq!((placed(&world, &first).len(), placed(&world, &second).len()), (1, 1));
    world.done(Command::CancelJob { job: first[1] });
    world.report(first[0], ended(Finished));
    assert_eq!(
        placed(&world, &first),
        [first[2]],
        "a job that was held can be cancelled"
    );
}

#[test]
fn a_large_job_of_a_build_at_its_limit_comes_to_its_turn() {
    let mut world = World::new();
    let limits = Limits {
        cpu_milli: Some(2000),
        ..Limits::default()
    };
    project(&mut world, 1, share(1, Limits::default(), limits));
    world.up("east", &[], 8);
    let specs = vec![job("a"), job("b"), job("large").cpu(2000), job("c"), job("d")];
    let jobs = submit(&mut world, PROJECT, specs);
    assert_eq!(placed(&world, &jobs), jobs[..2]);
    world.report(jobs[0], ended(Finished));
    assert_eq!(placed(&world, &jobs), [jobs[1]], "small ones do not go past it");
    let summary = world.control.explain(jobs[4]).unwrap().summary;
    assert_eq!(summary, "its build is at a limit, and `large` comes before it");
    world.report(jobs[1], ended(Finished));
    assert_eq!(placed(&world, &jobs), [jobs[2]]);
}

#[test]
fn priorities_order_the_jobs_of_a_project_and_waiting_makes_up_for_them() {
    let settings = Settings {
        priority_step: Duration::from_secs(60),
        ..Settings::default()
    };
    let mut world = World::with(settings);
    let with = |name: &str, priority| JobSpec { priority, ..job(name) };
    let early = submit(
        &mut world,
        PROJECT,
        vec![with("low", -10), with("usual", 0), with("high", 10)],
    );
    world.pass(Duration::from_secs(11 * 60));
    let late = submit(
        &mut world,
        PROJECT,
        vec![with("usual", 0), with("high", 10), with("urgent", 100)],
    );
    world.up("east", &[], 1);
    let names: BTreeMap<JobId, &str> = [
        (early[0], "low"),
        (early[1], "usual"),
        (early[2], "high"),
        (late[0], "later usual"),
        (late[1], "later high"),
        (late[2], "urgent"),
    ]
    .into();
    let mut order = Vec::new();
    while let Some(job) = placed(&world, names.keys()).first().copied() {
        order.push(names[&job]);
        world.report(job, ended(Finished));
    }
    assert_eq!(order, ["urgent", "high", "usual", "later high", "low", "later usual"]);
}

#[test]
fn impossible_weights_and_unknown_projects_are_refused() {
    let mut world = World::new();
    for weight in [0, 1001] {
        let share = share(weight, Limits::default(), Limits::default());
        let refusal = world.refused(Command::SetShare { id: PROJECT, share });
        assert!(refusal.to_string().contains("give 1 to 1000"), "{refusal}");
    }
    let id = ProjectId::from_u128(9);
    let share = Share::default();
    let refusal = world.refused(Command::SetShare { id, share });
    assert!(matches!(refusal, Refusal::NotFound { kind: "project", .. }));
}

#[test]
fn a_large_job_is_not_passed_by_small_ones_for_ever() {
    let settings = Settings {
        keep_room_after: Duration::from_secs(300),
        ..Settings::default()
    };
    let mut world = World::with(settings);
    world.up("east", &[], 4);
    let mut small = submit(&mut world, PROJECT, alike(4, 1000));
    let large = submit(&mut world, PROJECT, vec![job("large").cpu(4000)])[0];
    let mut rounds = 0;
    while placed(&world, &[large]).is_empty() {
        rounds += 1;
        assert!(rounds < 100, "it starves");
        world.hello_again("east", 4);
        world.pass(Duration::from_secs(10));
        small.extend(submit(&mut world, PROJECT, alike(2, 1000)));
        let running = placed(&world, &small);
        world.report(running[0], ended(Finished));
        if let Some(waiting) = small
            .iter()
            .find(|job| world.state(**job) == crate::build::JobState::Queued)
        {
            let summary = world.control.explain(*waiting).unwrap().summary;
            assert_eq!(summary, "it waits for room on `east`");
        }
    }
    assert!(rounds > 25, "others went past it for a while");
    world.report(large, ended(Finished));
    assert_eq!(placed(&world, &small).len(), 4, "and then it is their turn");
}

#[test]
fn a_plan_does_not_say_of_a_project_without_jobs_that_it_has_them() {
    let mut world = World::new();
    project(&mut world, 1, share(1, jobs_at_once(2), Limits::default()));
    world.up("east", &[], 8);
    let definition = crate::build::BuildDefinition { jobs: alike(3, 1000) };
    let planned = world.control.plan(PROJECT, definition.clone()).unwrap();
    let crate::control::Place::Waits(explanation) = &planned[2].place else {
        panic!("{planned:?}")
    };
    assert_eq!(
        explanation.summary,
        "its project `demo` may have 2 jobs at once, and would have them already"
    );
    submit(&mut world, PROJECT, alike(2, 1000));
    let planned = world.control.plan(PROJECT, definition).unwrap();
    let crate::control::Place::Waits(explanation) = &planned[0].place else {
        panic!("{planned:?}")
    };
    assert_eq!(
        explanation.summary,
        "its project `demo` may have 2 jobs at once, and has them"
    );
}
