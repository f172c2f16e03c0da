//! Plain lines, for pipes and logs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tombolo_api::{Job, JobState, Progress};
use tombolo_core::name::JobName;

use super::{View, summary};
use crate::command::builds::{job_state, why};
use crate::command::indexes;
use crate::failure::Failure;
use crate::render;

/// How often a pipe is told how far an input is: what comes faster needs no word.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// One line for each change, and now and then one for each input on its way.
#[derive(Default)]
pub(super) struct Plain {
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
pub(super) fn amount(progress: &Progress) -> String {
    format!(
        "{} of {}",
        render::bytes(progress.done_bytes),
        render::bytes(progress.bytes)
    )
}

/// What comes, and how.
pub(super) fn way(progress: &Progress) -> String {
    let parent = progress.parent.as_ref().map_or("source", |name| name.as_str());
    let from = progress.from.as_ref().map_or("master", |name| name.as_str());
    format!("{parent} from {from} by {}", progress.route.as_str())
}

/// The rate, and how long it will still take.
pub(super) fn pace(progress: &Progress) -> String {
    let Some(rate) = progress.bytes_per_second else {
        return "rate not known yet".to_owned();
    };
    let left = progress.milliseconds_left.map(Duration::from_millis);
    let left = left.map_or_else(String::new, |left| format!(", {} left", render::duration(left)));
    format!("{}/s{left}", render::bytes(rate))
}

/// A job's state in one line.
pub(super) fn state_line(job: &Job) -> String {
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

    use super::super::tests::job;
    use super::*;

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
