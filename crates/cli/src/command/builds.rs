//! Builds and their jobs.

mod reason;

use clap::Args;
use reqwest::Method;
use tombolo_api::{Build, BuildList, BuildSummary, CancelledQueue, ClusterVerdict, Explanation, Job, path};
use tombolo_core::name::JobName;

use self::reason::{awaited, waits_for_parents};
use super::indexes::{job_header, job_row};
use crate::failure::Failure;
use crate::render::{self, Format, Rows, Wide};
use crate::{Session, number};

pub(crate) use self::reason::why;

/// What is said beside the state of what has been cancelled and is not over yet.
const CANCELLING: &str = "(cancelling)";

#[derive(Debug, Args)]
pub(crate) struct Builds {
    /// How many to list at the most, newest first.
    #[arg(long, short = 'n', default_value_t = 20, value_parser = number::page)]
    limit: u32,
    /// Lists builds before this number only.
    #[arg(long, value_name = "BUILD", value_parser = number::build)]
    before: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// The build's number.
    #[arg(value_parser = number::build)]
    build: u64,
    /// An array: lists its indexes instead.
    array: Option<JobName>,
    #[command(flatten)]
    page: super::indexes::Page,
}

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The build's number.
    #[arg(value_parser = number::build, required_unless_present = "queued")]
    build: Option<u64>,
    /// The job; the whole build if absent.
    job: Option<JobName>,
    /// The jobs of `after` do not run, either. So it is, too, if a build is cancelled once more.
    #[arg(long, conflicts_with = "job")]
    now: bool,
    /// Instead of a build: all jobs of the project that wait, for a cluster or for other jobs. What runs goes on.
    #[arg(long, conflicts_with_all = ["build", "job", "now"])]
    queued: bool,
    /// It is meant.
    #[arg(long, requires = "queued")]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The build's number.
    #[arg(value_parser = number::build)]
    build: u64,
    /// The job.
    job: JobName,
}

impl Rows for BuildList {
    fn header(&self, wide: Wide) -> Vec<&'static str> {
        let mut header = vec!["build", "state", "age", "duration", "by", "revision"];
        if wide == Wide::Yes {
            header.extend(["source", "id"]);
        }
        header
    }

    fn rows(&self, wide: Wide) -> Vec<Vec<String>> {
        let row = |build: &BuildSummary| {
            let mut row = vec![
                build.number.to_string(),
                build_state(build),
                render::age(build.created_at),
                render::between(Some(build.created_at), build.ended_at),
                build.submitted_by.clone(),
                revision(build),
            ];
            if wide == Wide::Yes {
                row.push(build.source.map(|source| source.short()).unwrap_or_default());
                row.push(build.id.to_string());
            }
            row
        };
        self.builds.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.builds.iter().map(|build| build.number.to_string()).collect()
    }

    fn empty(&self) -> &'static str {
        "There are no builds yet: `tombolo run FILE` submits one."
    }
}

fn revision(build: &BuildSummary) -> String {
    let revision = &build.revision;
    let commit = revision
        .commit
        .as_ref()
        .map(|commit| commit.chars().take(12).collect::<String>());
    let name = revision.tag.clone().or_else(|| revision.branch.clone());
    [name, commit].into_iter().flatten().collect::<Vec<_>>().join("@")
}

fn build_state(build: &BuildSummary) -> String {
    if build.cancelling && !build.state.is_terminal() {
        format!("{} {CANCELLING}", build.state)
    } else {
        build.state.to_string()
    }
}

/// A job's state; says so if its end was asked for and has not come yet.
pub(crate) fn job_state(job: &Job) -> String {
    if job.cancel_requested && !job.state.is_terminal() {
        format!("{} {CANCELLING}", job.state)
    } else if job.flaky {
        format!("{} (flaky)", job.state)
    } else {
        job.state.to_string()
    }
}

