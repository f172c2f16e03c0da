//! The events of a build, as server-sent events.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse;
use futures::Stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior};
use tombolo_api::problem::Code;
use tombolo_api::{BuildSummary, Job, Progress, WatchEvent};
use tombolo_core::build::array;
use tombolo_core::control::EventKind;
use tombolo_core::control::record::{Build, JobStatus, Project};
use tombolo_core::id::JobId;

use super::authorization::{InProject, Viewer};
use super::build::{BuildPath, find_build, read_build, waiting_reasons};
use super::error::Problems;
use super::extract::Path;
use super::transfer::milliseconds_left;
use super::{Application, Error, view};
use crate::driver::{Subscription, Watched};

/// How often a comment is sent on a quiet stream, so that nothing between closes it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How often it is found out again why jobs wait: that changes without an event, when clusters come and go.
const REASONS_EVERY: Duration = Duration::from_secs(2);

/// How long to wait before subscribing again when the driver has started again.
const RESUBSCRIBE_AFTER: Duration = Duration::from_millis(500);

/// Tells what happens to a build
///
/// Server-sent events, each one `WatchEvent`. The first is a snapshot, also when `Last-Event-ID` is sent. The stream ends with
/// the build.
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}/events", tag = "builds", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
    ),
    responses((status = 200, body = WatchEvent, content_type = "text/event-stream"), Problems)
)]
pub(super) async fn watch_build(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path(path): Path<BuildPath>,
) -> Result<sse::Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Error> {
    let permit = state.stream_permit()?;
    let build = find_build(&state, &access.project, path.number).await?;
    let watcher = Watcher::new(state, access.project, build, permit).await?;
    let events = futures::stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        let (name, sequence) = (
            name(&event),
            watcher.subscription.as_ref().map_or(0, Subscription::sequence),
        );
        let data = serde_json::to_string(&event).expect("an event is always JSON");
        let sequence = watcher.sequence.max(sequence);
        Some((
            Ok(sse::Event::default().event(name).id(sequence.to_string()).data(data)),
            watcher,
        ))
    });
    Ok(sse::Sse::new(events).keep_alive(sse::KeepAlive::new().interval(KEEP_ALIVE)))
}

const fn name(event: &WatchEvent) -> &'static str {
    match event {
        WatchEvent::Snapshot { .. } => "snapshot",
        WatchEvent::Build { .. } => "build",
        WatchEvent::Job { .. } => "job",
        WatchEvent::Progress { .. } => "progress",
    }
}

/// One watcher of one build. Knows what it has told, so that it can complete and filter what comes.
struct Watcher {
    state: Arc<Application>,
    project: Project,
    build: Build,
    subscription: Option<Subscription>,
    sequence: u64,
    jobs: HashMap<JobId, Job>,
    reasons: Interval,
    pending: VecDeque<WatchEvent>,
    phase: Phase,
    _permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The present state has to be read and told.
    Behind,
    /// Events are told as they come.
    Following,
    /// All was told.
    Ended,
}

