//! How a build ended.

use std::time::Duration;

use tombolo_api::{Build, BuildState, IndexList, Input, Job, JobState, RouteKind, path};
use tombolo_core::name::JobName;

use crate::Session;
use crate::command::logs;
use crate::failure::Failure;
use crate::render::{self, Rows, Wide};

/// How many lines of a failed job's log are shown.
const TAIL_LINES: u64 = 20;

/// Of how many indexes of an array.
const TAILED_INDEXES: u32 = 3;

/// Prints the jobs, the way of each input, and the end of the log of each job that failed.
pub(crate) async fn print(session: &Session, build: &Build) -> Result<(), Failure> {
    if !session.format.is_for_people() {
        return render::print(session.format, build);
    }
    for job in &build.jobs {
        if !matches!(job.state, JobState::Failure | JobState::Error | JobState::Unstable) {
            continue;
        }
        for name in with_logs(session, build.summary.number, job).await? {
            let lines = logs::tail(session, build.summary.number, &name, TAIL_LINES).await?;
            if !lines.is_empty() {
                render::line(&format!("\nThe last lines of `{name}`:"))?;
                lines.iter().try_for_each(|line| render::line(&format!("  {line}")))?;
            }
        }
    }
    render::line("")?;
    render::line(&render::table(&build.header(Wide::No), &build.rows(Wide::No)))?;
    let inputs: Vec<Vec<String>> = build
        .jobs
        .iter()
        .flat_map(|job| job.inputs.iter().map(move |input| (job, input)))
        .map(|(job, input)| {
            let to = job.cluster.as_ref().map(ToString::to_string).unwrap_or_default();
            let mut row = vec![format!("{} -> {}", parent(input), job.name)];
            row.push(if input.route == RouteKind::Local {
                to
            } else {
                format!("{} -> {to}", from(input))
            });
            row.push(input.route.as_str().to_owned());
            row.push(render::bytes(input.bytes));
            row.push(render::bytes(input.moved_bytes));
            row.push(rate(input));
            row.push(input.digest.short());
            row
        })
        .collect();
    if !inputs.is_empty() {
        let header = ["input", "way", "route", "content", "moved", "rate", "digest"];
        render::line(&format!("\n{}", render::table(&header, &inputs)))?;
    }
    let took = render::between(Some(build.summary.created_at), build.summary.ended_at);
    let end = ended(build.summary.state);
    render::line(&format!("\nBuild {} {end} in {took}.", build.summary.number))
}

/// The jobs whose logs say why a job ended as it did: itself, and of an array the first of its indexes that ended so.
async fn with_logs(session: &Session, build: u64, job: &Job) -> Result<Vec<JobName>, Failure> {
    if job.array.is_none() {
        return Ok(vec![job.name.clone()]);
    }
    let indexes = path::job_indexes(&session.project, build, &job.name);
    let indexes = format!("{indexes}?state={}&limit={TAILED_INDEXES}", job.state);
    let listed: IndexList = session.client.get(&indexes).await?;
    Ok(listed.jobs.into_iter().map(|index| index.name).collect())
}

/// How a build ended, as what it did.
const fn ended(state: BuildState) -> &'static str {
    match state {
        BuildState::Running => "is running",
        BuildState::Finished => "finished",
        BuildState::Failure => "failed (failure)",
        BuildState::Error => "failed (error)",
        BuildState::Unstable => "ended as unstable",
        BuildState::Killed => "was cancelled (killed)",
        BuildState::Skipped => "was skipped",
    }
}

/// How one input came, in one line.
pub(crate) fn edge(input: &Input) -> String {
    if input.route == RouteKind::Local {
        let (parent, bytes) = (parent(input), render::bytes(input.bytes));
        return format!("{parent} was here already: {bytes}, digest {}", input.digest.short());
    }
    format!(
        "{} came from {} by {}: {} ({} moved) in {}, {}, digest {}",
        parent(input),
        from(input),
        input.route.as_str(),
        render::bytes(input.bytes),
        render::bytes(input.moved_bytes),
        render::duration(Duration::from_millis(input.milliseconds)),
        rate(input),
        input.digest.short(),
    )
}

fn parent(input: &Input) -> String {
    match &input.parent {
        Some(parent) => parent.to_string(),
        None if input.cache => "cache".to_owned(),
        None => "source".to_owned(),
    }
}

fn from(input: &Input) -> String {
    input
        .from
        .as_ref()
        .map_or_else(|| "master".to_owned(), ToString::to_string)
}

/// Content per second: what the user waited for, however little of it crossed the link. Nothing where nothing had to come.
fn rate(input: &Input) -> String {
    if input.route == RouteKind::Local {
        return "-".to_owned();
    }
    let per_second = u128::from(input.bytes) * 1_000 / u128::from(input.milliseconds.max(1));
    format!("{}/s", render::bytes(u64::try_from(per_second).unwrap_or(u64::MAX)))
}
