//! What jobs take of the outputs of their parents.

use super::super::testing::{World, cluster, ended, job};
use super::super::{Caution, Command};
use crate::build::TerminalState::Finished;

#[test]
fn what_a_job_does_not_take_is_not_given_to_it_and_need_not_be_there() {
    let mut world = World::new();
    world.up("east", &["e"], 2);
    world.up("west", &["w"], 1);
    let child = job("child").on("w").after("a").after("b").without_output_of("a");
    let (_, jobs) = world.submit(vec![job("a").on("e"), job("b").on("w"), child]);
    world.report(jobs[0], ended(Finished));
    // Its output is gone, and nobody needs it.
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    world.report(jobs[1], ended(Finished));
    assert_eq!(world.states(&jobs), ["finished", "finished", "assigned"]);
    assert!(!world.seen[&jobs[0]].is_recovering());
    let assignment = world.control.assignment(world.attempt(jobs[2])).unwrap();
    let inputs: Vec<&str> = assignment
        .inputs
        .iter()
        .map(|input| input.parent.node.name.as_str())
        .collect();
    assert_eq!((inputs, assignment.parents.len()), (vec!["b"], 2));
}
