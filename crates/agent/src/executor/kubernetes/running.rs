//! The pod of an attempt as its life sees it: what the courier says counts, and where it cannot speak, what Kubernetes says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tombolo_core::attempt::Assignment;
use tombolo_core::build::TerminalState;
use tombolo_core::time::Timestamp;
use tombolo_runtime::clock;

use super::cluster::{self, Created};
use super::entrypoint::Image;
use super::execute::{Parts, job_settings, system};
use super::names;
use super::pod::{Facts, render, token_secret};
use super::silence::{Silence, Silences};
use super::verdict::{self, Ended, Verdict};
use super::view::PodView;
use super::watch::{Health, Seen};
use crate::couriers::{Losses, Visit};
use crate::executor::{Collected, Error, Running, Urgency};
use crate::link::Lease;
use crate::supervisor::Exit;
use crate::xunit;

/// How long the last words of a courier may take to arrive after Kubernetes has told of its pod's end.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Between two tries to create a pod where a quota leaves no room now.
const QUOTA_PAUSE: Duration = Duration::from_secs(5);
/// How long a right may be missing: an API server that has just started refuses everything until it has read the Roles.
const RIGHTS_PATIENCE: Duration = Duration::from_secs(30);
/// How long a command that was stopped may take to be reported, beside its grace.
const STOP_SLACK: Duration = Duration::from_secs(30);
/// How long an output may take to be shipped.
const COLLECT_DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// A command in a pod.
pub struct KubernetesRunning {
    parts: Arc<Parts>,
    assignment: Assignment,
    image: Option<Image>,
    visit: Visit,
    lease: Option<Lease>,
    seen: watch::Receiver<Seen>,
    /// The pod is known to be there, or to have been.
    is_made: bool,
    /// Why it does not go on.
    reason: watch::Sender<String>,
    /// By when a command that is to stop must have ended.
    stop_until: Option<Instant>,
    /// What the job's log was told last of why the pod does not run.
    told: Mutex<String>,
}

impl KubernetesRunning {
    pub(super) fn new(
        parts: Arc<Parts>,
        assignment: Assignment,
        image: Option<Image>,
        (visit, lease): (Visit, Option<Lease>),
    ) -> Self {
        let seen = parts.pods.follow(assignment.attempt);
        let is_made = visit.is_over();
        Self {
            parts,
            assignment,
            image,
            visit,
            lease,
            seen,
            is_made,
            reason: watch::Sender::default(),
            stop_until: None,
            told: Mutex::default(),
        }
    }

    /// Has the job's log say why the pod does not run yet, once.
    fn tell(&self, words: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == words {
            return;
        }
        words.clone_into(&mut told);
        if let Err(error) = self.visit.note(words) {
            tracing::warn!(attempt = %self.assignment.attempt, %error, "cannot write to a log why its pod waits");
        }
    }

    /// Sees to it that there is a pod, and that it has its token. A pod that has begun is not made again.
    async fn make(&mut self) -> Result<(), Error> {
        if self.is_made {
            return Ok(());
        }
        if self.visit.has_begun() {
            self.find().await?;
        } else {
            self.create().await?;
        }
        self.is_made = true;
        Ok(())
    }

    /// Looks for a pod that an earlier agent has made and whose command has begun.
    async fn find(&self) -> Result<(), Error> {
        let mut health = self.parts.pods.health();
        // What was not listed yet is not missing.
        let _ = health.wait_for(|health| *health == Health::Current).await;
        if !matches!(*self.seen.borrow(), Seen::Nothing) {
            return Ok(());
        }
        Err(Error::Failed(
            "the pod is gone: somebody has removed it while the agent was away, or its node was lost".to_owned(),
        ))
    }

