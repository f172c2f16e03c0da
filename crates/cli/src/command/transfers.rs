//! How inputs come to their jobs.

use std::time::Duration;

use clap::{Args, Subcommand};
use tombolo_api::{RouteKind, RouteOutcome, RouteReport, Transfer, TransferList, TransferState, path};

use crate::failure::{ExitCode, Failure};
use crate::render::{self, Rows, Wide};
use crate::{Session, number};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Transfers {
    #[command(subcommand)]
    show: Option<Command>,
    /// The build's number.
    #[arg(value_parser = number::build, required = true)]
    build: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows one transfer: which ways there were, and why each was used or not.
    Show(Show),
}

#[derive(Debug, Args)]
struct Show {
    /// The transfer, as `tombolo transfers BUILD -o name` lists it: `BUILD:JOB:PARENT`, `BUILD:JOB` for the source, or
    /// `BUILD:JOB:@cache` for the cache.
    id: String,
}

impl Rows for TransferList {
    fn header(&self, wide: Wide) -> Vec<&'static str> {
        let mut header = vec![
            "id", "state", "way", "route", "content", "there", "moved", "rate", "left",
        ];
        if wide == Wide::Yes {
            header.extend(["took", "digest"]);
        }
        header
    }

    fn rows(&self, wide: Wide) -> Vec<Vec<String>> {
        let row = |transfer: &Transfer| {
            let mut row = vec![
                transfer.id.clone(),
                state(transfer).to_owned(),
                way(transfer),
                transfer.route.as_str().to_owned(),
                render::bytes(transfer.bytes),
                format!("{} %", percent(transfer)),
                render::bytes(transfer.moved_bytes),
                rate(transfer),
                left(transfer),
            ];
            if wide == Wide::Yes {
                row.push(render::duration(Duration::from_millis(transfer.milliseconds)));
                row.push(transfer.digest.map(|digest| digest.short()).unwrap_or_default());
            }
            row
        };
        self.transfers.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.transfers.iter().map(|transfer| transfer.id.clone()).collect()
    }

    fn empty(&self) -> &'static str {
        "No job of the build has fetched anything."
    }
}

impl Rows for Transfer {
    fn header(&self, _: Wide) -> Vec<&'static str> {
        vec!["route", "from", "outcome", "moved", "why"]
    }

    fn rows(&self, _: Wide) -> Vec<Vec<String>> {
        let row = |report: &RouteReport| {
            vec![
                report.route.as_str().to_owned(),
                report.from.as_ref().map_or("master", |from| from.as_str()).to_owned(),
                outcome(report.outcome).to_owned(),
                render::bytes(report.moved_bytes),
                report.reason.clone().unwrap_or_default(),
            ]
        };
        self.routes.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        vec![self.id.clone()]
    }

    fn empty(&self) -> &'static str {
        match self.state {
            TransferState::Moving => "Which ways there were is known when it is there.",
            TransferState::Done => "It was there already: nothing was asked for.",
            TransferState::Failed => "There was no way that it could have come.",
        }
    }
}

const fn state(transfer: &Transfer) -> &'static str {
    match transfer.state {
        TransferState::Done if transfer.prefetched => "prefetched",
        state => state.as_str(),
    }
}

const fn outcome(outcome: RouteOutcome) -> &'static str {
    match outcome {
        RouteOutcome::Used => "used",
        RouteOutcome::Failed => "failed",
        RouteOutcome::NotNeeded => "not needed",
        RouteOutcome::Unavailable => "unavailable",
    }
}

fn way(transfer: &Transfer) -> String {
    let to = transfer.to.as_ref().map(ToString::to_string).unwrap_or_default();
    if transfer.route == RouteKind::Local {
        return to;
    }
    format!(
        "{} -> {to}",
        transfer.from.as_ref().map_or("master", |from| from.as_str())
    )
}

fn percent(transfer: &Transfer) -> u64 {
    (transfer.done_bytes * 100).checked_div(transfer.bytes).unwrap_or(100)
}

/// Content per second: what the user waits for, however little of it crosses the link. Nothing where nothing had to come.
fn rate(transfer: &Transfer) -> String {
    let rate = transfer.bytes_per_second.filter(|_| transfer.route != RouteKind::Local);
    rate.map_or_else(|| "-".to_owned(), |rate| format!("{}/s", render::bytes(rate)))
}

/// How long it will still take if it goes on like this.
fn left(transfer: &Transfer) -> String {
    let left = transfer.milliseconds_left.map(Duration::from_millis);
    left.map(render::duration).unwrap_or_default()
}

/// Lists the transfers of a build, or shows one.
pub(crate) async fn transfers(command: &Transfers, session: &Session) -> Result<(), Failure> {
    match (&command.show, command.build) {
        (Some(Command::Show(show)), _) => self::show(&show.id, session).await,
        (None, Some(build)) => render::print(session.format, &list(build, session).await?),
        (None, None) => Err(Failure::usage("a build is missing").hint("`tombolo builds` lists them")),
    }
}

async fn list(build: u64, session: &Session) -> Result<TransferList, Failure> {
    session
        .client
        .get(&path::build_transfers(&session.project, build))
        .await
}

async fn show(id: &str, session: &Session) -> Result<(), Failure> {
    let unknown = || {
        Failure::new(ExitCode::Failed, format!("there is no transfer `{id}`")).hint(
            "`tombolo transfers BUILD -o name` lists those of a build: `BUILD:JOB:PARENT`, `BUILD:JOB` for the source, \
             `BUILD:JOB:@cache` for the cache",
        )
    };
    let build = id
        .split(':')
        .next()
        .and_then(|build| build.parse().ok())
        .ok_or_else(unknown)?;
    let transfers = list(build, session).await?.transfers;
    let transfer = transfers
        .into_iter()
        .find(|transfer| transfer.id == id)
        .ok_or_else(unknown)?;
    if session.format.is_for_people() {
        render::line(&sentence(&transfer))?;
        render::line("")?;
    }
    render::print(session.format, &transfer)
}

fn sentence(transfer: &Transfer) -> String {
    let what = match &transfer.parent {
        Some(parent) => format!("The output of `{parent}` for `{}`", transfer.job),
        None if transfer.cache => format!("The cache for `{}`", transfer.job),
        None => format!("The source for `{}`", transfer.job),
    };
    let (bytes, took) = (
        render::bytes(transfer.bytes),
        render::duration(Duration::from_millis(transfer.milliseconds)),
    );
    let rate = rate(transfer);
    let moved = render::bytes(transfer.moved_bytes);
    match transfer.state {
        TransferState::Moving => format!(
            "{what}: {} % of {bytes} after {took} ({rate}; {moved} moved).",
            percent(transfer)
        ),
        TransferState::Done if transfer.route == RouteKind::Local => format!("{what}: {bytes}, was there already."),
        TransferState::Done => format!("{what}: {bytes} in {took} ({rate}; {moved} moved)."),
        TransferState::Failed => format!(
            "{what} did not come within {took} ({moved} moved): {}.",
            transfer.failure.as_deref().unwrap_or_default()
        ),
    }
}
