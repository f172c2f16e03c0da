//! Jobs that are large beside what their project or build may have: those that pass a limit by themselves, and those that have to wait for room.

use std::time::Duration;

use super::super::testing::{PROJECT, World, cluster, ended, job};
use super::super::{Command, Place, Present, Settings};
use super::shares::{alike, jobs_at_once, placed, project, share, submit};
use crate::build::TerminalState::Finished;
use crate::build::{BuildDefinition, JobSpec, JobState};
use crate::id::JobId;
use crate::placement::Miss;
use crate::share::{Limits, Share};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn cpu(milli: u64) -> Limits {
    Limits {
        cpu_milli: Some(milli),
        ..Limits::default()
    }
}

const NONE: Limits = Limits {
    jobs: None,
    cpu_milli: None,
    memory_bytes: None,
};

/// A world where the first project may have so much, with a large cluster.
fn limited(project_limits: Limits, build_limits: Limits) -> World {
    let mut world = World::with(Settings {
        unschedulable_after: Some(HOUR),
        ..Settings::default()
    });
    project(&mut world, 1, share(1, project_limits, build_limits));
    world.up("east", &[], 8);
    world
}

fn set(world: &mut World, project_limits: Limits, build_limits: Limits) {
    let share = share(1, project_limits, build_limits);
    world.done(Command::SetShare { id: PROJECT, share });
}

/// The agent is heard of.
fn heartbeat(world: &mut World, name: &str) {
    let session = world.session(name);
    world.done(Command::Heartbeat {
        cluster: cluster(name),
        session,
    });
}

/// The agent stays in touch while the time passes.
fn pass(world: &mut World, time: Duration) {
    let step = Duration::from_secs(10);
    for _ in 0..time.as_secs() / step.as_secs() {
        heartbeat(world, "east");
        world.pass(step);
    }
}

fn finish_all(world: &mut World, jobs: &[JobId]) {
    for job in placed(world, jobs) {
        world.report(job, ended(Finished));
    }
}

/// Whose limit it is, in words, and as the option that raises it; and the limits.
const EACH: [(&str, &str, Limits, Limits); 2] = [
    (
        "its project `demo`",
        "--max-cpu",
        Limits {
            cpu_milli: Some(1000),
            ..NONE
        },
        NONE,
    ),
    (
        "its build",
        "--build-max-cpu",
        NONE,
        Limits {
            cpu_milli: Some(1000),
            ..NONE
        },
    ),
];

#[test]
fn a_job_that_passes_a_limit_by_itself_holds_nobody_and_ends_with_the_reason() {
    for (whose, option, of_project, of_build) in EACH {
        let mut world = limited(of_project, of_build);
        let specs = vec![job("first"), job("huge").cpu(2000).times(2), job("small").times(3)];
        let jobs = submit(&mut world, PROJECT, specs);
        let others: Vec<JobId> = std::iter::once(jobs[0])
            .chain((0..3).map(|index| jobs[2].of_index(index)))
            .collect();
        for _ in 0..4 {
            assert_eq!(placed(&world, &others).len(), 1, "{whose}: one of the others runs");
            finish_all(&mut world, &others);
        }
        assert_eq!(world.states(&others), ["finished"; 4], "{whose}");
        let words = format!("it asks for 2 cpu, and {whose} may have 1 at once");
        let advice = format!(
            "ask for at most 1 cpu, or have an administrator raise the limit: `tombolo project set demo {option} 2`"
        );
        let explanation = world.control.explain(jobs[1].of_index(0)).unwrap();
        assert_eq!(explanation.summary, format!("no cluster can run it: {words}"));
        assert_eq!(explanation.advice.as_ref(), Some(&advice));
        assert_eq!(explanation.limit, None, "no end of another job makes room for it");
        let [Miss::OverLimit { over, .. }] = explanation.clusters[0].misses.as_slice() else {
            panic!("{explanation:?}");
        };
        assert_eq!((over.limit, over.request), (1000, 2000));
        pass(&mut world, HOUR);
        assert_eq!(world.states(&jobs), ["finished", "error", "finished"], "{whose}");
        let message = &world.seen[&jobs[1].of_index(0)].message;
        let expected = format!("it has waited for 3600s in vain: no cluster can run it: {words}; {advice}");
        assert_eq!(message, &expected);
    }
}

