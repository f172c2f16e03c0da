//! Following a build: plain lines for pipes, live lines and bars for a terminal, and a summary at the end.

mod live;
mod plain;
mod summary;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::Duration;

use eventsource_stream::Eventsource;
use futures::StreamExt;
use reqwest::Method;
use tombolo_api::{Build, BuildState, BuildSummary, Job, JobState, Progress, WatchEvent, path};
use tombolo_core::name::JobName;

use crate::Session;
use crate::failure::{ExitCode, Failure};
use crate::render::{self, Format};

/// How often a broken stream is opened again before the watch gives up.
const RECONNECTS: u32 = 120;
/// How long to wait before that.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// Shows what happens to a build.
trait View {
    /// A job is new or has changed.
    fn job(&mut self, job: &Job, before: Option<&Job>) -> Result<(), Failure>;
    /// An input is on its way.
    fn progress(&mut self, progress: &Progress) -> Result<(), Failure>;
    /// Something to say besides.
    fn note(&mut self, text: &str) -> Result<(), Failure>;
    /// The build is over: nothing more is shown.
    fn finish(&mut self);
}

/// Follows the build until it is over, and returns it as it ended.
pub(crate) async fn follow(session: &Session, number: u64) -> Result<Build, Failure> {
    let mut watch = Watch {
        view: view(session.format),
        jobs: BTreeMap::new(),
        build: None,
    };
    let mut left = RECONNECTS;
    loop {
        match watch.read(session, number).await {
            Ok(()) => {}
            Err(failure) if failure.code != ExitCode::Unreachable || left == 0 => {
                watch.view.finish();
                return Err(failure);
            }
            Err(failure) => {
                if left == RECONNECTS {
                    watch.view.note(&format!("{}; trying again", failure.message))?;
                }
                left -= 1;
            }
        }
        if watch.build.as_ref().is_some_and(|build| build.state.is_terminal()) {
            watch.view.finish();
            // The stream carries changes; the record has everything.
            return session.client.get(&path::build(&session.project, number)).await;
        }
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

/// Prints how the build ended, and fails as the build did.
pub(crate) async fn conclude(session: &Session, build: &Build) -> Result<(), Failure> {
    summary::print(session, build).await?;
    match build.summary.state {
        BuildState::Finished | BuildState::Skipped => Ok(()),
        _ => Err(Failure::silent(ExitCode::Failed)),
    }
}

/// Prints how a build ended that runs another one again, all of it or this job, and fails if something did that ran in it: what was taken over is as it was.
pub(crate) async fn conclude_rerun(session: &Session, build: &Build, named: Option<&JobName>) -> Result<(), Failure> {
    summary::print(session, build).await?;
    let mut ran: Vec<JobState> = Vec::new();
    let array = named.and_then(|name| array_of(build, name));
    for job in build.jobs.iter().filter(|job| !job.taken_over) {
        let index = named.filter(|_| array == Some(&job.name));
        ran.push(match index {
            // The others were taken over.
            Some(index) => {
                let path = path::job(&session.project, build.summary.number, index);
                session.client.get::<Job>(&path).await?.state
            }
            None => job.state,
        });
    }
    let is_well = |state: BuildState| matches!(state, BuildState::Finished | BuildState::Skipped);
    if !ran
        .into_iter()
        .all(|state| matches!(state, JobState::Finished | JobState::Skipped))
    {
        return Err(Failure::silent(ExitCode::Failed));
    }
    if !is_well(build.summary.state) && session.format.is_for_people() {
        render::line("What ran again ended well; what was taken over had not.")?;
    }
    Ok(())
}

/// The array of which this is the name of an index.
fn array_of<'a>(build: &'a Build, name: &JobName) -> Option<&'a JobName> {
    let names = || build.jobs.iter().map(|job| &job.name);
    if names().any(|job| job == name) {
        return None;
    }
    let (array, _) = name.array_and_index()?;
    names().find(|job| job.as_str() == array)
}

