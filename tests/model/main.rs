//! A model of lease, fence and commit, checked exhaustively: two masters and their database, two agents, and one job whose command must not run
//! twice at the same time.
//!
//! Messages come whenever they like or never, everybody may stand still at any moment, and time passes in steps. Who leads, and until when, is
//! asked of `core::leadership` itself. What the agents do with a lease is the model's own account of `core::session`, in a few lines. The model
//! with a mistake in it shows that the properties are not true of everything.

mod system;

use stateright::{Checker, Model};

use system::{Mistake, System};

/// The properties that must hold of every state that can be reached.
const ALWAYS: [&str; 3] = [
    "one attempt takes effect",
    "the command never runs twice at once",
    "a master that was followed writes nothing",
];

/// Checks all that can happen. Gives how many states there are, and which properties have a counterexample, each with the way there.
fn check(mistake: Mistake) -> (usize, Vec<(&'static str, String)>) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let checker = System { mistake }.checker().threads(threads).spawn_bfs().join();
    let wrong = ALWAYS.into_iter().filter_map(|property| {
        let path = checker.discovery(property)?;
        Some((property, format!("{:#?}", path.into_actions())))
    });
    if mistake == Mistake::None {
        for example in ["the job ends elsewhere", "another master leads"] {
            assert!(
                checker.discovery(example).is_some(),
                "it never comes about that {example}"
            );
        }
    }
    (checker.unique_state_count(), wrong.collect())
}

#[test]
fn everything_that_can_happen_keeps_the_properties() {
    let started = std::time::Instant::now();
    let (states, wrong) = check(Mistake::None);
    assert_eq!(wrong, []);
    println!("{states} states in {:?}", started.elapsed());
    assert!(
        states > 10_000,
        "the model is too small to say anything: {states} states"
    );
}

#[test]
fn mistakes_in_the_model_have_counterexamples() {
    for (mistake, property) in [
        (Mistake::NoFence, "a master that was followed writes nothing"),
        (Mistake::LeaseFromReceipt, "the command never runs twice at once"),
        (Mistake::AnyEpoch, "one attempt takes effect"),
    ] {
        let (_, wrong) = check(mistake);
        let path = wrong.iter().find(|(name, _)| *name == property);
        let (_, path) = path.unwrap_or_else(|| panic!("nothing shows that {mistake:?} is one: {wrong:?}"));
        println!("{mistake:?}: {property}, but for {path}");
    }
}
