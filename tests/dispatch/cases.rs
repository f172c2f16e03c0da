//! What is measured, in one run.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;

use crate::agents::Agents;
use crate::load::{Load, percentile};
use crate::master::Master;
use crate::measure::{Process, Taken};
use crate::postgres::Server;
use crate::report::{Report, Row, Target};
use crate::tally::Tally;
use crate::{graphile, load, single};

const CLUSTERS: usize = 4;
/// What the design asks for, in jobs a second.
const WANTED: f64 = 10_000.0;
/// The load under which a start must be quick, in jobs a second; and how quick it must be, in milliseconds.
const STEADY: f64 = 2_000.0;
const STEADY_WAIT: f64 = 50.0;
const WARM_UP: Duration = Duration::from_secs(2);

/// How long one case lasts.
fn lasts() -> anyhow::Result<Duration> {
    let given = std::env::var("TOMBOLO_BENCH_SECONDS").unwrap_or_else(|_| "15".to_owned());
    Ok(Duration::from_secs(given.parse()?))
}

pub(crate) async fn run() -> anyhow::Result<Report> {
    let mut report = Report {
        bench: "dispatch",
        ..Report::default()
    };
    let server = Server::start(&["shared_buffers=256MB", "max_wal_size=4GB"]);
    let slow = Server::start(&[
        "shared_buffers=256MB",
        "max_wal_size=4GB",
        "commit_delay=5000",
        "commit_siblings=0",
    ]);
    let lasts = lasts()?;
    // First, while nothing else has anything to do.
    single::run(&mut report).await?;
    let theirs = graphile::run(&server, &std::env::temp_dir(), lasts.as_secs())?;
    let postgres = dispatch("Postgres", Some((&server, "dispatch")), lasts, &mut report).await?;
    report.rows.push(Row {
        case: "dispatch, Postgres",
        unit: "jobs/s",
        ours: postgres.rate,
        against: "wanted",
        theirs: WANTED,
        target: Target::AtLeast,
    });
    report.rows.push(Row {
        case: "dispatch, Postgres",
        unit: "jobs/s",
        ours: postgres.rate,
        against: "graphile-worker",
        theirs,
        target: Target::Told,
    });
    report
        .rows
        .push(start("start p99, Postgres", postgres.p99, Target::Limit));
    report
        .rows
        .push(start("start p50, Postgres", postgres.p50, Target::Told));
    let slowed = dispatch("Postgres, slow commits", Some((&slow, "dispatch")), lasts, &mut report).await?;
    report.rows.push(rate("dispatch, commits of 5 ms", slowed.rate));
    report
        .rows
        .push(start("start p99, commits of 5 ms", slowed.p99, Target::Told));
    let sqlite = dispatch("SQLite", None, lasts, &mut report).await?;
    report.rows.push(rate("dispatch, SQLite", sqlite.rate));
    report.rows.push(start("start p99, SQLite", sqlite.p99, Target::Told));
    report.notes.push(format!(
        "builds of {} jobs from {} submitters, {CLUSTERS} agents; the wait for a start is from before a build is sent, at {STEADY} jobs/s",
        load::JOBS,
        load::SUBMITTERS
    ));
    Ok(report)
}

const fn rate(case: &'static str, ours: f64) -> Row {
    Row {
        case,
        unit: "jobs/s",
        ours,
        against: "wanted of Postgres",
        theirs: WANTED,
        target: Target::Told,
    }
}

const fn start(case: &'static str, ours: f64, target: Target) -> Row {
    Row {
        case,
        unit: "ms",
        ours,
        against: "wanted of Postgres",
        theirs: STEADY_WAIT,
        target,
    }
}

struct Dispatched {
    rate: f64,
    p50: f64,
    p99: f64,
}

/// One master with one database, from nothing.
async fn dispatch(
    database: &'static str,
    server: Option<(&Server, &str)>,
    lasts: Duration,
    report: &mut Report,
) -> anyhow::Result<Dispatched> {
    let tally = Arc::new(Tally::default());
    let master = tokio::task::block_in_place(|| Master::start(server))?;
    let _agents = Agents::join(&master, CLUSTERS, &tally).await?;
    let load = Load::new(master.client()?, master.builds(), Arc::clone(&tally));
    let builds_a_second = STEADY / load::JOBS as f64;
    load.at_a_rate(builds_a_second, WARM_UP).await?;
    // Before the other one, which leaves the database with work of its own for a while.
    let waits = load.at_a_rate(builds_a_second, lasts).await?;
    ensure!(!waits.is_empty(), "no job was started");
    let (before, done) = (taken(&master), tally.jobs());
    let rate = load.as_fast_as_it_goes(lasts).await?;
    let (after, done) = (taken(&master), tally.jobs() - done);
    for (process, now) in after {
        let then = before.iter().find(|(name, _)| *name == process);
        let then = then.map_or(0.0, |(_, taken)| taken.processor_seconds);
        let microseconds = (now.processor_seconds - then) * 1e6 / done as f64;
        report.notes.push(format!(
            "{database}: the {process} takes {microseconds:.0} µs of processor time for a job, and {:.0} MiB at most",
            now.peak_bytes as f64 / f64::from(1 << 20)
        ));
    }
    Ok(Dispatched {
        rate,
        p50: percentile(&waits, 0.5),
        p99: percentile(&waits, 0.99),
    })
}

fn taken(master: &Master) -> Vec<(&'static str, Taken)> {
    let processes = [("master", master.process()), ("bench's own process", Process::own())];
    let taken = |(name, process): (_, Process)| Some((name, process.taken()?));
    processes.into_iter().filter_map(taken).collect()
}
