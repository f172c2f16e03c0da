//! `cargo xtask bench placement`: how fast the control plane places jobs, what that costs with many clusters, and what a queued job
//! takes of memory. The pure core alone, on one thread: no store, no network, nothing but commands and their effects. Nothing fails
//! for being slow: each number stands beside its target.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "this program prints a table, and ends where it cannot measure"
)]

mod report;
mod world;

use std::time::{Duration, Instant};

use report::{Row, Target};
use world::{Shape, World};

/// How many placements a second are asked for.
const PLACEMENTS_PER_SECOND: f64 = 200_000.0;
/// What a queued job may take, in bytes.
const BYTES_PER_JOB: f64 = 1024.0;

/// How many jobs end, so that others follow.
const ENDS: usize = 50_000;

/// Many jobs on many clusters.
const LARGE: Shape = Shape {
    clusters: 10_000,
    slots: 90,
};
/// As many places for as many jobs, on few clusters.
const SMALL: Shape = Shape {
    clusters: 100,
    slots: 9_000,
};

/// What an index of an array may take that has not begun, in bytes.
const BYTES_PER_INDEX: f64 = 16.0;

/// What one world has shown.
struct Measured {
    /// What each queued job takes of memory, in bytes.
    bytes_per_job: f64,
    /// Until all places were taken, per placement.
    burst: Duration,
    /// Per job that ends and makes room for the next.
    turnover: Duration,
}

fn main() {
    println!(
        "{} jobs wait for {} clusters and for {}",
        world::JOBS,
        LARGE.clusters,
        SMALL.clusters
    );
    // First, while no memory was given back that could be used again.
    let arrays = measure_arrays(SMALL);
    let large = measure(LARGE);
    let small = measure(SMALL);
    let per_second = |each: Duration| 1.0 / each.as_secs_f64();
    let nanoseconds = |each: Duration| each.as_secs_f64() * 1e9;
    let mut rows = vec![
        Row {
            case: "placements, 10,000 clusters",
            unit: "1/s",
            ours: per_second(large.burst),
            against: "target",
            theirs: PLACEMENTS_PER_SECOND,
            target: Target::AtLeast,
        },
        Row {
            case: "placements, 100 clusters",
            unit: "1/s",
            ours: per_second(small.burst),
            against: "target",
            theirs: PLACEMENTS_PER_SECOND,
            target: Target::AtLeast,
        },
        Row {
            case: "one placement, 10,000 clusters",
            unit: "ns",
            ours: nanoseconds(large.burst),
            against: "100 clusters",
            theirs: nanoseconds(small.burst),
            target: Target::Below(2.0),
        },
        Row {
            case: "end and next, 10,000 clusters",
            unit: "ns",
            ours: nanoseconds(large.turnover),
            against: "100 clusters",
            theirs: nanoseconds(small.turnover),
            target: Target::Told,
        },
        Row {
            case: "queued job",
            unit: "bytes",
            ours: large.bytes_per_job,
            against: "target",
            theirs: BYTES_PER_JOB,
            target: Target::AtMost,
        },
    ];
    rows.extend(arrays.rows());
    report::print(&rows);
}

/// Fills a world with jobs, gives it room for most of them, and lets jobs end so that the others follow.
fn measure(shape: Shape) -> Measured {
    let mut world = World::new(shape);
    let before = resident_bytes();
    world.queue_jobs();
    let bytes_per_job = resident_bytes().saturating_sub(before) as f64 / world::JOBS as f64;
    world.make_room();

    let start = Instant::now();
    let placed = world.place_all();
    let burst = start.elapsed() / placed;
    let room = shape.clusters * shape.slots as usize;
    // With few clusters, some pools have more room than jobs.
    assert!(placed as usize > room / 100 * 95, "room is taken: {placed} of {room}");

    let ends = world.ends(ENDS);
    let start = Instant::now();
    let followed = world.end(ends);
    let turnover = start.elapsed() / followed;
    assert!(
        followed as usize > ENDS / 100 * 75,
        "when jobs end, others follow: {followed} of {ENDS}"
    );
    Measured {
        bytes_per_job,
        burst,
        turnover,
    }
}

/// What arrays have shown.
struct Arrays {
    /// What each index takes of memory that has not begun, in bytes.
    waiting: f64,
    /// What each takes that a cluster has.
    placed: f64,
    /// Until all places were taken, per placement.
    burst: Duration,
}

impl Arrays {
    fn rows(&self) -> [Row; 3] {
        [
            Row {
                case: "index of an array that waits",
                unit: "bytes",
                ours: self.waiting,
                against: "target",
                theirs: BYTES_PER_INDEX,
                target: Target::AtMost,
            },
            Row {
                case: "index that was placed",
                unit: "bytes",
                ours: self.placed,
                against: "queued job's target",
                theirs: BYTES_PER_JOB,
                target: Target::AtMost,
            },
            Row {
                case: "placements of indexes, 100 clusters",
                unit: "1/s",
                ours: 1.0 / self.burst.as_secs_f64(),
                against: "target of jobs",
                theirs: PLACEMENTS_PER_SECOND,
                target: Target::AtLeast,
            },
        ]
    }
}

/// Fills a world with arrays, and gives it room for most of their indexes.
fn measure_arrays(shape: Shape) -> Arrays {
    let mut world = World::new(shape);
    let before = resident_bytes();
    world.queue_arrays();
    let grown = |before: u64| resident_bytes().saturating_sub(before) as f64;
    let waiting = grown(before) / world::INDEXES as f64;
    world.make_room();
    let (before, start) = (resident_bytes(), Instant::now());
    let placed = world.place_all();
    Arrays {
        waiting,
        burst: start.elapsed() / placed,
        placed: grown(before) / f64::from(placed),
    }
}

/// What the process has in memory.
fn resident_bytes() -> u64 {
    let statistics = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statistics.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
