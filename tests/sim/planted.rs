//! Mistakes that are planted in the product itself, behind the feature `planted`: the simulation has to find each, and says how.

use tombolo_core::planted::{Bug, Planting};

use crate::world::World;
use tombolo_tests::check;
use tombolo_tests::history::Recording;

use crate::first_hit;

/// What the simulation is to find, and the checker that is meant to. What it has no part of is found by tests of that part.
const MISTAKES: [(Bug, &str); 15] = [
    (Bug::StatusOfAnyEpoch, "I2: an attempt gets on by itself alone"),
    (Bug::OutputOfAnyEpoch, "I2: only the outcome"),
    (Bug::LogOfAnyEpoch, "I2: only logs that count are taken"),
    (Bug::LeaseForgotten, "I1: "),
    (Bug::LeaseFromReceipt, "exclusive jobs run once"),
    (Bug::LapsedLeaseGoesOn, "I2: what was replaced does not start"),
    (Bug::HoldUnconfirmed, "exclusive jobs run once"),
    (Bug::ExclusiveNotHeldBack, "exclusive jobs run once"),
    (Bug::PlacedAgainOnReconnect, "what a cluster still has goes on"),
    (Bug::StartedAgainOnRepeat, "I2: a command runs once"),
    (Bug::CancelForgotten, "I6: what was cancelled"),
    (Bug::InputLeftOut, "I4: "),
    (Bug::SelectorForgotten, "I5: "),
    (Bug::KeptBuildGivenUp, "only the policy gives outputs up"),
    (Bug::SilenceTakenForLoss, "what is called lost is lost"),
];

/// Those that matter only in the moment when a lease ends.
const MOMENTS: [Bug; 4] = [
    Bug::LeaseFromReceipt,
    Bug::LapsedLeaseGoesOn,
    Bug::HoldUnconfirmed,
    Bug::ExclusiveNotHeldBack,
];

fn faults(seed: u64, bug: Bug) -> Vec<String> {
    let _planting = Planting::of(Some(bug));
    let tense = MOMENTS.contains(&bug);
    check::judge(&World::run_kind(seed, None, Recording::Facts, tense))
        .err()
        .unwrap_or_default()
}

#[test]
fn planted_mistakes_of_the_product_are_found() {
    let all = Bug::ALL.map(|bug| format!("{bug:?}"));
    println!("{}", serde_json::json!({ "mistakes": all }));
    let mut missed = Vec::new();
    for (bug, invariant) in MISTAKES {
        let hit = |seed| faults(seed, bug).into_iter().find(|fault| fault.starts_with(invariant));
        match first_hit(hit) {
            Some((seed, fault)) => {
                let name = format!("{bug:?}");
                let line = serde_json::json!({"planted": name, "tier": "sim", "checker": fault, "seed": seed});
                println!("{line}");
            }
            None => missed.push((bug, invariant)),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
