//! Seeds, each in a process of its own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{env, fs, panic, thread};

use tombolo_core::planted::Bug;
use tombolo_tests::check;

use crate::supervisor::LEASE_ENDED;
use crate::watch::Watch;
use crate::{chance, room, world};

/// Seeds that run if nobody says otherwise.
const SEEDS: u64 = 20;
/// Every seed that this divides runs twice.
const REPEATED: u64 = 10;
/// The stack of a world's thread: its futures are large where nothing is optimised.
const STACK_BYTES: usize = 64 << 20;
/// How long a world may take by the machine's clock.
const DEADLINE: Duration = Duration::from_secs(300);

/// What some world of many has to have.
const SEEN: [&str; 15] = [
    "Finished",
    "Failure",
    "Error",
    "Killed",
    "Skipped",
    "Partition",
    "Break",
    "CrashMaster",
    "LoseMaster",
    "CrashAgent",
    "ReplaceAgent",
    "CrashNode",
    "LoseDatabase",
    "FailCommits",
    LEASE_ENDED,
];

/// Where a child writes what became of its world.
const REPORT: &str = "TOMBOLO_TURMOIL_REPORT";
/// The seed of a world.
const SEED: &str = "TOMBOLO_SEED";
/// The mistake that a world makes.
const PLANTED: &str = "TOMBOLO_PLANTED";
/// The test that is one world.
const WORLD: &str = "seeds::a_world_comes_to_its_end";

fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().expect("the variable is a whole number"))
}

/// What became of a world.
struct Report {
    faults: Vec<String>,
    log: Vec<String>,
}

/// Somebody panicked, in whatever task.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Runs the world of a seed in this process, which can have no other.
fn live(seed: u64, bug: Option<Bug>) -> Report {
    let said = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        PANICKED.store(true, Ordering::Relaxed);
        said(what);
    }));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = tempfile::Builder::new()
        .prefix(&room::prefix())
        .tempdir_in(room::memory())
        .expect("there is room");
    let folder = root.path().to_owned();
    chance::sow(seed);
    let thread = thread::Builder::new().stack_size(STACK_BYTES);
    let living = thread.spawn(move || {
        #[cfg(feature = "planted")]
        let _planting = tombolo_core::planted::Planting::of(bug);
        assert!(
            cfg!(feature = "planted") || bug.is_none(),
            "no mistakes are compiled in"
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("there are threads");
        runtime.block_on(world::run(seed, folder)).expect("the world begins")
    });
    let living = living.expect("there are threads");
    let world::Ended { outcome, logs, keys } = living.join().expect("a world does not panic");
    let mut faults = check::judge(&outcome).err().unwrap_or_default();
    faults.extend(logs);
    if PANICKED.load(Ordering::Relaxed) {
        faults.push("something panicked".to_owned());
    }
    let name = |line: String| {
        let keys = keys.iter().enumerate();
        keys.fold(line, |line, (index, key)| {
            line.replace(key, &format!("the key of cluster-{index}"))
        })
    };
    let log = outcome.history.into_log().into_iter().map(name).collect();
    Report { faults, log }
}

/// One world: that of `TOMBOLO_SEED`, in a process of its own if others run beside it.
#[test]
fn a_world_comes_to_its_end() {
    let seed = variable(SEED).unwrap_or_default();
    let bug = env::var(PLANTED).ok();
    let bug = bug.map(|name| Bug::named(&name).expect("there is such a mistake"));
    let watch = Watch::begin(DEADLINE);
    let report = live(seed, bug);
    drop(watch);
    match env::var_os(REPORT) {
        Some(path) => {
            let text = [report.faults.join("\n"), report.log.join("\n")].join("\n\n");
            fs::write(path, text).expect("the report can be written");
        }
        None => {
            if variable(SEED).is_some() {
                println!("{}", report.log.join("\n"));
            }
            assert!(report.faults.is_empty(), "{SEED}={seed}\n{}", report.faults.join("\n"));
        }
    }
}

/// Runs the world of a seed in another process.
fn run(seed: u64, bug: Option<Bug>) -> Report {
    let path = room::memory().join(format!("{}{seed}-{bug:?}.txt", room::prefix()));
    let program = env::current_exe().expect("this is a program");
    let mut command = Command::new(program);
    command
        .args([WORLD, "--exact", "--test-threads=1"])
        .env(SEED, seed.to_string())
        .env(REPORT, &path);
    command.env_remove(PLANTED).stdout(Stdio::null()).stderr(Stdio::piped());
    if let Some(bug) = bug {
        command.env(PLANTED, format!("{bug:?}"));
    }
    let output = command.output().expect("the program runs again");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let _ = fs::remove_file(&path);
    let Some((faults, log)) = text.split_once("\n\n") else {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Report {
            faults: vec![format!("the world ended without a report: {said}")],
            log: Vec::new(),
        };
    };
    Report {
        faults: faults.lines().map(str::to_owned).collect(),
        log: log.lines().map(str::to_owned).collect(),
    }
}

