//! What stands in for the supervisor of a command: it runs for a while, writes lines, and ends by itself, or when it is stopped or its lease is about
//! to end. It writes down what the real one does.

use std::future::Future;
use std::io;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tombolo_agent::folder::{AttemptFolder, Durability, write_record};
use tombolo_agent::link::Granted;
use tombolo_agent::spool::Writer;
use tombolo_agent::supervisor::{Ending, Exit, Started, Usage};
use tombolo_core::attempt::Assignment;
use tombolo_core::id::AttemptId;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_tests::history::Fact;

use crate::chance::now;
use crate::chronicle::Chronicle;

/// The lines of a command begin with this; the rest is their number among them.
pub(crate) const LINE: &str = "line ";

/// What the history says of a command that ran, and was ended by its lease.
pub(crate) const LEASE_ENDED: &str = "is ended by its lease";

/// What its agent has told a supervisor.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) stop: bool,
    pub(crate) lease: Option<Granted>,
}

/// What its agent sees of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Supervised {
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) exit: Option<Exit>,
    /// Counts the times that the log has grown.
    pub(crate) grown: u64,
}

pub(crate) struct Supervisor {
    folder: AttemptFolder,
    attempt: AttemptId,
    time: Duration,
    /// How long it takes to stop.
    grace: Duration,
    code: i32,
    lines: u64,
    wanted: watch::Receiver<Wanted>,
    chronicle: Chronicle,
}

pub(crate) fn is_exclusive(assignment: &Assignment) -> bool {
    assignment.job.extensions.as_ref().is_some_and(|says| says.exclusive)
}

impl Supervisor {
    pub(crate) fn new(
        folder: AttemptFolder,
        attempt: AttemptId,
        time: Duration,
        rng: &mut ChaCha8Rng,
        wanted: watch::Receiver<Wanted>,
        chronicle: Chronicle,
    ) -> Self {
        Self {
            folder,
            attempt,
            time,
            grace: Duration::from_millis(rng.random_range(1..1000)),
            code: if rng.random_bool(0.8) {
                0
            } else {
                rng.random_range(1..4)
            },
            lines: rng.random_range(0..20),
            wanted,
            chronicle,
        }
    }

    /// Starts the command, unless its lease is over. What is returned is to be run, and what is seen of it.
    pub(crate) fn begin(
        self,
        cluster: ClusterName,
        assignment: &Assignment,
        exclusive: bool,
    ) -> io::Result<(impl Future<Output = ()> + Send + use<>, watch::Receiver<Supervised>)> {
        let (sender, seen) = watch::channel(Supervised::default());
        let late = exclusive && self.stop_at().is_none_or(|at| at <= now().steady.0);
        if !late {
            let started_at = now().wall;
            let started = Started {
                supervisor: 1,
                command: 2,
                started_at,
            };
            write_record(&self.folder.started(), &started, Durability::Fast)?;
            sender.send_modify(|seen| seen.started_at = Some(started_at));
            self.chronicle.fact(Fact::CommandStarted {
                cluster,
                assignment: Box::new(assignment.clone()),
                arrived: assignment.inputs.iter().map(|input| input.output.manifest).collect(),
            });
        }
        let running = async move {
            let ending = if late {
                Ending::LeaseEnded
            } else {
                self.run(exclusive, &sender).await
            };
            if exclusive && !late {
                self.chronicle.fact(Fact::CommandOver(self.attempt));
            }
            if !late && ending == Ending::LeaseEnded {
                self.chronicle
                    .note(format_args!("the command of {} {LEASE_ENDED}", self.attempt));
            }
            let written = self.write(0, 0).expect("the log can be read");
            let exit = Exit {
                ending,
                started_at: sender.borrow().started_at,
                ended_at: now().wall,
                log_lines: written,
                usage: Usage::default(),
            };
            write_record(&self.folder.exit(), &exit, Durability::Fast).expect("the exit can be written");
            sender.send_modify(|seen| seen.exit = Some(exit));
        };
        Ok((running, seen))
    }

    /// Runs the command to its end.
    async fn run(&self, exclusive: bool, seen: &watch::Sender<Supervised>) -> Ending {
        let ends_at = Instant::now() + self.time;
        let working = async {
            for line in 0..self.lines {
                sleep(self.time / u32::try_from(self.lines + 1).unwrap_or(u32::MAX)).await;
                self.write(line, line + 1).expect("the log can be written");
                seen.send_modify(|seen| seen.grown += 1);
            }
            sleep_until(ends_at).await;
        };
        let mut wanted = self.wanted.clone();
        let stopped = async {
            if wanted.wait_for(|wanted| wanted.stop).await.is_err() {
                std::future::pending::<()>().await;
            }
            sleep(self.grace).await;
        };
        let lease = async {
            if exclusive {
                self.lease_over().await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = lease => Ending::LeaseEnded,
            () = working => Ending::Exited { code: self.code },
            () = stopped => Ending::Stopped,
        }
    }

    /// When the command is asked to stop for its lease; none before there is one.
    fn stop_at(&self) -> Option<Duration> {
        let lease = self.wanted.borrow().lease;
        lease.map(|lease| lease.stop_at())
    }

    /// Returns when nothing may be left any more of a command that ends with its lease.
    async fn lease_over(&self) {
        let mut wanted = self.wanted.clone();
        loop {
            let lease = wanted.borrow_and_update().lease.unwrap_or_default();
            let over = (lease.stop_at() + self.grace).min(lease.kill_at());
            tokio::select! {
                () = sleep(over.saturating_sub(now().steady.0)) => return,
                changed = wanted.changed() => if changed.is_err() {
                    sleep(over.saturating_sub(now().steady.0)).await;
                    return;
                },
            }
        }
    }

    /// Writes the lines from `first` on, before `end`; tells how many the log has then.
    fn write(&self, first: u64, end: u64) -> io::Result<u64> {
        let mut writer = Writer::open(&self.folder.log())?;
        for line in first..end {
            writer.push(now().wall, format!("{LINE}{line}").as_bytes())?;
        }
        writer.flush()?;
        Ok(writer.lines())
    }
}
