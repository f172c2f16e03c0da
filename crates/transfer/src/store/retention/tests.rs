mod uneasy;
mod world;

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::time::sleep;

use world::{CHUNKS, Work, World};

/// What happens, one after the other.
#[derive(Debug, Clone)]
enum Happens {
    Attempt(Work),
    Wait(u64),
    Release(usize),
    Crash,
}

#[derive(Debug, Clone)]
struct History {
    seed: u64,
    /// In seconds.
    sweep_every: u64,
    events: Vec<Happens>,
}

fn work() -> impl Strategy<Value = Work> {
    let chunks = proptest::collection::btree_set(0..CHUNKS, 1..5);
    let gives_up = prop_oneof![3 => Just(None), 1 => (0..5_usize).prop_map(Some)];
    let yes_or_no = || any::<bool>();
    let answers = (yes_or_no(), yes_or_no(), yes_or_no(), yes_or_no());
    (chunks, gives_up, answers).prop_map(|(chunks, gives_up_after, (slow, signed, pulls, lost))| Work {
        chunks,
        gives_up_after,
        slow,
        signed,
        pulls,
        lost,
    })
}

fn history() -> impl Strategy<Value = History> {
    let event = prop_oneof![
        6 => work().prop_map(Happens::Attempt),
        5 => (0..200_u64).prop_map(Happens::Wait),
        1 => (500..4_000_u64).prop_map(Happens::Wait),
        4 => any::<usize>().prop_map(Happens::Release),
        1 => Just(Happens::Crash),
    ];
    let events = proptest::collection::vec(event, 5..50);
    (any::<u64>(), 60..600_u64, events).prop_map(|(seed, sweep_every, events)| History {
        seed,
        sweep_every,
        events,
    })
}

/// Runs a history in no time.
fn run(history: &History) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(live(history))
}

async fn live(history: &History) -> Result<(), String> {
    let world = World::new(history.seed);
    let every = Duration::from_secs(history.sweep_every);
    let mut agent = world.start().await;
    agent.sweeps(every);
    for event in &history.events {
        match event {
            Happens::Attempt(work) => agent.begin(work.clone()),
            Happens::Wait(seconds) => sleep(Duration::from_secs(*seconds)).await,
            Happens::Release(which) => world.release(*which),
            Happens::Crash => {
                agent.crash().await;
                agent = world.start().await;
                agent.sweeps(every);
            }
        }
        // Time has passed.
        if matches!(event, Happens::Wait(_) | Happens::Crash) {
            world.check_wanted().await?;
        }
    }
    // Quiet: attempts end, and what was signed is over.
    agent.attempts_end().await;
    sleep(Duration::from_secs(300)).await;
    agent.crash().await;
    world.fails_no_more();
    let agent = world.start().await;
    for _ in 0..2 {
        let swept = agent.sweep().await.map_err(|error| error.to_string())?;
        if swept.waits_for > 0 {
            return Err(format!("nobody uploads, and yet: {swept:?}"));
        }
        world.check_wanted().await?;
    }
    world.check_garbage().await
}

fn runner(cases: u32, max_shrink_iters: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// Whatever happens in whatever order: what the master wants is there, and two sweeps after everything is quiet nothing else is.
#[test]
fn nothing_needed_goes_and_nothing_else_stays() {
    let test = |history: History| run(&history).map_err(TestCaseError::fail);
    if let Err(error) = runner(cases(), 200).run(&history(), test) {
        panic!("{error}");
    }
}

/// More, for those who have the time.
fn cases() -> u32 {
    let cases = std::env::var("PROPTEST_CASES").ok();
    cases.and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

/// The property finds a sweep that does not wait for uploads.
#[test]
#[cfg(feature = "planted")]
fn planted_a_sweep_that_does_not_wait_is_found() {
    use proptest::test_runner::TestError;
    use tombolo_core::planted::{Bug, Planting};

    let _planting = Planting::of(Some(Bug::LiveChunkSwept));
    let tries = std::cell::Cell::new(0_u64);
    let test = |history: History| {
        tries.set(tries.get() + 1);
        run(&history).map_err(TestCaseError::fail)
    };
    match runner(256, 0).run(&history(), test) {
        Err(TestError::Fail(reason, _)) => {
            assert!(reason.message().contains("is lost"), "{reason}");
            crate::caught(Bug::LiveChunkSwept, "nothing needed goes", tries.get());
        }
        other => panic!("{other:?}"),
    }
}
