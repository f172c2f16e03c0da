//! A master on Postgres that goes, and another one that takes over.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::runtime::Runtime;

use crate::installation::Installation;
use crate::report::{Report, Row, Target};
use crate::rounds;
use crate::times::percentile;
use crate::user::{LIVE_JOBS, User};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tombolo");
/// What the design asks for, in seconds.
const WANTED: f64 = 5.0;

pub(crate) fn run(runtime: &Runtime, report: &mut Report) -> anyhow::Result<()> {
    let mut installation = Installation::start(Path::new(PROGRAM), 2, Duration::from_secs(3));
    installation.wait_for_role(1, "standby");
    let (client, url) = (installation.client(), installation.url(0));
    let mut user = User::of(client, &url, "default");
    runtime.block_on(user.fill())?;
    let rounds = rounds()?;
    for (signal, cases) in [
        (Signal::KILL, ["leader killed, p50", "leader killed, p99"]),
        (Signal::TERM, ["leader told to go, p50", "leader told to go, p99"]),
    ] {
        let times = measure(&mut installation, &mut user, runtime, signal, rounds)?;
        for (case, part, target) in [(cases[0], 0.5, Target::Told), (cases[1], 0.99, Target::Limit)] {
            report.rows.push(Row {
                case,
                unit: "s",
                ours: percentile(&times, part),
                against: "wanted",
                theirs: WANTED,
                target,
            });
        }
    }
    report.notes.push(format!(
        "Postgres: {LIVE_JOBS} live jobs, {rounds} rounds each; from the signal until the other master answers a user's question from the \
         database's state, and has taken a build"
    ));
    Ok(())
}

/// The times in seconds, in order.
fn measure(
    installation: &mut Installation,
    user: &mut User,
    runtime: &Runtime,
    signal: Signal,
    rounds: usize,
) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let leader = installation.leader();
        let other = 1 - leader;
        installation.wait_for_role(other, "standby");
        let began = Instant::now();
        installation.signal(leader, signal);
        // Until then it passes users on.
        installation.wait_for_role(other, "leader");
        user.go_to(&installation.url(other));
        runtime.block_on(user.wait_for(began))?;
        let took = began.elapsed().as_secs_f64();
        println!("{signal:?}, round {round}: {took:.2} s");
        times.push(took);
        installation.wait_for_end(leader);
        installation.start_master(leader);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
