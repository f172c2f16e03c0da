//! Logs.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use tombolo_api::{Build, Job, JobState, LogItem, path};
use tombolo_core::name::JobName;

use crate::client::Client;
use crate::failure::{ExitCode, Failure};
use crate::render::{self, Format};
use crate::{Session, number};

/// The longest item: a line of 64 KiB, every byte of it escaped (`\u0000`), and what surrounds it.
const MAX_ITEM_BYTES: usize = 512 << 10;
/// How often a followed log is asked for again after the connection broke.
const RECONNECTS: u32 = 60;
/// How long to wait before that.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// How long the end of a log is waited for when it is shown beside other things.
const TAIL_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The build's number.
    #[arg(value_parser = number::build)]
    build: u64,
    /// The job; may be left out if the build has one job.
    job: Option<JobName>,
    /// Goes on until the job is over.
    #[arg(long, short)]
    follow: bool,
    /// Prints the time of every line.
    #[arg(long, short)]
    timestamps: bool,
    /// The number of the first line, from 0.
    #[arg(long, default_value_t = 0, value_parser = number::line)]
    from: u64,
    /// The attempt, by its number; the one that counts if absent. `jobs -o json` has the numbers of earlier ones.
    #[arg(long, value_name = "NUMBER")]
    attempt: Option<u32>,
}

/// Prints a log; with `--follow` until the job is over, across broken connections, no line twice.
pub(crate) async fn logs(command: &Logs, session: &Session) -> Result<(), Failure> {
    session.format.refuse(&[Format::Yaml, Format::Name], "logs")?;
    let job = match &command.job {
        Some(job) => job.clone(),
        None => only_job(command.build, session).await?,
    };
    let path = path::job_log(&session.project, command.build, &job);
    let mut printer = Printer {
        next: command.from,
        timestamps: command.timestamps,
        format: session.format,
        ended: false,
    };
    // Of a job that is over the rest of the log may still be arriving: it is waited for.
    let state: Job = session
        .client
        .get(&path::job(&session.project, command.build, &job))
        .await?;
    let follow = command.follow || (state.state.is_terminal() && state.epoch > 0);
    let attempt = command
        .attempt
        .map_or_else(String::new, |attempt| format!("&epoch={attempt}"));
    let mut left = if follow { RECONNECTS } else { 0 };
    loop {
        let before = printer.next;
        let path = format!("{path}?from={}&follow={follow}{attempt}", printer.next);
        match read(&session.client, &path, |item| printer.print(&item)).await {
            Ok(()) if printer.ended || !follow => return Ok(()),
            Ok(()) => {}
            Err(failure) if failure.code != ExitCode::Unreachable => return Err(failure),
            Err(failure) if left == 0 => return Err(failure),
            Err(_) => {}
        }
        left = if printer.next > before {
            RECONNECTS
        } else {
            left.saturating_sub(1)
        };
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

/// The job of a build that has one.
pub(crate) async fn only_job(number: u64, session: &Session) -> Result<JobName, Failure> {
    let build: Build = session.client.get(&path::build(&session.project, number)).await?;
    match build.jobs.as_slice() {
        [job] => Ok(job.name.clone()),
        jobs => {
            let names: Vec<_> = jobs.iter().map(|job| job.name.as_str()).collect();
            Err(
                Failure::usage(format!("build {number} has {} jobs: say which", jobs.len()))
                    .hint(format!("one of: {}", names.join(", "))),
            )
        }
    }
}

/// Reads a log to the end of the answer, item by item.
pub(crate) async fn read(
    client: &Client,
    path: &str,
    mut each: impl FnMut(LogItem) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut response = client.send(client.request(Method::GET, path)?).await?;
    let mut buffer = Vec::new();
    while let Some(piece) = client.chunk(&mut response).await? {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            buffer.extend_from_slice(part);
            if buffer.len() > MAX_ITEM_BYTES {
                return Err(Failure::new(
                    ExitCode::Failed,
                    "a line of the log is longer than the master may send",
                ));
            }
            if buffer.last() == Some(&b'\n') {
                if buffer.len() > 1 {
                    let item = serde_json::from_slice(&buffer).map_err(|error| {
                        Failure::new(ExitCode::Failed, format!("the log is not understood: {error}"))
                    })?;
                    each(item)?;
                }
                buffer.clear();
            }
        }
    }
    Ok(())
}

struct Printer {
    next: u64,
    timestamps: bool,
    format: Format,
    ended: bool,
}

impl Printer {
    fn print(&mut self, item: &LogItem) -> Result<(), Failure> {
        match item {
            LogItem::Line { number, .. } => self.next = number + 1,
            LogItem::Gap { to, .. } => self.next = *to,
            // A new attempt's log begins at 0 again; the first item only says which attempt it is.
            LogItem::Attempt { .. } => {}
            LogItem::End { .. } => self.ended = true,
        }
        // Job logs bring their own colours; anstream takes them out where they do not belong.
        let mut output = anstream::stdout().lock();
        let written = match (self.format, item) {
            (Format::Json, item) => {
                let text = serde_json::to_string(item)
                    .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot print a line: {error}")))?;
                writeln!(output, "{text}")
            }
            (_, LogItem::Line { at, text, .. }) if self.timestamps => writeln!(output, "{at} {text}"),
            (_, LogItem::Line { text, .. }) => writeln!(output, "{text}"),
            (_, LogItem::Gap { from, to }) => {
                let (lines, are) = (
                    render::count(to - from, "line"),
                    if to - from == 1 { "is" } else { "are" },
                );
                writeln!(output, "[{lines} {are} missing here]")
            }
            (_, LogItem::Attempt { .. } | LogItem::End { .. }) => Ok(()),
        };
        written.and_then(|()| output.flush()).map_err(render::write_failure)
    }
}

/// The last lines of a job's log, for a report of its failure.
pub(crate) async fn tail(session: &Session, build: u64, job: &JobName, lines: u64) -> Result<Vec<String>, Failure> {
    let path = path::job_log(&session.project, build, job);
    let state: Job = session.client.get(&path::job(&session.project, build, job)).await?;
    if state.state == JobState::Skipped || state.epoch == 0 {
        return Ok(Vec::new());
    }
    let from = state.log_lines.unwrap_or_default().saturating_sub(lines);
    let mut last = VecDeque::new();
    let path = format!("{path}?from={from}&follow=true");
    let reading = read(&session.client, &path, |item| {
        if let LogItem::Line { text, .. } = item {
            if last.len() as u64 == lines {
                last.pop_front();
            }
            last.push_back(text);
        }
        Ok(())
    });
    // The end of the log may still be arriving; what has come by then is better than nothing.
    if let Ok(read) = tokio::time::timeout(TAIL_WITHIN, reading).await {
        read?;
    }
    Ok(last.into())
}
