//! Logs of jobs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tombolo_api::LogItem;
use tombolo_api::log::MEDIA_TYPE;
use tombolo_api::problem::Code;
use tombolo_core::build::{JobState, TerminalState};
use tombolo_core::control::record::{AttemptLog, JobStatus};
use tombolo_core::id::{AttemptId, Epoch, JobId};
use tombolo_core::log::LogLine;
use tombolo_store::Store;

use super::authorization::{InProject, Viewer};
use super::error::Problems;
use super::extract::{Path, Query};
use super::job::{JobPath, find_job};
use super::produced::{Sink, produced};
use super::{Application, Error};

/// How many lines are read at once at the most.
const LINES_AT_ONCE: u32 = 4096;

/// How often an empty line is sent on a quiet stream, so that nothing between closes it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    from: Option<u64>,
    #[serde(default)]
    follow: bool,
    epoch: Option<u32>,
}

/// The log of a job
///
/// Newline-delimited JSON, each line one `LogItem`; empty lines mean nothing. With `follow` it goes on until the log is whole,
/// also over attempts that are replaced.
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}/jobs/{job}/log", tag = "jobs", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
        ("job" = String, Path, description = "The job's name, with `/` written as `%2F`"),
        ("from" = Option<u64>, Query, description = "The number of the first line; 0 by default"),
        ("follow" = Option<bool>, Query, description = "Whether to wait for lines that are still to come"),
        ("epoch" = Option<u32>, Query, description = "Which attempt; by default the latest, but for those that only made its output again"),
    ),
    responses((status = 200, body = LogItem, content_type = "application/x-ndjson"), Problems)
)]
pub(super) async fn read_log(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path(path): Path<JobPath>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Error> {
    let permit = state.stream_permit()?;
    let found = find_job(&state, &access.project, &path).await?;
    found.refuse_array("log")?;
    let latest = found.status.epoch.0;
    if let Some(epoch) = query.epoch.filter(|epoch| *epoch > latest) {
        let detail = format!(
            "job `{}` has no attempt {epoch}; the latest is {latest}",
            found.node.name
        );
        return Err(Error::new(Code::NotFound, detail));
    }
    let body = produced(move |sink| async move {
        let reader = Reader {
            state,
            job: found.node.id,
            sink,
            pinned: query.epoch.is_some(),
            _permit: permit,
        };
        let epoch = query.epoch.map_or(found.status.log_epoch(), Epoch);
        match query.follow {
            true => reader.follow(found.status, epoch, query.from.unwrap_or(0)).await,
            false => reader.read(found.status, epoch, query.from.unwrap_or(0)).await,
        }
    });
    let mut response = Body::from_stream(body).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    Ok(response)
}

struct Reader {
    state: Arc<Application>,
    job: JobId,
    sink: Sink,
    /// Only the attempt that was asked for is wanted.
    pinned: bool,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    /// What there is now.
    async fn read(self, status: JobStatus, epoch: Epoch, from: u64) -> io::Result<()> {
        let attempt = AttemptId { job: self.job, epoch };
        self.begin(&status, epoch).await?;
        let mut next = from;
        loop {
            let lines = self
                .state
                .logs
                .read(attempt, next, LINES_AT_ONCE)
                .await
                .map_err(io::Error::other)?;
            let Some(last) = lines.last() else { break };
            next = last.number + 1;
            self.lines(&lines).await?;
        }
        let is_whole = match status.log_of(epoch) {
            AttemptLog::Grows => false,
            AttemptLog::Over => epoch == status.epoch || epoch == status.log_epoch(),
            AttemptLog::Lines(all) => all <= next,
        };
        let end = end_before(&status, epoch).or(status.ended());
        match end.filter(|_| is_whole) {
            Some(state) => {
                self.send(&LogItem::End {
                    lines: next,
                    state: state.into(),
                })
                .await
            }
            None => Ok(()),
        }
    }

    /// What there is, and what comes.
    async fn follow(self, mut status: JobStatus, mut epoch: Epoch, from: u64) -> io::Result<()> {
        let mut next = from;
        loop {
            let mut follow = self.state.logs.follow(AttemptId { job: self.job, epoch }, next);
            if epoch != Epoch(0) {
                self.begin(&status, epoch).await?;
            }
            loop {
                let more = tokio::select! {
                    more = tokio::time::timeout(KEEP_ALIVE, follow.next()) => more,
                    () = self.state.stopping.cancelled() => return Err(io::Error::other("the master is stopping")),
                };
                match more {
                    Err(_) => self.piece(Bytes::from_static(b"\n")).await?,
                    Ok(lines) => match lines.map_err(io::Error::other)? {
                        None => break,
                        Some(lines) => {
                            next = lines.last().map_or(next, |last| last.number + 1);
                            self.lines(&lines).await?;
                        }
                    },
                }
            }
            if follow.missing() > 0 {
                let to = next + follow.missing();
                self.send(&LogItem::Gap { from: next, to }).await?;
                next = to;
            }
            let record = self.state.store.job(self.job).await.map_err(io::Error::other)?;
            status = record.ok_or_else(|| io::Error::other("the job is gone"))?.status;
            if status.log_epoch() > epoch && !self.pinned {
                (epoch, next) = (status.log_epoch(), 0);
                continue;
            }
            let earlier = end_before(&status, epoch).filter(|_| epoch < status.epoch);
            let state = earlier
                .map(JobState::Terminal)
                .unwrap_or(status.as_ended().state)
                .into();
            return self.send(&LogItem::End { lines: next, state }).await;
        }
    }

    async fn begin(&self, status: &JobStatus, epoch: Epoch) -> io::Result<()> {
        let cluster = match status.end() {
            Some(end) if epoch == status.log_epoch() => end.cluster.as_ref(),
            _ => match status.try_of(epoch) {
                Some(earlier) => earlier.cluster.as_ref(),
                None => {
                    let replaced = status.replaced_of(epoch).map(|replaced| &replaced.cluster);
                    replaced.or(status.cluster.as_ref().filter(|_| status.epoch == epoch))
                }
            },
        };
        self.send(&LogItem::Attempt {
            epoch: epoch.0,
            cluster: cluster.map(ToString::to_string),
        })
        .await
    }

    async fn lines(&self, lines: &[LogLine]) -> io::Result<()> {
        let mut text = Vec::with_capacity(lines.iter().map(|line| line.weight() + 64).sum());
        for line in lines {
            let item = LogItem::Line {
                number: line.number,
                at: line.at.into(),
                text: line.display().into_owned(),
            };
            write_item(&mut text, &item)?;
        }
        self.piece(text.into()).await
    }

    async fn send(&self, item: &LogItem) -> io::Result<()> {
        let mut text = Vec::new();
        write_item(&mut text, item)?;
        self.piece(text.into()).await
    }

    async fn piece(&self, piece: Bytes) -> io::Result<()> {
        self.sink.send(piece).await.map_err(io::Error::other)
    }
}

/// How an attempt ended that another one followed: what the system lost did so by a fault that is not the job's.
fn end_before(status: &JobStatus, epoch: Epoch) -> Option<TerminalState> {
    let earlier = status.try_of(epoch).map(|earlier| earlier.state);
    earlier.or(status.replaced_of(epoch).map(|_| TerminalState::Error))
}

fn write_item(text: &mut Vec<u8>, item: &LogItem) -> io::Result<()> {
    serde_json::to_writer(&mut *text, item)?;
    text.push(b'\n');
    Ok(())
}