impl Rows for Build {
    fn header(&self, wide: Wide) -> Vec<&'static str> {
        job_header(wide)
    }

    fn rows(&self, wide: Wide) -> Vec<Vec<String>> {
        let row = |job: &Job| {
            let why = match waits_for_parents(job) {
                true => awaited(job, &self.jobs),
                false => why(job),
            };
            job_row(job, wide, why)
        };
        self.jobs.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.jobs.iter().map(|job| job.name.to_string()).collect()
    }

    fn empty(&self) -> &'static str {
        "The build has no jobs."
    }
}

/// Lists builds.
pub(crate) async fn builds(command: &Builds, session: &Session) -> Result<(), Failure> {
    let before = command
        .before
        .map(|before| format!("&before={before}"))
        .unwrap_or_default();
    let path = format!("{}?limit={}{before}", path::builds(&session.project), command.limit);
    let list: BuildList = session.client.get(&path).await?;
    render::print(session.format, &list)
}

/// Lists the jobs of a build, or the indexes of one that is an array.
pub(crate) async fn jobs(command: &Jobs, session: &Session) -> Result<(), Failure> {
    if let Some(array) = &command.array {
        return super::indexes::list(command.build, array, &command.page, session).await;
    }
    let build: Build = session
        .client
        .get(&path::build(&session.project, command.build))
        .await?;
    render::print(session.format, &build)
}

/// Cancels a build, a job, or what waits. Programs get the build or job as it is then.
pub(crate) async fn cancel(command: &Cancel, session: &Session) -> Result<(), Failure> {
    let project = &session.project;
    let number = match command.build {
        Some(number) => number,
        None if command.yes => return cancel_queue(session).await,
        None => {
            let words = format!("this would cancel all jobs of project `{project}` that wait, whoever submitted them");
            return Err(Failure::usage(words).hint("if that is meant, say `--yes`"));
        }
    };
    let (cancel, shown, name, sentence) = match &command.job {
        None => (
            match command.now {
                true => format!("{}?now=true", path::build_cancel(project, number)),
                false => path::build_cancel(project, number),
            },
            path::build(project, number),
            number.to_string(),
            format!("Build {number} is being cancelled."),
        ),
        Some(job) => (
            path::job_cancel(project, number, job),
            path::job(project, number, job),
            job.to_string(),
            format!("Job `{job}` of build {number} is being cancelled."),
        ),
    };
    session.client.act(Method::POST, &cancel).await?;
    match session.format {
        Format::Table | Format::Wide => render::line(&sentence),
        Format::Name => render::line(&name),
        Format::Json | Format::Yaml => {
            let now: serde_json::Value = session.client.get(&shown).await?;
            render::print_value(session.format, &now)
        }
    }
}

/// Cancels all jobs of the project that wait.
async fn cancel_queue(session: &Session) -> Result<(), Failure> {
    let project = &session.project;
    let nothing = serde_json::json!({});
    let cancelled: CancelledQueue = session.client.post(&path::queue_cancel(project), &nothing).await?;
    match session.format {
        Format::Table | Format::Wide => {
            let (jobs, builds) = (
                render::count(cancelled.jobs, "job"),
                render::count(cancelled.builds, "build"),
            );
            render::line(&match cancelled.jobs {
                0 => format!("No job of project `{project}` waited."),
                _ => format!("{jobs} of {builds} in project `{project}` cancelled; what runs goes on."),
            })
        }
        Format::Name => render::line(&cancelled.jobs.to_string()),
        format @ (Format::Json | Format::Yaml) => render::print_value(format, &cancelled),
    }
}

impl Rows for Explanation {
    fn header(&self, _: Wide) -> Vec<&'static str> {
        vec!["cluster", "fits", "what is missing", "to make it fit"]
    }

    fn rows(&self, _: Wide) -> Vec<Vec<String>> {
        let row = |verdict: &ClusterVerdict| {
            let misses = verdict.misses.iter().map(|miss| miss.message.as_str());
            let misses: Vec<_> = misses.chain(verdict.drawback.as_deref()).collect();
            let fits = if verdict.fits { "yes" } else { "no" };
            let remedy = verdict.remedy.clone().unwrap_or_default();
            vec![verdict.cluster.to_string(), fits.to_owned(), misses.join("; "), remedy]
        };
        self.clusters.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.clusters
            .iter()
            .map(|verdict| verdict.cluster.to_string())
            .collect()
    }

    fn empty(&self) -> &'static str {
        "No cluster has joined yet."
    }
}