    async fn create(&self) -> Result<(), Error> {
        let parts = &self.parts;
        let job = job_settings(&self.assignment);
        let facts = Facts {
            cluster: &parts.name,
            assignment: &self.assignment,
            job: &job,
            image: self.image.as_ref(),
            trust: &parts.trust,
        };
        let pod = render(&parts.settings, &facts).map_err(|error| Error::Refused(error.to_string()))?;
        let deadline = Instant::now() + parts.settings.deadlines.schedule;
        let mut denied_since = None;
        let created = loop {
            match parts.cluster.create_pod(&pod).await {
                Ok(created) => break created,
                // Room may come, an API server may come back, and a pod that is on its way out makes room for the next of its name.
                Err(
                    error @ (cluster::Error::Quota { .. }
                    | cluster::Error::Taken { .. }
                    | cluster::Error::Unavailable { .. }),
                ) => {
                    if Instant::now() >= deadline {
                        return Err(Error::Failed(error.to_string()));
                    }
                    denied_since = None;
                    self.tell(&format!("the pod waits: {error}"));
                    let patience = verdict::patience(parts.settings.deadlines.schedule);
                    self.waits(&format!("{error}; {patience}"));
                    sleep(QUOTA_PAUSE).await;
                }
                // It may have been away for longer than that before it began to answer so.
                Err(error @ cluster::Error::Denied(_))
                    if denied_since.get_or_insert_with(Instant::now).elapsed() < RIGHTS_PATIENCE =>
                {
                    self.waits(&format!("{error}; {}", verdict::patience(RIGHTS_PATIENCE)));
                    sleep(QUOTA_PAUSE).await;
                }
                Err(error) => return Err(Error::Failed(error.to_string())),
            }
        };
        self.waits("");
        parts.pods.note(created.pod(), now());
        self.give_token(&created).await
    }

    fn waits(&self, words: &str) {
        self.reason.send_if_modified(|reason| {
            let is_news = reason != words;
            if is_news {
                words.clone_into(reason);
            }
            is_news
        });
    }

    async fn give_token(&self, created: &Created) -> Result<(), Error> {
        let token = self.parts.couriers.token(self.assignment.attempt);
        let secret = token_secret(created.pod(), &token).map_err(|error| Error::Failed(error.to_string()))?;
        let given = self.parts.cluster.create_secret(&secret, created).await;
        given.map_err(|error| system("give the pod its token", &error))
    }

    /// Waits until Kubernetes tells that the pod will do nothing any more, and the courier had time for its last words.
    async fn pod_ends(&self) -> Ended {
        let mut seen = self.seen.clone();
        let mut silences = Silences::new(self.visit.listen(), self.parts.settings.deadlines.node_lost);
        loop {
            let known = seen.borrow_and_update().clone();
            let (view, verdict) = match known {
                Seen::Nothing => (None, None),
                Seen::Here(view) => {
                    if let Some(words) = verdict::trouble(&view) {
                        self.tell(&words);
                    }
                    let verdict = verdict::judge(&view, now(), &self.parts.settings.deadlines);
                    (Some(view), Some(verdict))
                }
                Seen::Gone(view) => {
                    let ended = verdict::judge_deleted(&view);
                    (Some(view), Some(Verdict::Ended(ended)))
                }
            };
            let mut words = verdict.as_ref().map(Verdict::words);
            // A command that has begun runs, also where its node was lost before it told Kubernetes so.
            let is_untold = matches!(verdict, Some(Verdict::Waiting { .. })) && self.visit.has_begun();
            let is_silent = is_untold || matches!(verdict, Some(Verdict::Unreachable { .. }));
            if !is_silent {
                silences.node_answers();
            }
            let again = match (view, verdict) {
                (Some(view), Some(Verdict::Ended(ended))) => {
                    sleep(LAST_WORDS).await;
                    return self.in_full(ended, &view).await;
                }
                (Some(view), Some(_)) if is_silent => match silences.node_is_silent() {
                    Silence::TooLong => return verdict::node_lost(&view),
                    Silence::Until(until) => Some(until),
                    Silence::NodeOnly => {
                        words = Some(String::new());
                        None
                    }
                },
                (_, Some(Verdict::Waiting { until, .. })) => {
                    Some(Instant::now() + Duration::from_millis(until.0.saturating_sub(now().0)))
                }
                _ => None,
            };
            if let Some(words) = words {
                self.waits(&words);
            }
            tokio::select! {
                changed = seen.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
                () = silences.courier_comes_or_goes() => {}
                () = at(again) => {}
            }
        }
    }

