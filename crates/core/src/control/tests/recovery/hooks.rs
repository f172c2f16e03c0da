//! Outputs that hooks need, and that are made again after all other jobs had ended.

use super::super::super::testing::{World, job};
use super::{leaves, misses};
use crate::build::hook::Hook;
use crate::id::JobId;

/// Two indexes of one hook need what `a` left, another hook what `b` left. `a` is there again before `b` is.
#[test]
fn indexes_that_wait_for_their_stage_again_go_on_when_it_comes() {
    for restarts in [false, true] {
        let mut world = World::new();
        world.up("east", &[], 8);
        let (mut clean, mut report) = (job("clean").after("a").times(2), job("report").after("b"));
        clean.set_hook(Some(Hook::After));
        report.set_hook(Some(Hook::After));
        let (_, jobs) = world.submit(vec![job("a"), job("b"), clean, report]);
        world.report(jobs[0], leaves(1));
        world.report(jobs[1], leaves(2));
        let indexes: [JobId; 2] = [jobs[2].of_index(0), jobs[2].of_index(1)];
        let hooks = [indexes[0], indexes[1], jobs[3]];
        assert_eq!(world.states(&hooks), ["assigned"; 3]);

        world.report(jobs[3], misses(jobs[1], 2, &["east"], &[]));
        world.report(indexes[0], misses(jobs[0], 1, &["east"], &[]));
        assert_eq!(world.states(&hooks), ["waiting", "assigned", "waiting"]);
        world.report(jobs[0], leaves(3));
        assert_eq!(
            world.states(&hooks),
            ["waiting", "assigned", "waiting"],
            "`b` is not over"
        );
        if restarts {
            let attempts = [jobs[1], indexes[1]].map(|job| (world.attempt(job), crate::attempt::Phase::Accepted));
            world.restart();
            world.hello("east", 8, &attempts);
        }
        world.report(jobs[1], leaves(4));
        assert_eq!(world.states(&hooks), ["assigned"; 3], "restarts: {restarts}");
    }
}
