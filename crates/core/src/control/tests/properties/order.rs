//! What does not depend on the order of things: how builds end, and that everybody comes to their turn.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::super::testing::{PROJECT, World, ended, job};
use super::super::super::{Command, Settings};
use super::{CLUSTERS, SECOND, jobs};
use crate::build::{JobSpec, TerminalState};
use crate::share::Share;

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Each job can run on one cluster only, which has room for all: then nothing depends on the order in which attempts end.
    #[test]
    fn ends_in_any_order_lead_to_the_same_end(
        shapes in prop::collection::vec(prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 1..7), 1..4),
        picks in prop::collection::vec(any::<usize>(), 1..40),
    ) {
        let run = |picks: &[usize]| {
            let mut world = World::new();
            for (name, labels, _) in CLUSTERS {
                world.up(name, labels, 100);
            }
            let mut fates = BTreeMap::new();
            for shape in &shapes {
                let specs: Vec<JobSpec> = jobs(shape)
                    .into_iter()
                    .zip(shape)
                    .map(|(spec, (_, which, _))| spec.on(&format!("cluster={}", CLUSTERS[usize::from(*which) % 3].0)))
                    .collect();
                let (_, ids) = world.submit(specs);
                fates.extend(ids.into_iter().zip(shape.iter().map(|(_, _, fate)| fate % 3)));
            }
            let mut picks = picks.iter().cycle();
            while !world.current().is_empty() {
                let current = world.current();
                let attempt = current[picks.next().unwrap() % current.len()];
                let state = [TerminalState::Finished, TerminalState::Failure, TerminalState::Unstable][usize::from(fates[&attempt.job.specified_by()])];
                world.report(attempt.job, ended(state));
            }
            let seen = world.seen.values();
            seen.map(|status| (status.id, status.state, status.epoch, status.cluster.clone(), status.message.clone())).collect::<Vec<_>>()
        };
        let reversed: Vec<usize> = picks.iter().rev().map(|pick| pick.wrapping_mul(31)).collect();
        prop_assert_eq!(run(&picks), run(&reversed));
        prop_assert_eq!(run(&[0]), run(&[usize::MAX]));
    }

    /// Whatever others submit meanwhile, however large the job, however low its priority and its project's weight.
    #[test]
    fn nobody_starves(
        size in 1..=4_u64, priority in -100..=0_i8, weight in 1..=10_u32, others in prop::collection::vec((1..=4_u64, any::<bool>(), any::<usize>()), 1..8),
    ) {
        let settings = Settings { priority_step: Duration::from_secs(1), keep_room_after: Duration::from_secs(60), ..Settings::default() };
        let mut world = World::of_two(settings);
        world.done(Command::SetShare { id: SECOND, share: Share { weight, ..Share::default() } });
        world.up("east", &[], 4);
        let mut others = others.iter().cycle();
        let mut flood = |world: &mut World, count: usize| {
            for (size, second, pick) in others.by_ref().take(count) {
                let submission = world.submission(world.project(*second), vec![job("small").cpu(1000 * size).priority(100)]);
                world.done(Command::Submit(Box::new(submission)));
                let current = world.current();
                if !current.is_empty() {
                    world.report(current[pick % current.len()].job, ended(TerminalState::Finished));
                }
            }
        };
        flood(&mut world, 6);
        let (_, ids) = world.submit(vec![job("patient").cpu(1000 * size).priority(priority)]);
        let mut rounds = 0;
        while world.control.assignment(world.attempt(ids[0])).is_none() {
            rounds += 1;
            prop_assert!(rounds < 120, "it starves");
            world.hello_again("east", 4);
            world.pass(Duration::from_secs(10));
            // One more than can end: the queue grows.
            flood(&mut world, 1);
            if rounds % 4 == 0 {
                let submission = world.submission(PROJECT, vec![job("more").priority(100)]);
                world.done(Command::Submit(Box::new(submission)));
            }
        }
    }
}
