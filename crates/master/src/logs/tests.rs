//! Logs on a real store (SQLite in memory) that fails on demand, beside a real driver, in paused time.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tombolo_core::attempt::Phase;
use tombolo_core::control::Change;
use tombolo_core::id::{AttemptId, Epoch};
use tombolo_core::log::{LINE_BYTES_MAX, LogLine};
use tombolo_core::time::Timestamp;
use tombolo_store::faulty::Fault::{After, Before};
use tombolo_store::faulty::Faulty;
use tombolo_store::{LogSegment, LogState, LogWrite, Sqlite, Store};

use super::{Error, Logs};
use crate::driver::tests::world::{Agent, World, finished, flat, job_id};

/// How many lines the job has written that [`finished`] tells of.
const JOB_LINES: u64 = 3;

struct Bench {
    world: World,
    logs: Logs<Faulty<Sqlite>>,
    stop: CancellationToken,
    flusher: JoinHandle<()>,
}

impl Bench {
    /// A master with a build of fifty jobs, all of which run on `east`.
    async fn new() -> (Self, Agent) {
        let world = World::new().await;
        world.join("east").await;
        let agent = Agent::connect(&world, "east", Vec::new()).await;
        world.submit(10, flat(50)).await.unwrap();
        (Self::on(world), agent)
    }

    fn on(world: World) -> Self {
        let (logs, flusher) = Logs::start(Arc::new(world.store.clone()), world.handle.clone());
        let stop = CancellationToken::new();
        let flusher = tokio::spawn(flusher.run(stop.clone()));
        Self {
            world,
            logs,
            stop,
            flusher,
        }
    }

    async fn all(&self, attempt: AttemptId) -> Vec<LogLine> {
        let mut lines = Vec::new();
        loop {
            let more = self.logs.read(attempt, lines.len() as u64, 1000).await.unwrap();
            if more.is_empty() {
                return lines;
            }
            lines.extend(more);
        }
    }
}

fn attempt(index: u128) -> AttemptId {
    AttemptId {
        job: job_id(10, index),
        epoch: Epoch(1),
    }
}

