//! Arrays of builds that are over, run again: all of it, what failed, or one index.

use super::*;
use crate::build::StateSet;
use crate::control::command::Rerun;
use crate::control::record::{JobNode, JobStatus};
use crate::control::testing::PROJECT;
use crate::name::JobName;
use crate::rerun::{Indexes, Scope, plan};

/// A build of an array and a job after it, which is over: with what a store has of it then.
fn over(world: &mut World, ends: &[TerminalState]) -> (Vec<(JobNode, JobStatus)>, Indexes) {
    let count = u32::try_from(ends.len()).unwrap();
    let specs = specs(count);
    let (build, jobs) = world.submit(specs);
    let nodes: Vec<JobNode> = world.control.jobs(build).map(|job| job.node.clone()).collect();
    for (index, end) in (0..).zip(ends) {
        world.report(jobs[0].of_index(index), ended(*end));
    }
    if world.state(jobs[1]) == JobState::Assigned {
        world.report(jobs[1], ended(Finished));
    }
    let mut indexes = Indexes::default();
    let begun = (0..count).filter_map(|index| world.seen.get(&jobs[0].of_index(index)).cloned());
    indexes.insert(jobs[0], begun.collect());
    let jobs = nodes.into_iter().map(|node| {
        let status = world.seen[&node.id].clone();
        (node, status)
    });
    (jobs.collect(), indexes)
}

fn specs(count: u32) -> Vec<crate::build::JobSpec> {
    vec![job("sim").times(count), job("after").after_when("sim", StateSet::ALL)]
}

#[test]
fn what_failed_runs_again_and_the_rest_is_taken_over() {
    let of_index = |index: &str| Scope::Job {
        name: JobName::new(index).unwrap(),
        descendants: true,
    };
    for (scope, runs) in [
        (Scope::All, vec![0, 1, 2]),
        (Scope::Failed, vec![1]),
        (of_index("sim"), vec![0, 1, 2]),
        (of_index("sim/2"), vec![2]),
    ] {
        let mut world = world(3);
        let (jobs, indexes) = over(&mut world, &[Finished, Failure, Finished]);
        let planned = plan(&scope, &jobs, &specs(3), &indexes, &|_, _| None).unwrap();
        let mut submission = world.submission(PROJECT, planned.definition.jobs);
        let ids = submission.jobs.clone();
        submission.rerun = Some(Box::new(Rerun {
            of: 1,
            restarts: 1,
            jobs: planned.jobs,
        }));
        world.done(Command::Submit(Box::new(submission)));
        assert_eq!(held(&world, ids[0]), runs, "{scope:?}");
        for index in runs {
            world.report(ids[0].of_index(index), ended(Finished));
        }
        // With index 2 alone, what failed is taken over as it failed.
        let state = if scope == of_index("sim/2") {
            "failure"
        } else {
            "finished"
        };
        assert_eq!(world.states(&ids), [state, "assigned"], "{scope:?}");
        let left = if state == "failure" { 2 } else { 3 };
        let given = world.control.assignment(world.attempt(ids[1])).unwrap().inputs.len();
        assert_eq!(given, left, "outputs that were taken over are given on");
    }
}

#[test]
fn an_array_that_is_taken_over_has_its_outputs() {
    let mut world = world(3);
    let (jobs, indexes) = over(&mut world, &[Finished, Finished]);
    let scope = Scope::Job {
        name: JobName::new("after").unwrap(),
        descendants: true,
    };
    let planned = plan(&scope, &jobs, &specs(2), &indexes, &|_, _| None).unwrap();
    let mut submission = world.submission(PROJECT, planned.definition.jobs);
    let ids = submission.jobs.clone();
    submission.rerun = Some(Box::new(Rerun {
        of: 1,
        restarts: 1,
        jobs: planned.jobs,
    }));
    world.done(Command::Submit(Box::new(submission)));
    assert_eq!(world.states(&ids), ["finished", "assigned"]);
    assert_eq!(counts(&world, ids[0]), "2 finished");
    assert_eq!(world.control.assignment(world.attempt(ids[1])).unwrap().inputs.len(), 2);
    assert_eq!(world.seen[&ids[0].of_index(1)].message, "taken over from build 1");
}

/// What follows takes the outputs of all indexes.
#[test]
fn indexes_whose_outputs_are_gone_run_again_with_the_one_that_is_named() {
    let mut world = world(3);
    let (jobs, indexes) = over(&mut world, &[Finished, Finished, Finished]);
    let gone = |_: &JobNode, status: &JobStatus| {
        let index = status.id.array_and_index().map(|(_, index)| index);
        (index == Some(0)).then(|| "it was not kept".to_owned())
    };
    for (descendants, left_alone) in [(true, vec![1]), (false, vec![0, 1])] {
        let scope = Scope::Job {
            name: JobName::new("sim/2").unwrap(),
            descendants,
        };
        let planned = plan(&scope, &jobs, &specs(3), &indexes, &gone).unwrap();
        let known = planned.jobs[0].indexes.iter();
        let left: Vec<u32> = known
            .filter_map(|status| Some(status.id.array_and_index()?.1))
            .collect();
        assert_eq!(left, left_alone, "{descendants}");
        let lost = planned.jobs[0].indexes[0].output_lost();
        assert_eq!(lost.is_some(), !descendants, "{lost:?}");
    }
}

#[test]
fn an_index_that_is_not_there_is_named() {
    let mut world = world(2);
    let (jobs, indexes) = over(&mut world, &[Finished, Failure]);
    for name in ["sim/2", "after/0", "sim/x"] {
        let scope = Scope::Job {
            name: JobName::new(name).unwrap(),
            descendants: true,
        };
        assert!(
            plan(&scope, &jobs, &specs(2), &indexes, &|_, _| None).is_err(),
            "{name}"
        );
    }
}

#[test]
fn only_the_index_that_is_named_runs_of_an_array_that_was_cut_off() {
    for named in [0, 3] {
        let mut world = world(2);
        let specs = specs(5);
        let (build, jobs) = world.submit(specs.clone());
        let nodes: Vec<JobNode> = world.control.jobs(build).map(|job| job.node.clone()).collect();
        world.done(Command::CancelBuild {
            build,
            extent: Default::default(),
        });
        for index in 0..2 {
            world.report(jobs[0].of_index(index), ended(Killed));
        }
        let mut indexes = Indexes::default();
        let begun = (0..5).filter_map(|index| world.seen.get(&jobs[0].of_index(index)).cloned());
        let begun: Vec<JobStatus> = begun.collect();
        assert!(begun.len() < 4, "some have never begun");
        indexes.insert(jobs[0], begun);
        let with_status = |node: JobNode| {
            let status = world.seen[&node.id].clone();
            (node, status)
        };
        let jobs: Vec<_> = nodes.into_iter().map(with_status).collect();
        let scope = Scope::Job {
            name: JobName::new(&format!("sim/{named}")).unwrap(),
            descendants: false,
        };
        let planned = plan(&scope, &jobs, &specs, &indexes, &|_, _| None).unwrap();
        let mut submission = world.submission(PROJECT, planned.definition.jobs);
        let ids = submission.jobs.clone();
        submission.rerun = Some(Box::new(Rerun {
            of: 1,
            restarts: 1,
            jobs: planned.jobs,
        }));
        world.done(Command::Submit(Box::new(submission)));
        assert_eq!(held(&world, ids[0]), [named]);
        world.report(ids[0].of_index(named), ended(Finished));
        assert_eq!(world.states(&ids[..1]), ["killed"], "as the others were");
    }
}
