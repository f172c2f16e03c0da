//! A master with SQLite that is killed, and started again at once.

use tokio::runtime::Runtime;

use crate::master::Master;
use crate::report::{Report, Row, Target};
use crate::rounds;
use crate::times::percentile;
use crate::user::{LIVE_JOBS, User};

/// What the design asks for, in seconds.
const WANTED: f64 = 2.0;

pub(crate) fn run(runtime: &Runtime, report: &mut Report) -> anyhow::Result<()> {
    let mut master = Master::start(None)?;
    let mut user = User::of(master.client()?, master.url(), "bench");
    runtime.block_on(user.fill())?;
    let rounds = rounds()?;
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let began = master.crash()?;
        runtime.block_on(user.wait_for(began))?;
        let took = began.elapsed().as_secs_f64();
        println!("SQLite, round {round}: {took:.2} s");
        times.push(took);
    }
    times.sort_by(f64::total_cmp);
    for (case, part, target) in [
        ("SQLite master killed, p50", 0.5, Target::Told),
        ("SQLite master killed, p99", 0.99, Target::Limit),
    ] {
        report.rows.push(Row {
            case,
            unit: "s",
            ours: percentile(&times, part),
            against: "wanted",
            theirs: WANTED,
            target,
        });
    }
    report.notes.push(format!(
        "SQLite: {LIVE_JOBS} live jobs, {rounds} rounds; from kill -9, after which the program is started again at once, until it answers a \
         question and has taken a build"
    ));
    Ok(())
}