    async fn begin(&mut self, lease: &mut Lease) -> Result<Option<Timestamp>, Error> {
        if self.stop_until.is_some() && !self.visit.has_begun() {
            return Err(Error::Stopped);
        }
        self.make().await?;
        let begin = async {
            self.visit.staged().await;
            lease.valid().await;
            self.visit.begin();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            started_at = self.visit.begun() => Ok(started_at),
            () = begin => Err(Error::Stopped),
            () = self.hold() => Err(Error::Stopped),
            ended = self.pod_ends() => Err(error(ended)),
        }
    }

    /// Has the courier told of the lease that the command ends with, if it does, and of each later one. Does not end.
    async fn hold(&self) {
        let mut lease = self.lease.clone();
        while let Some(lease) = &mut lease {
            if let Some(granted) = lease.granted() {
                self.visit.hold(granted);
            }
            lease.changed().await;
        }
        std::future::pending::<()>().await;
    }

    async fn in_full(&self, ended: Ended, view: &PodView) -> Ended {
        if !ended.wants_events() {
            return ended;
        }
        match self.parts.cluster.events_of(view).await {
            Ok(events) => ended.with_events(view, &events),
            Err(error) => {
                tracing::info!(pod = names::pod_name(view.attempt), %error, "the events of a pod cannot be read");
                ended
            }
        }
    }
}

impl Running for KubernetesRunning {
    fn reason(&self) -> Option<watch::Receiver<String>> {
        Some(self.reason.subscribe())
    }

    fn losses(&self) -> Option<Losses> {
        Some(self.visit.losses())
    }

    async fn begun(
        &mut self,
        lease: &mut Lease,
        on_output: impl Fn() + Send + Sync,
    ) -> Result<Option<Timestamp>, Error> {
        let told = self.visit.log_grows(on_output);
        tokio::select! {
            biased;
            begun = self.begin(lease) => begun,
            () = told => Err(Error::Stopped),
        }
    }

    async fn ended(&mut self, on_output: impl Fn() + Send + Sync) -> Result<Exit, Error> {
        self.make().await?;
        tokio::select! {
            biased;
            exit = self.visit.exit(on_output) => Ok(exit),
            ended = self.pod_ends() => Err(error(ended)),
            () = at(self.stop_until) => Err(Error::Stopped),
            () = self.hold() => Err(Error::Stopped),
        }
    }

    async fn stop(&mut self, urgency: Urgency) -> Result<(), Error> {
        self.visit.stop(urgency);
        let grace = self.parts.limits.stop_grace + STOP_SLACK;
        self.stop_until.get_or_insert_with(|| Instant::now() + grace);
        Ok(())
    }

    async fn collect(&mut self) -> Result<Collected, Error> {
        let lost = |reason: String| Collected {
            output: Err(reason),
            cache: Ok(None),
            tests: xunit::Results::default(),
            generated: None,
        };
        self.make().await?;
        tokio::select! {
            biased;
            collected = self.visit.collected() => Ok(collected),
            ended = self.pod_ends() => Ok(lost(format!("the pod ended before all of it was shipped: {}", ended.message))),
            () = sleep(COLLECT_DEADLINE) => Ok(lost(format!("it was not shipped within {COLLECT_DEADLINE:?}"))),
        }
    }
}

fn error(ended: Ended) -> Error {
    match ended.state {
        TerminalState::Failure => Error::Job(ended.message),
        _ => Error::Failed(ended.message),
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp(clock::now().wall_milliseconds)
}
