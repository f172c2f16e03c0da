//! Following a build: plain lines for pipes, live lines and bars for a terminal, and a summary at the end.

mod live;
mod summary;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use eventsource_stream::Eventsource;
use futures::StreamExt;
use reqwest::Method;
use tombolo_api::{Build, BuildState, BuildSummary, Job, JobState, Progress, WatchEvent, path};
use tombolo_core::name::JobName;

use crate::Session;
use crate::command::builds::{job_state, why};
use crate::command::indexes;
use crate::failure::{ExitCode, Failure};
use crate::render::{self, Format};

/// How often a broken stream is opened again before the watch gives up.
const RECONNECTS: u32 = 120;
/// How long to wait before that.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// How often a pipe is told how far an input is: what comes faster needs no word.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

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
        Box::new(Plain::default())
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

/// One line for each change, and now and then one for each input on its way.
#[derive(Default)]
struct Plain {
    /// When something was said of an input, or it was first heard of.
    told: BTreeMap<(JobName, Option<JobName>), Instant>,
    /// When it was last said how many indexes of an array are in which state, and in which state the array was.
    arrays: BTreeMap<JobName, (Instant, String)>,
}

impl View for Plain {
    fn job(&mut self, job: &Job, before: Option<&Job>) -> Result<(), Failure> {
        let known = before.map_or(0, |before| before.inputs.len());
        if job.inputs.len() > known || before.is_some_and(|before| before.epoch != job.epoch) {
            job.inputs
                .iter()
                .try_for_each(|input| render::line(&format!("{:<12}   {}", job.name, summary::edge(input))))?;
        }
        let same = before.is_some_and(|before| job_state(before) == job_state(job) && why(before) == why(job));
        if same || indexes::are_behind(job) || !self.is_worth_a_line(job) {
            return Ok(());
        }
        render::line(&state_line(job))
    }

    fn progress(&mut self, progress: &Progress) -> Result<(), Failure> {
        let key = (progress.job.clone(), progress.parent.clone());
        if progress.done_bytes >= progress.bytes {
            self.told.remove(&key);
            return Ok(());
        }
        let told = self.told.entry(key).or_insert_with(Instant::now);
        if told.elapsed() < PROGRESS_EVERY {
            return Ok(());
        }
        *told = Instant::now();
        render::line(&progress_line(progress))
    }

    fn note(&mut self, text: &str) -> Result<(), Failure> {
        render::line(text)
    }

    fn finish(&mut self) {}
}

impl Plain {
    /// Of an array, how many of its indexes are in which state is said now and then only.
    fn is_worth_a_line(&mut self, job: &Job) -> bool {
        if job.array.is_none() {
            return true;
        }
        let state = job_state(job);
        let told = self.arrays.get(&job.name);
        let soon = told.is_some_and(|(at, before)| *before == state && at.elapsed() < PROGRESS_EVERY);
        if !soon {
            self.arrays.insert(job.name.clone(), (Instant::now(), state));
        }
        !soon
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

/// How far an input is, in one line.
fn progress_line(progress: &Progress) -> String {
    format!(
        "{:<12}   {}: {}, {}",
        progress.job,
        way(progress),
        amount(progress),
        pace(progress)
    )
}

/// How much of it is there.
fn amount(progress: &Progress) -> String {
    format!(
        "{} of {}",
        render::bytes(progress.done_bytes),
        render::bytes(progress.bytes)
    )
}

/// What comes, and how.
fn way(progress: &Progress) -> String {
    let parent = progress.parent.as_ref().map_or("source", |name| name.as_str());
    let from = progress.from.as_ref().map_or("master", |name| name.as_str());
    format!("{parent} from {from} by {}", progress.route.as_str())
}

/// The rate, and how long it will still take.
fn pace(progress: &Progress) -> String {
    let Some(rate) = progress.bytes_per_second else {
        return "rate not known yet".to_owned();
    };
    let left = progress.milliseconds_left.map(Duration::from_millis);
    let left = left.map_or_else(String::new, |left| format!(", {} left", render::duration(left)));
    format!("{}/s{left}", render::bytes(rate))
}

/// A job's state in one line.
fn state_line(job: &Job) -> String {
    let mut facts = Vec::new();
    if let Some(cluster) = &job.cluster {
        facts.push(format!("on {cluster}"));
    }
    if job.epoch > 1 {
        facts.push(format!("attempt {}", job.epoch));
    }
    let took = render::between(job.started_at, job.ended_at);
    if job.state.is_terminal() && !took.is_empty() {
        facts.push(took);
    }
    if let Some(output) = job.output {
        let (size, files) = (render::bytes(output.bytes), render::count(output.files, "file"));
        facts.push(format!("output {size} in {files}"));
    }
    let mut line = format!("{:<12} {:<11} {}", job.name, job_state(job), facts.join(", "));
    let why = why(job);
    let worth_saying = job.state != JobState::Waiting || job.retry_at.is_some();
    if !why.is_empty() && worth_saying {
        line.truncate(line.trim_end().len());
        line.push_str(&format!(": {}", render::printable(&why)));
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tombolo_api::RouteKind;

    use super::*;

    fn job(changes: serde_json::Value) -> Job {
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
    fn a_line_has_no_comma_before_its_first_fact() {
        let took = json!({"started_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:00:02Z"});
        let mut on_east = took.clone();
        on_east["cluster"] = json!("east");
        let mut array = took.clone();
        array["array"] = json!({"count": 3, "counts": [{"state": "finished", "count": 3}]});
        for (changes, expected) in [
            (json!({}), "sim          finished"),
            (took, "sim          finished    2.0s"),
            (on_east, "sim          finished    on east, 2.0s"),
            (array, "sim          finished    2.0s: 3 finished of 3"),
        ] {
            assert_eq!(state_line(&job(changes)), expected);
        }
    }

    /// The end of an array is told before what its last index did.
    #[test]
    fn an_array_that_is_over_has_a_line_when_its_counts_are_those_of_its_end() {
        let array = |state: &str, counts: serde_json::Value| {
            job(json!({"state": state, "array": {"count": 2, "counts": counts}}))
        };
        let between = json!([{"state": "publishing", "count": 1}, {"state": "finished", "count": 1}]);
        let all = json!([{"state": "finished", "count": 2}]);
        for (job, expected) in [
            (array("running", between.clone()), false),
            (array("finished", between), true),
            (array("finished", all), false),
            (job(json!({})), false),
        ] {
            assert_eq!(indexes::are_behind(&job), expected, "{job:?}");
        }
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

    #[test]
    fn an_input_on_its_way_has_bytes_rate_route_and_time_left() {
        let progress = Progress {
            job: JobName::new("test").unwrap(),
            epoch: 1,
            parent: Some(JobName::new("build").unwrap()),
            from: None,
            route: RouteKind::Relay,
            bytes: 50_000_000,
            done_bytes: 20_000_000,
            moved_bytes: 9_000_000,
            milliseconds: 2_000,
            bytes_per_second: Some(10_000_000),
            milliseconds_left: Some(3_000),
        };
        assert_eq!(
            progress_line(&progress),
            "test           build from master by relay: 20.0 MB of 50.0 MB, 10.0 MB/s, 3.0s left"
        );
        let early = Progress {
            bytes_per_second: None,
            ..progress
        };
        assert!(progress_line(&early).ends_with("rate not known yet"));
    }
}