fn lines(range: std::ops::Range<u64>) -> Vec<LogLine> {
    let line = |number| LogLine {
        number,
        at: Timestamp(number),
        text: format!("\x1b[1mline\x1b[0m {number} \0 \u{fe0f}").into_bytes(),
    };
    range.map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn repeats_are_left_out_and_gaps_are_refused() {
    let (bench, _agent) = Bench::new().await;
    let one = attempt(0);
    for (range, expected, whole) in [
        (0..0, Ok(0), 0),
        (0..3, Ok(3), 3),
        (0..3, Ok(3), 3),
        (1..5, Ok(5), 5),
        (6..7, Err(Error::Gap { expected: 5, got: 6 }), 5),
        (5..6, Ok(6), 6),
        (2..4, Ok(6), 6),
        (0..0, Ok(6), 6),
    ] {
        assert_eq!(
            bench.logs.append(one, lines(range.clone())).await,
            expected,
            "{range:?}"
        );
        assert_eq!(bench.all(one).await, lines(0..whole), "{range:?}");
    }
    // Another attempt of the job has a log of its own.
    let next = AttemptId { epoch: Epoch(2), ..one };
    assert_eq!(bench.logs.append(next, lines(0..1)).await, Ok(1));
    assert_eq!(bench.logs.state(one).await.unwrap().next_line, 6);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_log_is_refused() {
    let (bench, _agent) = Bench::new().await;
    let long = |bytes| {
        vec![LogLine {
            number: 0,
            at: Timestamp(0),
            text: vec![b'x'; bytes],
        }]
    };
    let mut hole = lines(0..3);
    hole.remove(1);
    let mut last = lines(0..1);
    last[0].number = u64::MAX;
    let mut twice = lines(0..2);
    twice[1].number = 0;
    for (what, lines) in [
        ("a hole", hole),
        ("a number twice", twice),
        ("the last number of all", last),
        ("too long", long(LINE_BYTES_MAX + 1)),
        ("too many", lines(u64::MAX - 2..u64::MAX)),
        (
            "one more than there can be",
            lines(i64::MAX as u64..i64::MAX as u64 + 1),
        ),
    ] {
        let result = bench.logs.append(attempt(0), lines).await;
        assert!(matches!(result, Err(Error::Invalid { .. })), "{what}: {result:?}");
    }
    assert_eq!(bench.logs.append(attempt(0), long(LINE_BYTES_MAX)).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn lines_of_a_moment_are_one_transaction() {
    let (bench, _agent) = Bench::new().await;
    let began = Instant::now();
    let appends = (0..50).map(|index| bench.logs.append(attempt(index), lines(0..2)));
    let results = futures::future::join_all(appends).await;
    assert!(results.iter().all(|result| *result == Ok(2)), "{results:?}");
    assert_eq!(bench.world.store.log_writes(), 1);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

/// A slow log: a line at a time. Small segments pile up and are put together, also at the end.
#[tokio::test(start_paused = true)]
async fn small_segments_are_put_together() {
    let (bench, _agent) = Bench::new().await;
    let (slow, other) = (attempt(0), attempt(1));
    for number in 0..200 {
        assert_eq!(bench.logs.append(slow, lines(number..number + 1)).await, Ok(number + 1));
    }
    assert_eq!(bench.all(slow).await, lines(0..200));
    let piled_up = bench.logs.state(slow).await.unwrap();
    assert_eq!(bench.logs.seal(slow).await, Ok(200));
    let sealed = bench.logs.state(slow).await.unwrap();
    assert!(sealed.stored_bytes < piled_up.stored_bytes, "{piled_up:?} {sealed:?}");
    assert_eq!(bench.all(slow).await, lines(0..200));
    assert_eq!(bench.logs.append(slow, lines(200..201)).await, Ok(201));
    assert_eq!(bench.all(slow).await, lines(0..201));

    // As much at once takes little more.
    bench.logs.append(other, lines(0..200)).await.unwrap();
    let at_once = bench.logs.state(other).await.unwrap();
    assert!(sealed.stored_bytes < at_once.stored_bytes * 6, "{at_once:?} {sealed:?}");
    let empty = bench.logs.seal(attempt(2)).await;
    assert_eq!(
        (empty, bench.logs.state(attempt(2)).await.unwrap()),
        (Ok(0), LogState::default())
    );
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_stored_is_sent_again() {
    let (bench, _agent) = Bench::new().await;
    let one = attempt(0);
    bench.logs.append(one, lines(0..2)).await.unwrap();
    for (number, fault) in [(2, Before), (4, After)] {
        bench.world.store.fail_commits([Some(fault)]);
        let (first, second) = tokio::join!(
            bench.logs.append(one, lines(number..number + 1)),
            bench.logs.append(one, lines(number + 1..number + 2))
        );
        assert_eq!(
            (first, second),
            (Err(Error::Unavailable), Err(Error::Unavailable)),
            "{fault:?}"
        );
        assert_eq!(
            bench.logs.append(one, lines(number..number + 2)).await,
            Ok(number + 2),
            "{fault:?}"
        );
        assert_eq!(bench.all(one).await, lines(0..number + 2), "{fault:?}");
    }
}

/// The driver has begun a new leadership meanwhile: logs are written under it.
#[tokio::test(start_paused = true)]
async fn logs_go_on_under_a_new_leadership() {
    let (bench, _agent) = Bench::new().await;
    bench.logs.append(attempt(0), lines(0..1)).await.unwrap();
    bench
        .world
        .store
        .reject(|change| matches!(change, Change::PutProject(_)));
    assert!(bench.world.create_project(20).await.is_err());
    assert!(bench.world.store.leaderships() > 1);
    assert_eq!(bench.logs.append(attempt(0), lines(1..2)).await, Ok(2));
    // Another master leads: nothing is written any more.
    bench.world.store.acquire().await.unwrap();
    assert_eq!(
        bench.logs.append(attempt(0), lines(2..3)).await,
        Err(Error::Unavailable)
    );
}

/// Found by chaos: a leader that was followed without knowing it put small segments together, and its successor had gone on with them.
#[tokio::test(start_paused = true)]
async fn lines_that_another_leader_has_written_are_not_written_again() {
    let (bench, _agent) = Bench::new().await;
    let one = attempt(0);
    for range in [0..2, 2..3] {
        bench.logs.append(one, lines(range)).await.unwrap();
    }
    let written = LogWrite {
        attempt: one,
        segment: LogSegment::encode(&lines(3..4)),
    };
    let epoch = bench.world.handle.epoch();
    bench.world.store.append_log(epoch, vec![written]).await.unwrap();
    let (appended, sealed) = tokio::join!(bench.logs.append(one, lines(3..4)), bench.logs.seal(one));
    assert_eq!((appended, sealed), (Err(Error::Unavailable), Err(Error::Unavailable)));
    assert_eq!(bench.logs.append(one, lines(3..5)).await, Ok(5));
    assert_eq!(bench.logs.seal(one).await, Ok(5));
    assert_eq!(bench.all(one).await, lines(0..5));
}

#[tokio::test(start_paused = true)]
async fn follower_sees_every_line_until_the_end() {
    let (bench, mut agent) = Bench::new().await;
    let one = agent.assigned().await.attempt;
    let mut follow = bench.logs.follow(one, 1);
    let reader = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(lines) = follow.next().await.unwrap() {
            seen.extend(lines);
        }
        (seen, follow.missing())
    });
    let running = Phase::Running {
        started_at: Timestamp(1),
        inputs: Vec::new(),
    };
    agent.report(one, running).await.unwrap();
    for number in 0..JOB_LINES {
        tokio::time::sleep(Duration::from_secs(20)).await;
        bench.logs.append(one, lines(number..number + 1)).await.unwrap();
    }
    assert!(!reader.is_finished(), "the job may write more");
    let ended = Instant::now();
    agent.finish(one).await;
    assert_eq!(reader.await.unwrap(), (lines(1..JOB_LINES), 0));
    assert!(
        ended.elapsed() < Duration::from_secs(1),
        "it is told of the end: {:?}",
        ended.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn follower_waits_for_late_lines_but_not_for_ever() {
    let (bench, mut agent) = Bench::new().await;
    assert_eq!(finished().log_lines, JOB_LINES);
    // All end at once: the agent says nothing more, and what had not ended would be given to another.
    let mut ended = Vec::new();
    for _ in 0..3 {
        let one = agent.assigned().await.attempt;
        agent.finish(one).await;
        ended.push(one);
    }
    for (one, (late, missing)) in ended.into_iter().zip([(JOB_LINES, 0), (1, 2), (0, JOB_LINES)]) {
        let mut follow = bench.logs.follow(one, 0);
        let append = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            bench.logs.append(one, lines(0..late)).await.unwrap();
        };
        let read = async {
            let mut seen = Vec::new();
            while let Some(lines) = follow.next().await.unwrap() {
                seen.extend(lines);
            }
            (seen, follow.missing())
        };
        let began = Instant::now();
        let ((), result) = tokio::join!(append, read);
        assert_eq!(result, (lines(0..late), missing));
        assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    }
    let mut unknown = bench.logs.follow(attempt(999), 0);
    assert_eq!(unknown.next().await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn stopping_writes_what_has_come() {
    let (bench, _agent) = Bench::new().await;
    let logs = bench.logs.clone();
    let append = tokio::spawn(async move { logs.append(attempt(0), lines(0..5)).await });
    tokio::task::yield_now().await;
    bench.stop.cancel();
    assert_eq!(append.await.unwrap(), Ok(5));
    bench.flusher.await.unwrap();
    assert_eq!(bench.logs.append(attempt(0), lines(5..6)).await, Err(Error::Stopping));
    // Another master goes on where this one was.
    bench.world.stop.cancel();
    let next = Bench::on(World::on(bench.world.store.clone()).await);
    assert_eq!(next.logs.append(attempt(0), lines(3..8)).await, Ok(8));
    assert_eq!(next.all(attempt(0)).await, lines(0..8));
}

/// A log of many megabytes from one attempt: everything is there, in segments of the final size, and no more than the limit
/// ever waits.
#[tokio::test(start_paused = true)]
async fn large_log_flows_through() {
    const LINES: u64 = 200_000;
    const PUSH: u64 = 2_000;
    let (bench, _agent) = Bench::new().await;
    let one = attempt(0);
    let wide = |range: std::ops::Range<u64>| -> Vec<LogLine> {
        lines(range)
            .into_iter()
            .map(|line| LogLine {
                text: line.text.repeat(5),
                ..line
            })
            .collect()
    };
    for first in (0..LINES).step_by(PUSH as usize) {
        let next = bench.logs.append(one, wide(first..first + PUSH)).await;
        assert_eq!(next, Ok(first + PUSH));
    }
    let state = bench.logs.state(one).await.unwrap();
    assert!(
        state.next_line == LINES && state.bytes > 20_000_000 && state.stored_bytes * 4 < state.bytes,
        "{state:?}"
    );
    for first in [0, 1, 99_999, LINES - 1, LINES] {
        let expected = wide(first..LINES.min(first + 10));
        assert_eq!(bench.logs.read(one, first, 10).await, Ok(expected), "{first}");
    }
}
