//! A seeded simulation of the control plane and both ends of the agent link, without sockets.
//!
//! Each seed makes a world: clusters, builds, and trouble of many kinds that ends after a while. Then everything has to
//! come to its end, and the whole history has to keep the invariants. `TOMBOLO_SIM_SEEDS` says how many seeds to run, `TOMBOLO_SIM_FIRST`
//! which one is the first, `TOMBOLO_SEED` runs one and prints its history.

mod agent;
mod drains;
mod keeping;
mod master;
mod nemesis;
mod network;
#[cfg(feature = "planted")]
mod planted;
mod reruns;
mod scenario;
mod schedule;
mod users;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use tombolo_tests::check;
use tombolo_tests::history::Recording;
use world::{Bug, World};

/// Seeds that run if nobody says otherwise.
const SEEDS: u64 = 2_000;
/// Seeds in which each planted bug has to be found.
const SEEDS_FOR_BUGS: u64 = 6_000;
/// How many seeds run before it is looked whether one has found what is sought.
const SEEDS_AT_ONCE: u64 = 50;
/// The results of so many seeds are kept at a time.
const SEEDS_IN_MEMORY: u64 = 10_000;
/// Every seed that this divides runs twice.
const REPEATED: u64 = 10;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("the variable is a whole number"))
}

/// Runs `job` for all seeds, on all processors, and gives what it returned, by seed.
fn for_seeds<T: Send>(seeds: std::ops::Range<u64>, job: impl Fn(u64) -> T + Sync) -> BTreeMap<u64, T> {
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let mut results = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return results;
            }
            results.push((seed, job(seed)));
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a world does not panic"))
            .collect()
    })
}

/// The first of [`SEEDS_FOR_BUGS`] for which there is something, and what.
fn first_hit<T: Send>(job: impl Fn(u64) -> Option<T> + Sync) -> Option<(u64, T)> {
    let batches = (0..SEEDS_FOR_BUGS / SEEDS_AT_ONCE).map(|batch| batch * SEEDS_AT_ONCE);
    batches.into_iter().find_map(|first| {
        let hits = for_seeds(first..first + SEEDS_AT_ONCE, &job);
        hits.into_iter().find_map(|(seed, hit)| Some((seed, hit?)))
    })
}

/// What to say of a seed that failed: its history, and how to see it again.
fn explain(seed: u64, bug: Option<Bug>, what: &str) -> String {
    let log = World::run(seed, bug, Recording::Full).history.into_log();
    format!(
        "{}\n\nTOMBOLO_SEED={seed}\n{what}\nreplay: TOMBOLO_SEED={seed} cargo test -p tombolo-tests --test sim -- \
         invariants_hold --nocapture",
        log.join("\n")
    )
}

/// Says which seed it was if its world panics.
struct Named(u64);

impl Drop for Named {
    #[expect(clippy::print_stderr, reason = "the world cannot say it any more")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("TOMBOLO_SEED={} panics", self.0);
        }
    }
}

#[expect(clippy::print_stdout, reason = "what fails is said at once")]
fn run_seed(seed: u64) -> Result<BTreeMap<&'static str, usize>, String> {
    let _named = Named(seed);
    let repeated = seed.is_multiple_of(REPEATED);
    let recording = if repeated { Recording::Full } else { Recording::Facts };
    let outcome = World::run(seed, None, recording);
    check::judge(&outcome).map_err(|faults| {
        let faults = faults.join("\n");
        // Who runs very many can look at it while they go on.
        println!("TOMBOLO_SEED={seed} fails: {faults}");
        explain(seed, None, &faults)
    })?;
    let mut tally = check::tally(&outcome);
    tally.insert("steps", usize::try_from(outcome.steps).unwrap_or(usize::MAX));
    if repeated {
        let again = World::run(seed, None, Recording::Full);
        let logs = [outcome, again].map(|outcome| outcome.history.into_log());
        if logs[0] != logs[1] {
            let first = logs[0].iter().zip(&logs[1]).find(|(one, other)| one != other);
            return Err(format!(
                "TOMBOLO_SEED={seed}\nthe same seed gave two histories; they part at {first:#?}"
            ));
        }
    }
    Ok(tally)
}

