//! Jobs as rows, and the indexes of arrays.

use clap::Args;
use tombolo_api::{Array, IndexList, Job, JobState, limit, path};
use tombolo_core::name::JobName;

use super::builds::{job_state, why};
use crate::Session;
use crate::failure::Failure;
use crate::render::{self, Rows, Wide};

/// Which indexes are listed.
#[derive(Debug, Args)]
pub(crate) struct Page {
    /// The index to begin with, of an array.
    #[arg(long, value_name = "INDEX", requires = "array")]
    first: Option<u32>,
    /// How many indexes of an array to list at the most.
    #[arg(long, short = 'n', value_name = "COUNT", requires = "array", value_parser = clap::value_parser!(u32).range(1..=i64::from(limit::INDEXES_PAGE)))]
    limit: Option<u32>,
    /// Lists only the indexes of an array that are in this state.
    #[arg(long, requires = "array", value_parser = state)]
    state: Option<JobState>,
    /// Lists all indexes of an array, page by page.
    #[arg(long, requires = "array", conflicts_with_all = ["first", "limit"])]
    all: bool,
}

fn state(text: &str) -> Result<JobState, String> {
    let known = JobState::ALL.into_iter().find(|state| state.as_str() == text);
    let names = || JobState::ALL.map(JobState::as_str).join(", ");
    known.ok_or_else(|| format!("no state of a job; there are {}", names()))
}

impl Rows for IndexList {
    fn header(&self, wide: Wide) -> Vec<&'static str> {
        job_header(wide)
    }

    fn rows(&self, wide: Wide) -> Vec<Vec<String>> {
        let row = |job: &Job| job_row(job, wide, why(job));
        self.jobs.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.jobs.iter().map(|job| job.name.to_string()).collect()
    }

    fn empty(&self) -> &'static str {
        "No index of the array is like that."
    }
}

/// Whether the counts of an array are older than its end: those that its end has come with are told right after it.
pub(crate) fn are_behind(job: &Job) -> bool {
    let goes_on = |array: &Array| array.counts.iter().any(|of| !of.state.is_terminal());
    job.state.is_terminal() && job.array.as_ref().is_some_and(goes_on)
}

/// How many indexes of an array are in which state; nothing for other jobs.
pub(crate) fn of_array(job: &Job) -> String {
    let Some(array) = &job.array else { return String::new() };
    let counts: Vec<String> = array
        .counts
        .iter()
        .map(|of| format!("{} {}", of.count, of.state))
        .collect();
    format!("{} of {}", counts.join(", "), array.count)
}

/// The columns of jobs.
pub(super) fn job_header(wide: Wide) -> Vec<&'static str> {
    let mut header = vec!["job", "state", "cluster", "duration", "output"];
    if wide == Wide::Yes {
        header.extend(["attempt", "exit", "digest", "id"]);
    }
    header.push("why");
    header
}

/// A job as a row.
pub(super) fn job_row(job: &Job, wide: Wide, why: String) -> Vec<String> {
    let mut row = vec![
        job.name.to_string(),
        job_state(job),
        job.cluster.as_ref().map(ToString::to_string).unwrap_or_default(),
        render::between(job.started_at, job.ended_at),
        output(job),
    ];
    if wide == Wide::Yes {
        row.push(job.epoch.to_string());
        row.push(job.exit_code.map(|code| code.to_string()).unwrap_or_default());
        row.push(job.output.map(|output| output.digest.short()).unwrap_or_default());
        row.push(job.id.to_string());
    }
    row.push(why);
    row
}

/// The size of what it left behind, or that it cannot be had any more.
fn output(job: &Job) -> String {
    match job.output {
        None => String::new(),
        Some(_) if job.output_removed_at.is_some() => "removed".to_owned(),
        Some(_) if job.output_lost.is_some() => "lost".to_owned(),
        Some(output) => render::bytes(output.bytes),
    }
}

/// Lists indexes of an array.
pub(super) async fn list(build: u64, array: &JobName, page: &Page, session: &Session) -> Result<(), Failure> {
    let path = path::job_indexes(&session.project, build, array);
    let state = page.state.map(|state| format!("&state={state}")).unwrap_or_default();
    let limit = match page.all {
        true => limit::INDEXES_PAGE,
        false => page.limit.unwrap_or(limit::INDEXES_PAGE_DEFAULT),
    };
    let read = async |first: u32| -> Result<IndexList, Failure> {
        session
            .client
            .get(&format!("{path}?first={first}&limit={limit}{state}"))
            .await
    };
    let mut list = read(page.first.unwrap_or(0)).await?;
    while let Some(next) = list.next_first.filter(|_| page.all) {
        let more = read(next).await?;
        list.jobs.extend(more.jobs);
        list.next_first = more.next_first;
    }
    render::print(session.format, &list)?;
    match list.next_first {
        Some(next) if session.format.is_for_people() => {
            let more = format!("There are more: `tombolo jobs {build} {array} --first {next}`, or `--all`.");
            render::line(&more)
        }
        _ => Ok(()),
    }
}