impl Watcher {
    async fn new(
        state: Arc<Application>,
        project: Project,
        build: Build,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, Error> {
        let subscription = state.handle.subscribe(build.id).await?;
        let mut reasons = tokio::time::interval_at(tokio::time::Instant::now() + REASONS_EVERY, REASONS_EVERY);
        reasons.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            state,
            project,
            build,
            sequence: subscription.sequence(),
            subscription: Some(subscription),
            jobs: HashMap::new(),
            reasons,
            pending: VecDeque::new(),
            phase: Phase::Behind,
            _permit: permit,
        })
    }

    /// The next event; none at the end of the stream. A watcher that meets an error ends: the client comes again.
    async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            match self.phase {
                Phase::Ended => return None,
                Phase::Behind => match self.snapshot().await {
                    Ok(event) => return Some(event),
                    Err(error) => {
                        tracing::debug!(problem = %error.problem(), "a watcher's stream ends early");
                        return None;
                    }
                },
                Phase::Following => self.follow().await?,
            }
        }
    }

    /// Reads the present state. Everything after it is in the subscription, which is older.
    async fn snapshot(&mut self) -> Result<WatchEvent, Error> {
        if self.subscription.is_none() {
            tokio::time::sleep(RESUBSCRIBE_AFTER).await;
            let subscription = self.state.handle.subscribe(self.build.id).await?;
            self.sequence = subscription.sequence();
            self.subscription = Some(subscription);
        }
        self.build = find_build(&self.state, &self.project, self.build.number).await?;
        let build = read_build(&self.state, &self.build, &self.project).await?;
        self.jobs = build.jobs.iter().map(|job| (job.id, job.clone())).collect();
        self.phase = Phase::Following;
        if build.summary.state.is_terminal() {
            self.phase = Phase::Ended;
            self.pending.push_back(WatchEvent::Build {
                build: build.summary.clone(),
            });
        }
        Ok(WatchEvent::Snapshot { build: Box::new(build) })
    }

    /// Waits for something to tell; none when the server stops.
    async fn follow(&mut self) -> Option<()> {
        let Some(subscription) = &mut self.subscription else {
            self.phase = Phase::Behind;
            return Some(());
        };
        let waits = self.jobs.values().any(|job| job.attempt_state().may_wait());
        tokio::select! {
            watched = subscription.next() => match watched {
                Some(Watched::Event(event)) => {
                    self.sequence = event.sequence;
                    self.take(&event.event.kind);
                }
                Some(Watched::Lagged) => self.phase = Phase::Behind,
                None => {
                    self.subscription = None;
                    self.phase = Phase::Behind;
                }
            },
            _ = self.reasons.tick(), if waits => self.refresh_reasons().await,
            () = self.state.stopping.cancelled() => return None,
        }
        Some(())
    }

    fn take(&mut self, kind: &EventKind) {
        match kind {
            EventKind::Build(build) => {
                let build = BuildSummary::new(build, &self.project.name);
                if build.state.is_terminal() {
                    self.phase = Phase::Ended;
                }
                self.pending.push_back(WatchEvent::Build { build });
            }
            EventKind::Job { status, .. } => {
                if let Some(job) = self.jobs.get_mut(&status.id).filter(|job| !is_older(status, job)) {
                    view::update(job, status);
                    self.pending.push_back(WatchEvent::Job {
                        job: Box::new(job.clone()),
                    });
                }
            }
            EventKind::Indexes { array, counts } => {
                if let Some(job) = self.jobs.get_mut(array)
                    && let Some(shown) = &mut job.array
                {
                    let array = array::Array {
                        count: shown.count,
                        parallel: shown.parallel,
                    };
                    *shown = tombolo_api::Array::new(array, counts);
                    self.pending.push_back(WatchEvent::Job {
                        job: Box::new(job.clone()),
                    });
                }
            }
            // The end of the build has been told, or everything is told anew.
            EventKind::Extended => {
                if self.phase == Phase::Following {
                    self.phase = Phase::Behind;
                }
            }
            EventKind::Progress { attempt, progress } => {
                let Some(job) = self.jobs.get(&attempt.job) else {
                    return;
                };
                let moving = self.state.handle.transfer(*attempt, &progress.parent);
                let bytes_per_second = moving.and_then(|moving| moving.bytes_per_second());
                self.pending.push_back(WatchEvent::Progress {
                    progress: Progress {
                        job: job.name.clone(),
                        epoch: attempt.epoch.0,
                        parent: progress.parent.clone(),
                        from: progress.from.clone(),
                        route: progress.route.into(),
                        bytes: progress.bytes,
                        done_bytes: progress.done_bytes,
                        moved_bytes: progress.moved_bytes,
                        milliseconds: progress.milliseconds,
                        bytes_per_second,
                        milliseconds_left: milliseconds_left(progress, bytes_per_second),
                    },
                });
            }
        }
    }

    async fn refresh_reasons(&mut self) {
        let reasons = match waiting_reasons(&self.state, self.jobs.values()).await {
            Ok(reasons) => reasons,
            Err(error) => {
                tracing::debug!(problem = %error.problem(), "it is not known at the moment why jobs wait");
                return;
            }
        };
        for (id, reason) in reasons {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            if job.waiting != reason {
                job.waiting = reason;
                self.pending.push_back(WatchEvent::Job {
                    job: Box::new(job.clone()),
                });
            }
        }
    }
}

/// Whether the event is from before what is known: events that were on their way when the snapshot was read.
fn is_older(status: &JobStatus, job: &Job) -> bool {
    let ended = job.state.is_terminal() && status.ended().is_none();
    ended || status.epoch.0 < job.epoch
}

/// Why a stream could not be opened.
pub(super) fn too_many_streams() -> Error {
    Error::new(
        Code::Overloaded,
        "as many streams are open as this master serves at once",
    )
}