#[test]
fn of_a_class_only_the_jobs_of_those_projects_end_that_have_such_limits() {
    let mut world = limited(cpu(1000), NONE);
    let other = project(&mut world, 2, Share::default());
    let session = world.session("east");
    world.done(Command::Disconnect {
        cluster: cluster("east"),
        session,
    });
    let own = submit(&mut world, PROJECT, vec![job("large").cpu(2000)]);
    let others = submit(&mut world, other, vec![job("large").cpu(2000)]);
    world.pass(HOUR);
    assert_eq!(world.states(&own), ["error"]);
    assert_eq!(world.states(&others), ["queued"]);
}

#[test]
fn a_job_that_passes_a_limit_by_itself_goes_on_when_that_is_raised_and_is_held_when_it_is_lowered() {
    for (whose, _, of_project, of_build) in EACH {
        let mut world = limited(of_project, of_build);
        let jobs = submit(&mut world, PROJECT, vec![job("huge").cpu(2000), job("small")]);
        assert_eq!(placed(&world, &jobs), jobs[1..], "{whose}");
        world.restart();
        world.hello_again("east", 8);
        assert_eq!(placed(&world, &jobs), jobs[1..], "{whose}: after a restart");
        set(&mut world, NONE, cpu(3000));
        assert_eq!(placed(&world, &jobs), jobs, "{whose}: raised");

        let jobs = submit(
            &mut world,
            PROJECT,
            vec![job("a").cpu(2000), job("b").cpu(2000), job("c")],
        );
        assert_eq!(placed(&world, &jobs), jobs[..1], "{whose}: its build is at a limit");
        set(&mut world, of_project, of_build);
        let first = world.control.explain(jobs[1]).unwrap();
        assert!(
            first.summary.contains(&format!("and {whose} may have 1 at once")),
            "{whose}: {first:?}"
        );
    }
}

#[test]
fn a_plan_says_of_a_job_that_passes_a_limit_by_itself_that_it_can_run_nowhere() {
    for (whose, _, of_project, of_build) in EACH {
        let world = limited(of_project, of_build);
        let jobs = vec![job("large").cpu(2000), job("array").cpu(2000).times(3), job("small")];
        let planned = world.control.plan(PROJECT, BuildDefinition { jobs }).unwrap();
        let words = format!("no cluster can run it: it asks for 2 cpu, and {whose} may have 1 at once");
        for (place, summary) in [(0, words.clone()), (1, format!("index 0 of 3: {words}"))] {
            let Place::Nowhere(explanation) = &planned[place].place else {
                panic!("{planned:?}")
            };
            assert_eq!(explanation.summary, summary);
            assert!(explanation.advice.is_some() && explanation.limit.is_none());
        }
        assert!(matches!(planned[2].place, Place::Cluster { .. }), "{planned:?}");
    }
}

#[test]
fn what_a_cluster_is_too_small_for_besides_is_said_as_well() {
    let mut world = limited(cpu(1000), NONE);
    let jobs = submit(&mut world, PROJECT, vec![job("large").cpu(10_000)]);
    let advice = world.control.explain(jobs[0]).unwrap().advice.unwrap();
    let expected = "ask for at most 1 cpu, or have an administrator raise the limit: `tombolo project set demo --max-cpu 10`; \
                    to have it fit on cluster `east`: ask for at most 8 cpu, or give the cluster 10";
    assert_eq!(advice, expected);
}

#[test]
fn a_job_that_may_wait_only_so_long_is_not_told_to_wait_longer_for_what_never_comes() {
    let mut world = limited(cpu(1000), NONE);
    let jobs = submit(&mut world, PROJECT, vec![job("large").cpu(2000).found_within(5)]);
    world.pass(Duration::from_secs(5));
    let message = &world.seen[&jobs[0]].message;
    let expected = "it found no cluster within 5s (`timeouts.queue`): no cluster can run it: it asks for 2 cpu, and its project `demo` may have 1 at once; \
                    ask for at most 1 cpu, or have an administrator raise the limit: `tombolo project set demo --max-cpu 2`";
    assert_eq!(message, expected);
}

#[test]
fn a_large_job_is_not_passed_by_an_array_of_small_ones_at_a_limit() {
    for (whose, of_project, of_build) in [("project", cpu(1000), NONE), ("build", NONE, cpu(1000))] {
        let mut world = limited(of_project, of_build);
        let specs = vec![job("now").cpu(500), job("big"), job("small").cpu(500).times(300)];
        let jobs = submit(&mut world, PROJECT, specs);
        let small: Vec<JobId> = (0..300).map(|index| jobs[2].of_index(index)).collect();
        assert_eq!(placed(&world, &jobs), [jobs[0]], "{whose}");
        assert!(placed(&world, &small).is_empty(), "{whose}: none goes past it");
        let summary = world.control.explain(small[0]).unwrap().summary;
        let expected = match whose {
            "project" => "its project `demo` is at a limit, and `big` comes before it",
            _ => "its build is at a limit, and `big` comes before it",
        };
        assert_eq!(summary, expected);
        world.report(jobs[0], ended(Finished));
        assert_eq!(placed(&world, &jobs), [jobs[1]], "{whose}");
        world.report(jobs[1], ended(Finished));
        assert_eq!(placed(&world, &small).len(), 2, "{whose}");
    }
}