/// Runs `job` for all seeds, on all processors, and gives what it returned, by seed.
fn for_seeds<T: Send>(seeds: Range<u64>, job: impl Fn(u64) -> T + Sync) -> BTreeMap<u64, T> {
    let next = AtomicU64::new(seeds.start);
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
    thread::scope(|scope| {
        let workers: Vec<_> = (0..processors()).map(|_| scope.spawn(work)).collect();
        let results = workers
            .into_iter()
            .map(|worker| worker.join().expect("a seed does not panic"));
        results.flatten().collect()
    })
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What to say of a seed that failed: its history, and how to see it again.
fn explain(seed: u64, report: &Report) -> String {
    format!(
        "{}\n\n{SEED}={seed}\n{}\nreplay: cargo xtask sim --turmoil --seed {seed}",
        report.log.join("\n"),
        report.faults.join("\n")
    )
}

/// What happened, by its kind: what the nemesis did, and how jobs and commands ended.
type Tally = BTreeMap<String, usize>;

fn tally(log: &[String]) -> Tally {
    let mut tally = Tally::new();
    for line in log {
        let word = |after: &str| Some(line.split_once(after)?.1.split([' ', ')']).next()?.to_owned());
        let end = line
            .contains("* Committed(PutJob")
            .then(|| word("state: Terminal("))
            .flatten();
        let lease = line.ends_with(LEASE_ENDED).then(|| LEASE_ENDED.to_owned());
        for kind in [end, word("nemesis: "), lease].into_iter().flatten() {
            *tally.entry(kind).or_default() += 1;
        }
    }
    tally
}

/// What a world was like, or what is wrong with it.
fn try_seed(seed: u64) -> Result<Tally, String> {
    let report = run(seed, None);
    if !report.faults.is_empty() {
        return Err(explain(seed, &report));
    }
    if seed.is_multiple_of(REPEATED) && cfg!(target_os = "linux") {
        let again = run(seed, None);
        if report.log != again.log {
            let parted = report.log.iter().zip(&again.log).find(|(one, other)| one != other);
            return Err(format!(
                "{SEED}={seed}\nthe same seed gave two histories; they part at {parted:#?}"
            ));
        }
    }
    Ok(tally(&report.log))
}

#[test]
fn invariants_hold_with_the_real_drivers() {
    let seeds = variable("TOMBOLO_TURMOIL_SEEDS").unwrap_or(SEEDS);
    room::clear();
    let started = std::time::Instant::now();
    let results = for_seeds(0..seeds, try_seed);
    let failed: Vec<u64> = results
        .iter()
        .filter_map(|(seed, result)| result.is_err().then_some(*seed))
        .collect();
    if let Some(Err(first)) = results.values().find(|result| result.is_err()) {
        panic!("{first}\n{} of {seeds} seeds fail: {failed:?}", failed.len());
    }
    let mut total = Tally::new();
    for (kind, count) in results.values().flatten().flatten() {
        *total.entry(kind.clone()).or_default() += count;
    }
    println!("{seeds} seeds in {:?}: {total:?}", started.elapsed());
    for seen in SEEN.into_iter().filter(|_| seeds >= 100) {
        assert!(total.contains_key(seen), "no world had {seen}: {total:?}");
    }
}

/// Seeds in which each planted mistake has to be found.
#[cfg(feature = "planted")]
const SEEDS_FOR_MISTAKES: u64 = 400;

/// What this tier is to find, and the checker that is meant to.
#[cfg(feature = "planted")]
const MISTAKES: [(Bug, &str); 10] = [
    (Bug::AnswersBeforeCommit, "nothing is visible before it is durable"),
    (Bug::FailedCommitTaken, "I1: "),
    (Bug::OutputOfAnyEpoch, "I2: only the outcome"),
    (Bug::PlacedAgainOnReconnect, "what a cluster still has goes on"),
    (Bug::CancelForgotten, "I6: what was cancelled"),
    (Bug::SelectorForgotten, "I5: "),
    (Bug::LastLogLineLost, "no line of a log is lost"),
    (Bug::LeaseOvertakesWord, "what was stopped or forgotten does not start"),
    (Bug::LeaseForgotten, "I1: "),
    (
        Bug::StartedAgainOnRepeat,
        "what was stopped or forgotten does not start",
    ),
];

#[cfg(feature = "planted")]
#[test]
fn planted_mistakes_are_found_with_the_real_drivers() {
    room::clear();
    let at_once = 4 * processors() as u64;
    let mut missed = Vec::new();
    for (bug, invariant) in MISTAKES {
        let hit = |seed| {
            run(seed, Some(bug))
                .faults
                .into_iter()
                .find(|fault| fault.starts_with(invariant))
        };
        let mut batches = (0..SEEDS_FOR_MISTAKES / at_once).map(|batch| batch * at_once);
        let found = batches.find_map(|first| {
            let hits = for_seeds(first..first + at_once, hit);
            hits.into_iter().find_map(|(seed, hit)| Some((seed, hit?)))
        });
        match found {
            Some((seed, fault)) => {
                let line = serde_json::json!({"planted": format!("{bug:?}"), "tier": "turmoil", "checker": fault, "seed": seed});
                println!("{line}");
            }
            None => missed.push((bug, invariant)),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
