use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Error, Places, publish, stage};

/// Threads that pack, unpack and compress: one of each kind at a time.
const BLOCKING_THREADS: usize = 3;
/// Has the allocator give memory back at once, instead of a moment later, and take no more than is asked for (huge pages are two
/// megabytes each): chunks are large, and the limit is the job's.
const ALLOCATOR: [(&str, &str); 2] = [("MIMALLOC_PURGE_DELAY", "0"), ("MIMALLOC_ALLOW_THP", "0")];
/// The longest word of a step: what is to be run, with all of its variables.
const REPORT_LIMIT: u64 = 16 * 1024 * 1024;

/// What a process of its own does for the supervisor: what it takes of the job's memory is free again when the command runs, and the
/// supervisor itself has one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Fills the sandbox.
    Stage,
    /// Hands over what the command has left.
    Publish,
}

/// What a step says at its end.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Report<T> {
    Done(T),
    Failed { reason: String, unwanted: bool },
}

/// Carries out a step, and says on the standard output what came of it.
///
/// # Errors
/// If that cannot be said.
pub fn carry_out(step: Step, places: &Places) -> io::Result<()> {
    match step {
        Step::Stage => report(stage::stage(places.clone())),
        Step::Publish => report(publish::publish(places.clone())),
    }
}

fn report<T: Serialize>(work: impl Future<Output = Result<T, Error>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()?;
    let report = match runtime.block_on(work) {
        Ok(done) => Report::Done(done),
        Err(error) => Report::Failed {
            reason: error.to_string(),
            unwanted: error.is_unwanted(),
        },
    };
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, &report)?;
    output.flush()
}

/// A step under way. Dropping it ends it.
pub(super) struct Running {
    process: Child,
    output: ChildStdout,
}

impl Running {
    /// Starts a step; `command` is this program as that step.
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        let mut process = command
            .envs(ALLOCATOR)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { process, output })
    }

    /// Can be read when the step has ended.
    pub(super) fn ends(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Waits until it has ended, and tells what came of it.
    pub(super) fn wait<T: DeserializeOwned>(mut self) -> Result<T, Error> {
        let mut text = Vec::new();
        let read = (&mut self.output).take(REPORT_LIMIT).read_to_end(&mut text);
        read.map_err(Error::system("hear of a step"))?;
        let status = self.process.wait().map_err(Error::system("wait for a step"))?;
        match serde_json::from_slice(&text) {
            Ok(Report::Done(done)) => Ok(done),
            Ok(Report::Failed { reason, unwanted }) => Err(Error::Step { reason, unwanted }),
            // Killed for want of memory, most likely: it counts against the job's limit.
            Err(_) => Err(Error::Step {
                reason: format!("a process of the supervisor died ({status})"),
                unwanted: false,
            }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended needs neither.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