/// What is ready first comes first, however many small ones become ready while it waits, and whatever happens meanwhile.
#[test]
fn a_large_job_comes_to_its_turn_while_small_ones_keep_coming() {
    let restart: fn(&mut World) = |world| {
        world.restart();
        world.hello_again("east", 8);
    };
    let lower: fn(&mut World) = |world| {
        let share = world.control.project_by_id(PROJECT).unwrap().share.clone();
        set(world, cpu(1000), share.build_limits);
        world.done(Command::SetShare { id: PROJECT, share });
    };
    let nothing: fn(&mut World) = |_| {};
    for (of_project, of_build) in [(cpu(2000), NONE), (NONE, cpu(2000)), (cpu(2500), cpu(2000))] {
        for meanwhile in [nothing, restart, lower] {
            let mut world = limited(of_project, of_build);
            // Chains: each small one that ends makes another one ready.
            let chain = |name: &str| -> Vec<JobSpec> {
                let name = |index: usize| format!("{name}{index}");
                let links = (0..10).map(|index| match index {
                    0 => job(&name(0)),
                    _ => job(&name(index)).after(&name(index - 1)),
                });
                links.collect()
            };
            let mut specs = chain("a");
            specs.extend(chain("b"));
            specs.push(job("large").cpu(2000));
            let jobs = submit(&mut world, PROJECT, specs);
            let large = jobs[20];
            assert_eq!(world.state(large), JobState::Queued);
            let mut ends = 0;
            while placed(&world, &[large]).is_empty() {
                world.advance(Duration::from_secs(1));
                let running = placed(&world, &jobs);
                world.report(running[0], ended(Finished));
                meanwhile(&mut world);
                ends += 1;
                assert!(ends < 10, "it starves");
            }
            finish_all(&mut world, &jobs);
        }
    }
}

#[test]
fn a_small_job_of_another_build_does_not_go_past_the_first_of_the_project_and_says_so() {
    let mut world = limited(cpu(2000), NONE);
    let running = submit(&mut world, PROJECT, alike(1, 1000));
    let large = submit(&mut world, PROJECT, vec![job("large").cpu(2000)]);
    world.advance(Duration::from_secs(1));
    let small = submit(&mut world, PROJECT, vec![job("small"), job("urgent").priority(1)]);
    assert_eq!(placed(&world, &small), [small[1]], "what is more important does");
    assert_eq!(
        world.control.explain(small[0]).unwrap().summary,
        "its project `demo` may have 2 cpu at once, and would have 3 with it"
    );
    world.report(small[1], ended(Finished));
    assert_eq!(
        world.control.explain(small[0]).unwrap().summary,
        "its project `demo` is at a limit, and `large` of build 2 comes before it"
    );
    world.done(Command::CancelJob { job: large[0] });
    assert_eq!(placed(&world, &small), [small[0]], "it waited for that one alone");
    finish_all(&mut world, &running);
}

#[test]
fn a_small_job_of_a_build_goes_on_when_the_one_before_it_is_cancelled() {
    let mut world = limited(NONE, cpu(2000));
    let specs = vec![job("running"), job("large").cpu(2000), job("small")];
    let jobs = submit(&mut world, PROJECT, specs);
    assert_eq!(placed(&world, &jobs), [jobs[0]]);
    world.done(Command::CancelJob { job: jobs[1] });
    assert_eq!(placed(&world, &jobs), [jobs[0], jobs[2]]);
}

