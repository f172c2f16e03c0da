//! Mistakes that are planted in the product itself, behind the feature `planted`: the simulation has to find each, and says how.

use tombolo_core::planted::{Bug, Planting};

use crate::history::Recording;
use crate::world::World;
use crate::{check, for_seeds};

/// Seeds in which each has to be found.
const SEEDS: u64 = 1_500;
/// How many seeds run before it is looked whether one has found it.
const AT_ONCE: u64 = 50;

/// What the simulation is to find, and the checker that is meant to. What it has no part of is found by tests of that part.
const MISTAKES: [(Bug, &str); 15] = [
    (Bug::StatusOfAnyEpoch, "I2: an attempt gets on by itself alone"),
    (Bug::OutputOfAnyEpoch, "I2: only the outcome"),
    (Bug::LogOfAnyEpoch, "I2: only logs that count are taken"),
    (Bug::LeaseForgotten, "I1: "),
    (Bug::LeaseFromReceipt, "I2: what was replaced does not start"),
    (Bug::LapsedLeaseGoesOn, "I2: what was replaced does not start"),
    (Bug::HoldUnconfirmed, "exclusive jobs run once"),
    (Bug::ExclusiveNotHeldBack, "exclusive jobs run once"),
    (Bug::PlacedAgainOnReconnect, "what a cluster still has goes on"),
    (Bug::StartedAgainOnRepeat, "I2: a command runs once"),
    (Bug::CancelForgotten, "I6: what was cancelled"),
    (Bug::InputLeftOut, "I4: "),
    (Bug::SelectorForgotten, "I5: "),
    (Bug::LeaderCountsFromReceipt, "one master leads at a time"),
    (Bug::FollowsTooEarly, "one master leads at a time"),
];

fn faults(seed: u64, bug: Bug) -> Vec<String> {
    let _planting = Planting::of(Some(bug));
    check::judge(&World::run(seed, None, Recording::Facts))
        .err()
        .unwrap_or_default()
}

/// The first seed whose world has a fault that begins like this.
fn found(bug: Bug, invariant: &str) -> Option<(u64, String)> {
    let batches = (0..SEEDS).step_by(usize::try_from(AT_ONCE).unwrap());
    batches.into_iter().find_map(|first| {
        let hits = for_seeds(first..first + AT_ONCE, |seed| {
            faults(seed, bug).into_iter().find(|fault| fault.starts_with(invariant))
        });
        hits.into_iter().find_map(|(seed, fault)| Some((seed, fault?)))
    })
}

#[test]
fn planted_mistakes_of_the_product_are_found() {
    let mut missed = Vec::new();
    for (bug, invariant) in MISTAKES {
        match found(bug, invariant) {
            Some((seed, fault)) => {
                let name = format!("{bug:?}");
                let line = serde_json::json!({"planted": name, "tier": "sim", "checker": fault, "seed": seed});
                println!("{line}");
            }
            None => missed.push((bug, invariant)),
        }
    }
    assert!(missed.is_empty(), "not found in {SEEDS} seeds: {missed:?}");
}
