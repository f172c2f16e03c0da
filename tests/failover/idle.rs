//! Many agents that have nothing to do.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Runtime;

use crate::agents::Agents;
use crate::master::Master;
use crate::report::{Report, Row, Target};
use crate::tally::Tally;

/// How many, if nobody says otherwise: `TOMBOLO_BENCH_AGENTS`.
const AGENTS: usize = 5_000;
/// What the design asks for: KiB of the master for each, and percent of one core for all.
const WANTED_KIBIBYTES: f64 = 80.0;
const WANTED_PERCENT: f64 = 8.0;
/// What joining leaves is given back meanwhile.
const REST: Duration = Duration::from_secs(30);
const MEASURED: Duration = Duration::from_secs(60);

pub(crate) fn run(runtime: &Runtime, report: &mut Report) -> anyhow::Result<()> {
    let count = std::env::var("TOMBOLO_BENCH_AGENTS").map_or(Ok(AGENTS), |count| count.parse())?;
    let master = Master::start(None)?;
    let process = master.process();
    let before = process.resident_bytes()?;
    let tally = Arc::new(Tally::default());
    let agents = runtime.block_on(Agents::join(&master, count, &tally))?;
    println!("{count} agents have joined");
    std::thread::sleep(REST);
    let taken = || process.taken().context("the master is gone");
    let (resident, first) = (process.resident_bytes()?, taken()?);
    std::thread::sleep(MEASURED);
    let seconds = taken()?.processor_seconds - first.processor_seconds;
    drop(agents);
    let each = resident.saturating_sub(before) as f64 / 1024.0 / count as f64;
    let percent = 100.0 * seconds / MEASURED.as_secs_f64();
    for (case, unit, ours, theirs) in [
        ("idle agents, memory of each", "KiB", each, WANTED_KIBIBYTES),
        ("idle agents, processor for all", "% of a core", percent, WANTED_PERCENT),
    ] {
        report.rows.push(Row {
            case,
            unit,
            ours,
            against: "wanted",
            theirs,
            target: Target::Limit,
        });
    }
    report.notes.push(format!(
        "idle agents: {count} of them through mutual TLS, each with a session of its own; the master's memory {} s after the last one has joined, \
         its processor time over {} s",
        REST.as_secs(),
        MEASURED.as_secs()
    ));
    Ok(())
}
