//! Where the jobs of a job file would go.

use std::path::PathBuf;

use clap::Args;
use tombolo_api::{Plan as Planned, PlanBuild, PlanOutcome, PlannedJob, path};

use super::run::{as_sent, file_name};
use super::validate;
use crate::failure::{ExitCode, Failure};
use crate::render::{self, Rows, Wide};
use crate::{Session, source};

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The job file: `infrabox.json`, `infrabox.yaml` or `tombolo.yaml`.
    file: PathBuf,
    /// The folder with the source of the build: workflows that the file names are read from there. It is uploaded as `run` does.
    #[arg(long, short, value_name = "FOLDER")]
    source: Option<PathBuf>,
}

impl Rows for Planned {
    fn header(&self, _: Wide) -> Vec<&'static str> {
        vec!["job", "cluster", "why"]
    }

    fn rows(&self, _: Wide) -> Vec<Vec<String>> {
        let row = |job: &PlannedJob| {
            let place = match (&job.cluster, job.outcome) {
                (Some(cluster), _) => cluster.to_string(),
                (None, outcome) => format!("({})", outcome.as_str()),
            };
            vec![job.name.to_string(), place, job.reason.clone()]
        };
        self.jobs.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.jobs.iter().map(|job| job.name.to_string()).collect()
    }

    fn empty(&self) -> &'static str {
        "There are no jobs."
    }
}

/// Says where each job would go now, and why.
pub(crate) async fn plan(command: &Plan, session: &Session) -> Result<(), Failure> {
    let text = validate::read(&command.file)?;
    let source = match &command.source {
        Some(folder) => Some(source::upload(session, folder).await?),
        None => None,
    };
    let name = file_name(command.source.as_deref(), &command.file);
    let request = PlanBuild {
        job_file: as_sent(&command.file, name, text)?,
        source,
    };
    let planned: Planned = session.client.post(&path::plan(&session.project), &request).await?;
    render::print(session.format, &planned)?;
    let nowhere: Vec<&PlannedJob> = planned
        .jobs
        .iter()
        .filter(|job| job.outcome == PlanOutcome::Nowhere)
        .collect();
    if session.format.is_for_people() {
        for job in nowhere.iter().filter(|job| job.advice.is_some()) {
            let advice = job.advice.as_deref().unwrap_or_default();
            render::line(&format!("\n`{}`: {advice}", job.name))?;
        }
    }
    if nowhere.is_empty() {
        return Ok(());
    }
    let failure = match nowhere.as_slice() {
        [job] => format!("no cluster can run `{}`", job.name),
        [first, rest @ ..] => format!(
            "no cluster can run `{}` and {}",
            first.name,
            render::count(rest.len() as u64, "other job")
        ),
        [] => String::new(),
    };
    let hint = "`-o json` has what each job misses on each cluster";
    Err(Failure::new(ExitCode::Unschedulable, failure).hint(hint))
}
