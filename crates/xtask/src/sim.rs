//! The search for faults without real servers: simulated worlds, and mistakes that are planted to see whether the search finds them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use clap::Args;
use serde::Deserialize;
use xshell::{Shell, cmd};

use crate::plain;

/// How many seeds the simulation runs with before a change lands.
const SEEDS: u32 = 20_000;
/// The same of the worlds of the real drivers.
const TURMOIL: &str = "300";
/// From how many seeds on it pays to compile the simulation once more, optimised.
const OPTIMISED: u32 = 50_000;

#[derive(Args)]
pub(crate) struct Options {
    /// How many seeds to run.
    #[arg(long, default_value_t = SEEDS, conflicts_with = "seed")]
    seeds: u32,
    /// The first of them, to go on where another search ended.
    #[arg(long, default_value_t = 0, conflicts_with_all = ["seed", "turmoil", "planted"])]
    first: u32,
    /// Runs this seed alone, and prints its history.
    #[arg(long)]
    seed: Option<u64>,
    /// Plants mistakes in the product, one after the other, and fails if one is not found.
    #[arg(long, conflicts_with_all = ["seed", "seeds"])]
    planted: bool,
    /// Runs the real drivers of master and agents in simulated time instead, with so many seeds.
    #[arg(long, value_name = "SEEDS", num_args = 0..=1, default_missing_value = TURMOIL, conflicts_with_all = ["seeds", "planted"])]
    turmoil: Option<u32>,
}

pub(crate) fn run(shell: &Shell, options: &Options) -> anyhow::Result<()> {
    if options.planted {
        return planted(shell);
    }
    if let Some(seeds) = options.turmoil {
        return turmoil(shell, seeds, options.seed);
    }
    // For few seeds, what is compiled for tests is of use, and soon there.
    let release = (options.seeds > OPTIMISED).then_some("--release");
    let command = cmd!(shell, "cargo test {release...} --workspace --test sim -- --nocapture");
    match options.seed {
        Some(seed) => plain(command).env("TOMBOLO_SEED", seed.to_string()).run()?,
        None => plain(command)
            .env("TOMBOLO_SIM_SEEDS", options.seeds.to_string())
            .env("TOMBOLO_SIM_FIRST", options.first.to_string())
            .run()?,
    }
    Ok(())
}

/// Unoptimised: what is compiled for tests is of use, and the time goes by in the worlds.
fn turmoil(shell: &Shell, seeds: u32, seed: Option<u64>) -> anyhow::Result<()> {
    let command = cmd!(shell, "cargo test --workspace --test turmoil -- --nocapture --exact");
    match seed {
        Some(seed) => plain(command)
            .arg("seeds::a_world_comes_to_its_end")
            .env("TOMBOLO_SEED", seed.to_string())
            .run()?,
        None => plain(command)
            .arg("seeds::invariants_hold_with_the_real_drivers")
            .env("TOMBOLO_TURMOIL_SEEDS", seeds.to_string())
            .run()?,
    }
    Ok(())
}

/// The seeds that run before a change lands. What the search finds is looked at on demand: it is compiled once more for that.
pub(crate) fn before_landing(shell: &Shell) -> anyhow::Result<()> {
    let options = Options {
        seeds: SEEDS,
        first: 0,
        seed: None,
        planted: false,
        turmoil: None,
    };
    run(shell, &options)?;
    turmoil(shell, TURMOIL.parse()?, None)
}

/// How a planted mistake was found, as a test says it in a line of its own.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Caught {
    /// The mistake.
    planted: String,
    /// What found it.
    tier: String,
    /// Which property, and how it was hurt.
    checker: String,
    /// Where it was found.
    seed: u64,
}

/// All mistakes that there are, as a test says them.
#[derive(Debug, Deserialize)]
struct All {
    mistakes: BTreeSet<String>,
}

fn planted(shell: &Shell) -> anyhow::Result<()> {
    // Only the crates of these packages have the feature, and none of them is a program.
    let command = cmd!(
        shell,
        "cargo test --package tombolo-core --package tombolo-transfer --package tombolo-master --package tombolo-tests --lib --test sim --test turmoil
         --features tombolo-core/planted,tombolo-transfer/planted,tombolo-master/planted,tombolo-tests/planted
         --no-fail-fast -- planted_ --nocapture"
    );
    // A test that misses one fails, and the table says more.
    let output = plain(command).ignore_status().output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (all, caught) = read(&text);
    ensure!(!all.is_empty(), "no test says what mistakes there are\n{text}");
    print!("{}", table(&all, &caught));
    let missed: Vec<&String> = all.iter().filter(|bug| !caught.contains_key(*bug)).collect();
    ensure!(
        missed.is_empty(),
        "nobody finds {missed:?}\nhint: `cargo test --package tombolo-tests --features planted --test sim -- planted_ --nocapture` says more"
    );
    // Also one that ended without a word.
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "a test failed:\n{text}\n{errors}");
    Ok(())
}

/// The mistakes that there are, and those that were found.
fn read(output: &str) -> (BTreeSet<String>, BTreeMap<String, Vec<Caught>>) {
    let (mut all, mut caught) = (BTreeSet::new(), BTreeMap::<String, Vec<Caught>>::new());
    for line in output.lines() {
        // The beginning of the line may be what the test runner says.
        let Some(json) = line.find('{').map(|start| &line[start..]) else {
            continue;
        };
        if let Ok(found) = serde_json::from_str::<Caught>(json) {
            caught.entry(found.planted.clone()).or_default().push(found);
        } else if let Ok(said) = serde_json::from_str::<All>(json) {
            all.extend(said.mistakes);
        }
    }
    (all, caught)
}

fn table(all: &BTreeSet<String>, caught: &BTreeMap<String, Vec<Caught>>) -> String {
    let mut table = format!("{:<26} {:<10} {:>6}  by\n", "mistake", "tier", "seed");
    for bug in all {
        let Some(found) = caught.get(bug) else {
            table += &format!("{bug:<26} MISSED\n");
            continue;
        };
        for Caught {
            tier, checker, seed, ..
        } in found
        {
            let checker: String = checker.chars().take(80).collect();
            table += &format!("{bug:<26} {tier:<10} {seed:>6}  {checker}\n");
        }
    }
    table + &format!("{} of {} mistakes found\n", caught.len(), all.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tests_say_is_read_among_other_lines() {
        let output = "running 2 tests\n\
            test a ... {\"planted\":\"LeaseForgotten\",\"tier\":\"sim\",\"checker\":\"I1: {x}\",\"seed\":48}\n\
            {not json}\n\
            {\"planted\":\"LeaseForgotten\",\"tier\":\"turmoil\",\"checker\":\"I1: y\",\"seed\":5}\n\
            {\"mistakes\":[\"LeaseForgotten\",\"CancelForgotten\"]}\nok\n";
        let (all, caught) = read(output);
        assert_eq!(all.len(), 2);
        let seeds = caught["LeaseForgotten"].iter().map(|found| found.seed);
        assert_eq!(seeds.collect::<Vec<_>>(), [48, 5]);
        let table = table(&all, &caught);
        assert!(table.contains("CancelForgotten            MISSED"), "{table}");
        assert!(table.contains("1 of 2 mistakes found"), "{table}");
    }
}