/// Says why a job is where it is.
pub(crate) async fn explain(command: &Explain, session: &Session) -> Result<(), Failure> {
    session.format.refuse(&[Format::Name], "explain")?;
    let path = path::job_explain(&session.project, command.build, &command.job);
    let explanation: Explanation = session.client.get(&path).await?;
    if session.format.is_for_people() {
        let due = explanation.retry_at.map(|at| format!(" (due {})", render::until(at)));
        render::line(&format!("{}{}", explanation.summary, due.unwrap_or_default()))?;
        if let Some(advice) = &explanation.advice {
            render::line(advice)?;
        }
        if explanation.clusters.is_empty() {
            return Ok(());
        }
        render::line("")?;
    }
    render::print(session.format, &explanation)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(name: &str, state: &str, parents: &[&str]) -> Value {
        let parents: Vec<Value> = parents
            .iter()
            .map(|name| json!({"name": name, "on": ["finished"]}))
            .collect();
        json!({
            "id": "018f3c8e-0000-7000-8000-000000000001", "name": name, "state": state, "epoch": 1, "message": "",
            "cancel_requested": false, "inputs": [], "parents": parents, "selector": [], "replacements": 0,
            "resources": {"cpu_milli": 1, "memory_bytes": 1}, "timeout_seconds": 1,
        })
    }

    fn build(jobs: Vec<Value>) -> Build {
        let build = json!({
            "id": "018f3c8e-0000-7000-8000-000000000002", "project": "demo", "number": 1, "state": "running",
            "created_at": "2026-01-01T00:00:00Z", "submitted_by": "me", "revision": {}, "restarts": 0,
            "jobs": jobs,
        });
        serde_json::from_value(build).unwrap()
    }

    #[test]
    fn a_job_waits_for_those_alone_that_are_not_over() {
        let mut remade = job("remade", "finished", &[]);
        remade["recovery"] = json!({"state": "running", "cluster": "east", "epoch": 2});
        let jobs = vec![
            job("build", "finished", &[]),
            job("slow", "running", &[]),
            remade,
            job("test", "waiting", &["build", "slow", "remade"]),
            job("last", "waiting", &["build"]),
        ];
        let rows = build(jobs).rows(Wide::No);
        let why = |row: usize| rows[row].last().unwrap().as_str();
        assert_eq!(why(3), "waits for slow, remade");
        assert_eq!(why(4), "");
        let mut hook = job("clean", "waiting", &[]);
        hook["hook"] = json!("after");
        let mut last = hook.clone();
        last["parents"] = json!([{"name": "slow", "on": ["finished"]}]);
        let rows = build(vec![job("slow", "running", &[]), hook, last]).rows(Wide::No);
        let why = |row: usize| rows[row].last().unwrap().as_str();
        assert_eq!(why(1), "waits until the jobs that come before it in the build are over");
        assert_eq!(why(2), "waits for slow");
    }

    #[test]
    fn an_output_that_was_removed_has_no_size() {
        let mut with_output = job("build", "finished", &[]);
        with_output["output"] = json!({"digest": "0".repeat(64), "bytes": 2_200_000_000_u64, "files": 3});
        let mut removed = with_output.clone();
        removed["output_removed_at"] = json!("2026-01-02T00:00:00Z");
        let jobs = vec![with_output, removed, job("check", "finished", &[])];
        let rows = build(jobs).rows(Wide::No);
        let outputs: Vec<&str> = rows.iter().map(|row| row[4].as_str()).collect();
        assert_eq!(outputs, ["2.2 GB", "removed", ""]);
    }
}