fn view(format: Format) -> Box<dyn View + Send> {
    if !format.is_for_people() {
        // What a program reads is the result alone.
        Box::new(Quiet)
    } else if io::stdout().is_terminal() {
        Box::new(live::Live::default())
    } else {
        Box::new(plain::Plain::default())
    }
}

struct Watch {
    view: Box<dyn View + Send>,
    jobs: BTreeMap<JobName, Job>,
    build: Option<BuildSummary>,
}

impl Watch {
    /// Reads the stream of events to its end.
    async fn read(&mut self, session: &Session, number: u64) -> Result<(), Failure> {
        let request = session
            .client
            .request(Method::GET, &path::build_events(&session.project, number))?;
        let response = session.client.send(request).await?;
        let mut events = response.bytes_stream().eventsource();
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| {
                Failure::new(
                    ExitCode::Unreachable,
                    format!("the connection to the master broke: {error}"),
                )
            })?;
            let event = serde_json::from_str(&event.data).map_err(|error| {
                Failure::new(
                    ExitCode::Failed,
                    format!("the master's event is not understood: {error}"),
                )
            })?;
            self.take(event)?;
        }
        Ok(())
    }

    fn take(&mut self, event: WatchEvent) -> Result<(), Failure> {
        match event {
            WatchEvent::Snapshot { build } => {
                build.jobs.into_iter().try_for_each(|job| self.job(job))?;
                self.build = Some(build.summary);
            }
            WatchEvent::Build { build } => self.build = Some(build),
            WatchEvent::Job { job } => self.job(*job)?,
            WatchEvent::Progress { progress } => self.view.progress(&progress)?,
        }
        Ok(())
    }

    fn job(&mut self, job: Job) -> Result<(), Failure> {
        let before = self.jobs.get(&job.name);
        if before != Some(&job) {
            self.view.job(&job, before)?;
            self.jobs.insert(job.name.clone(), job);
        }
        Ok(())
    }
}

/// Nothing.
struct Quiet;

impl View for Quiet {
    fn job(&mut self, _: &Job, _: Option<&Job>) -> Result<(), Failure> {
        Ok(())
    }

    fn progress(&mut self, _: &Progress) -> Result<(), Failure> {
        Ok(())
    }

    fn note(&mut self, _: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(super) fn job(changes: serde_json::Value) -> Job {
        let mut job = serde_json::json!({
            "id": "018f3c8e-0000-7000-8000-000000000001", "name": "sim", "state": "finished", "epoch": 1, "message": "",
            "cancel_requested": false, "inputs": [], "parents": [], "selector": [], "replacements": 0,
            "resources": {"cpu_milli": 1, "memory_bytes": 1}, "timeout_seconds": 1,
        });
        let (job_fields, changes) = (job.as_object_mut().unwrap(), changes);
        job_fields.extend(changes.as_object().unwrap().clone());
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn an_index_belongs_to_its_array_unless_a_job_is_called_so() {
        let build = |names: &[&str]| -> Build {
            let jobs: Vec<Job> = names.iter().map(|name| job(json!({"name": name}))).collect();
            let build = json!({
                "id": "018f3c8e-0000-7000-8000-000000000002", "project": "demo", "number": 1, "state": "running",
                "created_at": "2026-01-01T00:00:00Z", "submitted_by": "me", "revision": {}, "restarts": 0, "jobs": jobs,
            });
            serde_json::from_value(build).unwrap()
        };
        for (names, name, array) in [
            (vec!["sim", "a"], "sim/3", Some("sim")),
            (vec!["sim", "a"], "sim", None),
            (vec!["sim", "sim/3"], "sim/3", None),
            (vec!["a"], "sim/3", None),
        ] {
            let (build, name) = (build(&names), JobName::new(name).unwrap());
            assert_eq!(array_of(&build, &name).map(JobName::as_str), array, "{names:?} {name}");
        }
    }
}