#[test]
fn a_job_that_finds_no_cluster_does_not_hold_back_what_the_limit_of_its_build_has_room_for() {
    let mut world = limited(NONE, cpu(1500));
    world.up("west", &["GCP"], 1);
    let specs = vec![
        job("short").cpu(1000).on("!GCP"),
        job("long").cpu(500).on("!GCP"),
        job("there").cpu(1000).on("GCP"),
        job("small").cpu(500).on("!GCP"),
        job("other").cpu(500).on("!GCP"),
    ];
    let jobs = submit(&mut world, PROJECT, specs);
    assert_eq!(placed(&world, &jobs), [jobs[0], jobs[1]]);
    world.done(Command::SetAvailability {
        name: cluster("west"),
        availability: crate::placement::Availability::Cordoned,
        present: Present::Stay,
    });
    let said = world.control.explain(jobs[3]).unwrap().limit.unwrap();
    assert_eq!(said, "its build may have 1.5 cpu at once, and would have 2 with it");
    world.report(jobs[0], ended(Finished));
    assert_eq!(placed(&world, &jobs), [jobs[1], jobs[3], jobs[4]]);
    assert!(
        world.control.explain(jobs[2]).unwrap().limit.is_some(),
        "it would pass the limit now"
    );
}

#[test]
fn a_limit_of_no_job_at_all_holds_everything_back_until_it_is_lifted() {
    let none_at_all = Limits { jobs: Some(0), ..NONE };
    let mut world = limited(NONE, jobs_at_once(1));
    let jobs = submit(&mut world, PROJECT, alike(3, 100));
    assert_eq!(placed(&world, &jobs), [jobs[0]]);
    set(&mut world, NONE, none_at_all);
    world.report(jobs[0], ended(Finished));
    world.done(Command::CancelJob { job: jobs[1] });
    assert_eq!(placed(&world, &jobs), []);
    set(&mut world, NONE, NONE);
    assert_eq!(placed(&world, &jobs), [jobs[2]]);
}

#[test]
fn a_build_at_its_own_limit_does_not_hold_back_the_others_of_its_project() {
    let mut world = limited(cpu(3000), cpu(2000));
    let first = submit(&mut world, PROJECT, vec![job("a").cpu(2000), job("b").cpu(2000)]);
    world.advance(Duration::from_secs(1));
    let second = submit(&mut world, PROJECT, alike(2, 1000));
    assert_eq!(placed(&world, &first), [first[0]]);
    assert_eq!(
        placed(&world, &second),
        [second[0]],
        "`b` could not go whatever the project has left"
    );
}

#[test]
fn other_projects_go_on_while_one_waits_for_its_limit() {
    let mut world = limited(jobs_at_once(1), NONE);
    let other = project(&mut world, 2, Share::default());
    let own = submit(&mut world, PROJECT, alike(3, 1000));
    let others = submit(&mut world, other, alike(3, 1000));
    assert_eq!((placed(&world, &own).len(), placed(&world, &others).len()), (1, 3));
}

#[test]
fn a_job_for_which_limit_and_cluster_never_have_room_at_once_gets_both() {
    for (of_project, of_build) in [(cpu(2000), NONE), (NONE, cpu(2000))] {
        takes_both_in_the_end(of_project, of_build);
    }
}

fn takes_both_in_the_end(of_project: Limits, of_build: Limits) {
    // Another project takes what becomes free on the only cluster that suits the large job, small ones of its own what becomes free in the limit.
    let mut world = World::with(Settings {
        keep_room_after: Duration::from_secs(60),
        ..Settings::default()
    });
    project(&mut world, 1, share(1, of_project, of_build));
    let other = project(&mut world, 2, share(1000, NONE, NONE));
    world.up("east", &["gpu=1"], 2);
    world.up("west", &[], 8);
    let gpus = vec![job("o").on("gpu"), job("p").on("gpu"), job("q").on("gpu")];
    let mut others = submit(&mut world, other, gpus);
    // Each small one that ends makes the next of its chain ready.
    let link = |chain: &str, index: usize| match index {
        0 => job(&format!("{chain}0")).on("!gpu"),
        _ => job(&format!("{chain}{index}"))
            .on("!gpu")
            .after(&format!("{chain}{}", index - 1)),
    };
    let mut specs: Vec<JobSpec> = ["s", "t", "u"]
        .iter()
        .flat_map(|chain| (0..100).map(move |index| link(chain, index)))
        .collect();
    specs.push(job("large").cpu(2000).on("gpu"));
    let small = submit(&mut world, PROJECT, specs);
    let large = small[300];
    let mut rounds = 0;
    while placed(&world, &[large]).is_empty() {
        rounds += 1;
        assert!(rounds < 100, "it starves");
        heartbeat(&mut world, "east");
        heartbeat(&mut world, "west");
        world.pass(Duration::from_secs(10));
        others.extend(submit(&mut world, other, vec![job("o").on("gpu")]));
        // The small ones end by turns, so that there is never room for the large one by chance.
        for jobs in [&others, &small] {
            if let Some(first) = placed(&world, jobs).first() {
                world.report(*first, ended(Finished));
            }
        }
    }
}
