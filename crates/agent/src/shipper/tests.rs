use std::sync::atomic::Ordering;

use tombolo_core::time::Timestamp;

use super::*;
use crate::spool::Writer;
use crate::trial::{SOON, Trial, attempt, lock};

struct Shipping {
    shipper: Shipper,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Shipping {
    fn start(trial: &Trial) -> Self {
        let shipper = Shipper::new();
        let stop = CancellationToken::new();
        let channel = trial.bulk(&trial.member(Duration::ZERO));
        let running = shipper.clone();
        let ending = stop.clone();
        let task = tokio::spawn(async move { running.run(channel, ending).await });
        Self { shipper, stop, task }
    }

    async fn drained(&self, job: u128) -> Drained {
        tokio::time::timeout(SOON, self.shipper.drained(attempt(job)))
            .await
            .expect("the log is not drained")
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(SOON, self.task).await.unwrap().unwrap();
    }
}

fn write(writer: &mut Writer, lines: std::ops::Range<u64>, padding: usize) {
    for number in lines {
        let text = format!("{number} {}", "x".repeat(padding));
        writer.push(Timestamp(number), text.as_bytes()).unwrap();
    }
    writer.flush().unwrap();
}

/// The numbers that the lines at the master begin with.
fn numbers(trial: &Trial, job: u128) -> Vec<u64> {
    let number = |line: &Vec<u8>| {
        let text = String::from_utf8(line.clone()).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    };
    trial.log(attempt(job)).iter().map(number).collect()
}

#[tokio::test]
async fn no_line_is_lost_or_doubled_when_the_stream_breaks() {
    let trial = Trial::start().await;
    let folder = tempfile::tempdir().unwrap();
    trial.shared.batches_until_break.store(5, Ordering::Relaxed);
    let shipping = Shipping::start(&trial);
    for job in 1..=2 {
        let path = folder.path().join(job.to_string());
        write(&mut Writer::open(&path).unwrap(), 0..20_000, 150);
        shipping.shipper.ship(attempt(job), path);
    }
    for job in 1..=2 {
        assert_eq!(shipping.drained(job).await, Drained::Acknowledged { lines: 20_000 });
        assert!(numbers(&trial, job).into_iter().eq(0..20_000), "job {job}");
    }
    assert!(trial.shared.streams_of_logs.load(Ordering::Relaxed) >= 2);
    shipping.end().await;
}

#[tokio::test]
async fn a_new_agent_goes_on_where_the_master_is() {
    let trial = Trial::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut writer = Writer::open(&path).unwrap();
    write(&mut writer, 0..9000, 100);
    for lines in [9000, 9001] {
        let shipping = Shipping::start(&trial);
        shipping.shipper.ship(attempt(1), path.clone());
        assert_eq!(shipping.drained(1).await, Drained::Acknowledged { lines });
        shipping.end().await;
        write(&mut writer, lines..lines + 1, 0);
    }
    assert!(numbers(&trial, 1).into_iter().eq(0..9001));
}

#[tokio::test]
async fn lines_come_while_the_job_runs() {
    let trial = Trial::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let shipping = Shipping::start(&trial);
    // The spool is not there yet.
    shipping.shipper.ship(attempt(1), path.clone());
    let mut writer = Writer::open(&path).unwrap();
    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let written_at = Instant::now();
        write(&mut writer, number..number + 1, 0);
        shipping.shipper.hint(attempt(1));
        let arrived = async {
            while (trial.log(attempt(1)).len() as u64) <= number {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(SOON, arrived).await.unwrap();
        slowest = slowest.max(written_at.elapsed());
    }
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    shipping.end().await;
}

#[tokio::test]
async fn other_ends_of_a_log() {
    let trial = Trial::start().await;
    let folder = tempfile::tempdir().unwrap();
    let shipping = Shipping::start(&trial);
    let path = |job: u128| folder.path().join(job.to_string());
    lock(&trial.shared.refused_logs).insert(attempt(1));
    write(&mut Writer::open(&path(1)).unwrap(), 0..10, 0);
    std::fs::write(path(2), [0xff; 64]).unwrap();
    for job in 1..=4 {
        shipping.shipper.ship(attempt(job), path(job));
    }
    assert_eq!(shipping.drained(1).await, Drained::Refused);
    assert!(matches!(shipping.drained(2).await, Drained::Unreadable(_)));
    // Nothing was ever written.
    assert_eq!(shipping.drained(3).await, Drained::Acknowledged { lines: 0 });
    shipping.shipper.stop(attempt(4));
    assert_eq!(shipping.drained(4).await, Drained::Stopped);
    assert_eq!(shipping.drained(5).await, Drained::Stopped);
    assert!(trial.log(attempt(1)).is_empty());
    shipping.end().await;
}

#[test]
fn a_reason_is_told_once_until_it_is_another() {
    let mut told = Told::default();
    let news = ["removed", "removed", "disabled", "removed"].map(|reason| told.is_new(reason));
    assert_eq!(news, [true, false, true, true]);
}
