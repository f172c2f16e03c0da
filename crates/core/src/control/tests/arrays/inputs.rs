//! What others take of arrays.

use super::*;
use crate::attempt::{LostInput, Outcome};
use crate::build::graph::{Fault, check};
use crate::build::{JobKind, JobSpec};
use crate::id::AttemptId;

/// The ids of the jobs whose outputs an attempt is given, with the index if it takes those of all.
fn inputs(world: &World, attempt: AttemptId) -> Vec<(JobId, Option<u32>)> {
    let assignment = world.control.assignment(attempt).unwrap();
    assignment
        .inputs
        .iter()
        .map(|input| (input.parent.id(), input.index))
        .collect()
}

#[test]
fn a_dependent_is_given_the_outputs_of_all_indexes() {
    let mut world = world(3);
    let (_, jobs) = world.submit(vec![
        job("sim").times(3),
        job("after").after_when("sim", crate::build::StateSet::ALL),
        job("without")
            .after_when("sim", crate::build::StateSet::ALL)
            .without_output_of("sim"),
    ]);
    let sim = jobs[0];
    for (index, end) in [(2, Finished), (0, Finished), (1, Failure)] {
        world.report(sim.of_index(index), ended(end));
    }
    let expected = [(sim.of_index(0), Some(0)), (sim.of_index(2), Some(2))];
    assert_eq!(inputs(&world, world.attempt(jobs[1])), expected);
    assert_eq!(inputs(&world, world.attempt(jobs[2])), []);
}

#[test]
fn an_index_is_given_the_output_of_the_same_index() {
    let mut world = world(3);
    let (_, jobs) = world.submit(vec![
        job("make").times(2),
        job("test").times(2).after("make").with_same_index_of("make"),
    ]);
    for index in 0..2 {
        world.report(jobs[0].of_index(index), ended(Finished));
    }
    for index in 0..2 {
        let own = inputs(&world, world.attempt(jobs[1].of_index(index)));
        assert_eq!(own, [(jobs[0].of_index(index), None)]);
    }
}

#[test]
fn a_lost_output_of_an_index_is_made_again_by_that_index() {
    let mut world = world(4);
    world.up("west", &[], 4);
    let (_, jobs) = world.submit(vec![
        job("sim").times(3).on("cluster=east"),
        job("sum").after("sim").on("cluster=west"),
        job("each")
            .times(3)
            .after("sim")
            .with_same_index_of("sim")
            .on("cluster=west"),
    ]);
    let sim = jobs[0];
    for index in 0..3 {
        let mut end = outcome(Finished);
        end.output.as_mut().unwrap().manifest = crate::control::testing::digest(10 + u8::try_from(index).unwrap());
        world.report(sim.of_index(index), Phase::Ended(end));
    }
    assert_eq!(world.states(&jobs), ["finished", "assigned", "running"]);
    // Both find that the output of index 1 is gone.
    let lost = |index: u8| LostInput {
        parent: sim.of_index(u32::from(index)),
        manifest: crate::control::testing::digest(10 + index),
        missing: vec![cluster("east")],
        unreachable: Vec::new(),
    };
    let without = Phase::Ended(Outcome {
        lost_inputs: vec![lost(1)],
        output: None,
        ..outcome(Error)
    });
    world.report(jobs[1], without.clone());
    let again = &world.seen[&sim.of_index(1)];
    assert!(again.is_recovering());
    assert_eq!(
        (again.state, again.ended(), again.epoch.0),
        (JobState::Assigned, Some(Finished), 2)
    );
    assert_eq!(world.state(jobs[1]), JobState::Waiting);
    assert_eq!(
        world.seen[&sim].state,
        JobState::Terminal(Finished),
        "the array stays as it ended"
    );
    assert_eq!(world.seen[&sim.of_index(0)].epoch.0, 1);
    world.report(jobs[2].of_index(1), without);
    assert_eq!(world.state(jobs[2].of_index(1)), JobState::Waiting);
    world.restart();
    world.hello_again("east", 4);
    world.hello_again("west", 4);
    world.report(sim.of_index(1), ended(Finished));
    assert_eq!(world.state(jobs[1]), JobState::Assigned);
    assert_eq!(world.state(jobs[2].of_index(1)), JobState::Assigned);
    world.report(jobs[1], ended(Finished));
    for index in 0..3 {
        world.report(jobs[2].of_index(index), ended(Finished));
    }
    assert_eq!(world.states(&jobs), ["finished", "finished", "finished"]);
}

#[test]
fn indexes_that_wait_in_the_queue_wait_for_a_lost_input_again() {
    let mut world = world(1);
    world.up("west", &[], 1);
    let (_, jobs) = world.submit(vec![
        job("base").on("cluster=east"),
        job("sim").times(4).after("base").on("cluster=west"),
    ]);
    world.report(jobs[0], ended(Finished));
    assert_eq!(held(&world, jobs[1]), [0]);
    let lost = LostInput {
        parent: jobs[0],
        manifest: crate::control::testing::digest(9),
        missing: vec![cluster("east")],
        unreachable: Vec::new(),
    };
    let without = Phase::Ended(Outcome {
        lost_inputs: vec![lost],
        output: None,
        ..outcome(Error)
    });
    world.report(jobs[1].of_index(0), without);
    assert_eq!(counts(&world, jobs[1]), "2 waiting, 2 queued");
    world.report(jobs[0], ended(Finished));
    for index in 0..4 {
        assert_eq!(held(&world, jobs[1]), [index]);
        world.report(jobs[1].of_index(index), ended(Finished));
    }
    assert_eq!(world.states(&jobs), ["finished", "finished"]);
}

#[test]
fn arrays_that_cannot_be_are_refused() {
    let faults = |jobs: Vec<JobSpec>| -> Vec<String> {
        let found = check(&jobs).err().unwrap_or_default();
        found.iter().map(Fault::to_string).collect()
    };
    assert_eq!(faults(vec![job("sim").times(100_000)]), Vec::<String>::new());
    assert_eq!(
        faults(vec![job("sim").times(2), job("sim/0"), job("sim/x/y"), job("simple/0")]),
        [
            "`sim/0` is within the name of the array `sim`, as those of its indexes are (`sim/0`)",
            "`sim/x/y` is within the name of the array `sim`, as those of its indexes are (`sim/0`)"
        ]
    );
    for spec in [
        job("sim").times(0),
        job("sim").times(100_001),
        job("sim").times_at_once(3, Some(0)),
        JobSpec {
            kind: JobKind::Wait,
            ..job("sim").times(3)
        },
    ] {
        assert_eq!(faults(vec![spec]).len(), 1);
    }
    let same = |own: Option<u32>, theirs: Option<u32>| {
        let parent = job("make");
        let parent = theirs.map_or(parent.clone(), |count| parent.times(count));
        let child = job("test").after("make").with_same_index_of("make");
        let child = own.map_or(child.clone(), |count| child.times(count));
        faults(vec![parent, child]).len()
    };
    assert_eq!(same(Some(3), Some(3)), 0);
    for (own, theirs) in [(Some(3), Some(4)), (None, Some(3)), (Some(3), None), (None, None)] {
        assert_eq!(same(own, theirs), 1, "{own:?} of {theirs:?}");
    }
    let all = |own: u32, theirs: u32| faults(vec![job("a").times(theirs), job("b").times(own).after("a")]).len();
    assert_eq!((all(1, 10_000), all(10, 10_000), all(100, 1000)), (0, 0, 0));
    assert_eq!((all(1, 10_001), all(11, 10_000), all(1001, 100)), (1, 1, 1));
}
