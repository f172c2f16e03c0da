//! `cargo xtask bench kubernetes`: what a job costs in time and requests, and an agent that has nothing to do. Nothing here fails
//! for being slow: each number stands beside its target.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "this program prints a table, and ends where it cannot measure"
)]

#[path = "../cluster.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod cluster;
#[path = "../install.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod install;
mod process;
#[path = "../user.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod user;
#[path = "../world.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod world;

use std::time::{Duration, Instant};

use serde_json::json;

use cluster::{Cluster, NAMESPACE, wait_for};
use process::Process;
use user::job;
use world::World;

const CLUSTER: &str = "east";
const ROUNDS: usize = 10;
/// Jobs at once.
const MANY: usize = 100;
/// How many have ended before the agent is idle.
const HISTORY: usize = 500;
/// How long the idle agent is looked at.
const IDLE: Duration = Duration::from_secs(60);

/// One number.
struct Row {
    case: &'static str,
    unit: &'static str,
    ours: f64,
    against: &'static str,
    theirs: f64,
    target: &'static str,
    met: bool,
}

fn main() {
    let world = World::get();
    let mut rows = vec![no_op(world)];
    rows.extend(many(world));
    rows.extend(idle(world));
    println!("\n{:<34} {:>10} {:>10}  {:<18} met", "", "ours", "theirs", "target");
    for row in &rows {
        let met = if row.met { "yes" } else { "no" };
        let case = format!("{} ({})", row.case, row.unit);
        println!(
            "{case:<34} {:>10.3} {:>10.3}  {:<18} {met}",
            row.ours, row.theirs, row.target
        );
    }
    for row in &rows {
        let line = json!({
            "bench": "kubernetes", "case": row.case, "unit": row.unit, "ours": row.ours, "against": row.against,
            "theirs": row.theirs, "ratio": row.ours / row.theirs, "target": row.target, "met": row.met,
        });
        println!("{line}");
    }
}

/// A job that does nothing, by turns as a user of Tombolo and as one of Kubernetes has it.
fn no_op(world: &World) -> Row {
    let cluster = world.cluster(CLUSTER);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first of each finds nothing warm.
    for round in 0..=ROUNDS {
        let began = Instant::now();
        let build = world.run(CLUSTER, "true", &json!({}));
        build.tombolo("watch", &[]).succeeded();
        let tombolo = began.elapsed().as_secs_f64();
        let began = Instant::now();
        bare(cluster, &format!("bare-{round}"));
        let kubernetes = began.elapsed().as_secs_f64();
        println!("round {round}: {tombolo:.2} s, bare {kubernetes:.2} s");
        if round > 0 {
            ours.push(tombolo);
            theirs.push(kubernetes);
        }
    }
    let (ours, theirs) = (median(ours), median(theirs));
    Row {
        case: "no-op job",
        unit: "s, median",
        ours,
        against: "kubectl create job; kubectl wait",
        theirs,
        target: "<= bare + 1.2 s",
        met: ours <= theirs + 1.2,
    }
}

fn bare(cluster: &Cluster, name: &str) {
    let image = format!("--image={}", user::IMAGE);
    let place = ["--namespace", NAMESPACE];
    let create = ["create", "job", name, &image, "--", "true"];
    cluster.kubectl(&[&place[..], &create[..]].concat()).succeeded();
    let job = format!("job/{name}");
    let wait = ["wait", "--for=condition=complete", "--timeout=60s", &job];
    cluster.kubectl(&[&place[..], &wait[..]].concat()).succeeded();
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Many small jobs at once, and what the agent asked of the API server for them.
fn many(world: &World) -> [Row; 2] {
    let before = requests(world.cluster(CLUSTER));
    let took = batch(world, MANY);
    let asked = requests(world.cluster(CLUSTER)) - before;
    let each = asked as f64 / MANY as f64;
    let row = |case, unit, ours: f64, theirs: f64, target, met| Row {
        case,
        unit,
        ours,
        against: "limit",
        theirs,
        target,
        met,
    };
    [
        row(
            "100 jobs at once",
            "s for each",
            took / MANY as f64,
            took / MANY as f64,
            "none",
            true,
        ),
        row(
            "requests to the API server",
            "for each job",
            each,
            10.0,
            "<= 10",
            each <= 10.0,
        ),
    ]
}

/// Runs this many jobs in one build; how long they took, in seconds.
fn batch(world: &World, count: usize) -> f64 {
    let jobs: Vec<_> = (0..count)
        .map(|number| job(&format!("n{number}"), CLUSTER, "true", &json!({})))
        .collect();
    let began = Instant::now();
    let build = world.submit("main", &jobs);
    build.tombolo("watch", &[]).succeeded();
    began.elapsed().as_secs_f64()
}

/// How many requests the agent has sent, by its own count, which it writes to its log once a minute.
fn requests(cluster: &Cluster) -> u64 {
    let count = || {
        let logs = ["logs", "--namespace", NAMESPACE, "deployment/tombolo-agent"];
        let text = cluster.kubectl(&logs).succeeded().output;
        let counts: Vec<u64> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter_map(|line| line["requests"].as_u64())
            .collect();
        (counts.len(), counts.last().copied())
    };
    let (known, _) = count();
    wait_for("the agent's next count", || {
        let (now, last) = count();
        (now > known).then_some(last).flatten()
    })
}

/// An agent that has done much and has nothing to do.
fn idle(world: &World) -> [Row; 2] {
    let mut done = MANY + ROUNDS + 1;
    while done < HISTORY {
        let count = MANY.min(HISTORY - done);
        batch(world, count);
        done += count;
        println!("{done} jobs have ended");
    }
    let agent = Process::of_agent(world.cluster(CLUSTER));
    std::thread::sleep(Duration::from_secs(10));
    let (before, began) = (agent.processor_seconds(), Instant::now());
    std::thread::sleep(IDLE);
    let share = (agent.processor_seconds() - before) / began.elapsed().as_secs_f64() * 100.0;
    let resident = agent.resident_bytes() as f64 / (1024.0 * 1024.0);
    [
        Row {
            case: "idle agent, resident",
            unit: "MiB",
            ours: resident,
            against: "limit",
            theirs: 30.0,
            target: "<= 30 MiB",
            met: resident <= 30.0,
        },
        Row {
            case: "idle agent, processor",
            unit: "% of a core",
            ours: share,
            against: "limit",
            theirs: 1.0,
            target: "<= 1 %",
            met: share <= 1.0,
        },
    ]
}