#[test]
fn invariants_hold() {
    if let Some(seed) = variable("TOMBOLO_SEED") {
        let outcome = World::run(seed, None, Recording::Full);
        let verdict = check::judge(&outcome);
        println!("{}", outcome.history.into_log().join("\n"));
        assert_eq!(verdict, Ok(()), "TOMBOLO_SEED={seed}");
        return;
    }
    let seeds = variable("TOMBOLO_SIM_SEEDS").unwrap_or(SEEDS);
    let started = std::time::Instant::now();
    let mut total: BTreeMap<&str, usize> = BTreeMap::new();
    let mut failed = Vec::new();
    let mut first_fault = None;
    let begin = variable("TOMBOLO_SIM_FIRST").unwrap_or(0);
    let all = begin..begin + seeds;
    for first in all
        .clone()
        .step_by(usize::try_from(SEEDS_IN_MEMORY).expect("it is small"))
    {
        let last = all.end.min(first + SEEDS_IN_MEMORY);
        for (seed, result) in for_seeds(first..last, run_seed) {
            match result {
                Ok(tally) => tally
                    .into_iter()
                    .for_each(|(name, count)| *total.entry(name).or_default() += count),
                Err(fault) => {
                    failed.push(seed);
                    first_fault.get_or_insert(fault);
                }
            }
        }
        println!(
            "{last} of {seeds} seeds in {:?}, {} fail",
            started.elapsed(),
            failed.len()
        );
    }
    if let Some(fault) = first_fault {
        panic!("{fault}\n{} of {seeds} seeds fail: {failed:?}", failed.len());
    }
    println!("{seeds} seeds in {:?}: {total:?}", started.elapsed());
    if seeds >= SEEDS {
        for trouble in [
            "outputs made again",
            "outputs lost",
            "jobs made by jobs",
            "clusters drained",
            "outputs moved",
            "outputs swept",
            "outputs taken over",
            "outputs not stored",
            "damage found",
            "builds given up",
        ] {
            assert!(
                total.get(trouble).is_some_and(|count| *count > 0),
                "no world had {trouble}: {total:?}"
            );
        }
    }
    for seen in ["finished", "failure", "error", "unstable", "killed", "skipped"] {
        assert!(
            seeds < 100 || total.contains_key(seen),
            "no job ended as {seen}: the worlds are too tame"
        );
    }
}

/// The harness has teeth: each mistake that is planted in the simulated world is found, by a checker that is meant to.
#[test]
fn planted_bugs_are_found() {
    for (bug, invariant) in [
        (Bug::EffectsBeforeCommit, "nothing is visible before it is durable"),
        (Bug::FailedCommitIgnored, "I1: "),
        (Bug::StoreForgetsLastCommit, "I1: "),
        (Bug::StoreForgetsLastCommit, "I6: "),
        (Bug::AcceptedNotPersisted, "I2: a command runs once"),
        (Bug::NetworkRewritesEpochs, "I2: only the outcome"),
        (Bug::InputSkipped, "I4: "),
        (Bug::InputNotAssigned, "I4: "),
        (Bug::OrdersMisrouted, "I5: "),
        (Bug::CancelNotApplied, "I6: what was cancelled"),
        (Bug::EndNotReported, "I1: "),
        (Bug::ForgetIgnored, "I1: "),
        (Bug::ReleaseIgnored, "I1: "),
        (Bug::LeaseOutlived, "exclusive jobs run once"),
        (Bug::CopyNotThere, "what a drained cluster had is elsewhere"),
        (Bug::DamageNotSeen, "I3: "),
        (Bug::RefusalTakenForLoss, "what is called lost is lost"),
        (Bug::SweepWaitsForNobody, "what is promised is not swept"),
        (Bug::SweepAsksOnce, "what is promised is not swept"),
        (Bug::SweepDeletesNothing, "I10: "),
    ] {
        let faults = |seed| {
            check::judge(&World::run(seed, Some(bug), Recording::Facts))
                .err()
                .unwrap_or_default()
        };
        let hit = |seed| faults(seed).into_iter().find(|fault| fault.starts_with(invariant));
        let Some((seed, fault)) = first_hit(hit) else {
            panic!("`{invariant}` does not find {bug:?} in {SEEDS_FOR_BUGS} seeds")
        };
        println!("{bug:?} is found by seed {seed}: {fault}");
    }
}
