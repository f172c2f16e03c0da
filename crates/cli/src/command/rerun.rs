//! Running builds again.

use clap::Args;
use tombolo_api::{BuildSummary, RerunBuild, path};
use tombolo_core::name::JobName;

use crate::failure::Failure;
use crate::render::{self, Format};
use crate::{Session, number, watch};

#[derive(Debug, Args)]
pub(crate) struct Rerun {
    /// The build's number.
    #[arg(value_parser = number::build)]
    build: u64,
    /// Runs only this job again, or the jobs of this workflow, and what comes after.
    job: Option<JobName>,
    /// Runs again only what ended as failure, error, unstable or killed, and what comes after that.
    #[arg(long, conflicts_with = "job")]
    failed: bool,
    /// Without what comes after the job.
    #[arg(long, requires = "job")]
    alone: bool,
    /// Follows the new build until it is over; fails if something fails that runs in it.
    #[arg(long, short)]
    watch: bool,
}

/// Runs a build again, or some of it, as a new build.
pub(crate) async fn rerun(command: &Rerun, session: &Session) -> Result<(), Failure> {
    let request = RerunBuild {
        failed: command.failed,
        job: command.job.clone(),
        alone: command.alone,
    };
    let path = path::build_rerun(&session.project, command.build);
    let build: BuildSummary = session.client.post(&path, &request).await?;
    if session.format.is_for_people() {
        let what = match (&command.job, command.failed) {
            (Some(job), _) => format!("Job `{job}` of build"),
            (None, true) => "What failed in build".to_owned(),
            (None, false) => "Build".to_owned(),
        };
        render::line(&format!(
            "{what} {} runs again as build {}.",
            command.build, build.number
        ))?;
    }
    if command.watch {
        let build = watch::follow(session, build.number).await?;
        return watch::conclude_rerun(session, &build, command.job.as_ref()).await;
    }
    match session.format {
        Format::Name => render::line(&build.number.to_string()),
        Format::Json | Format::Yaml => render::print_value(session.format, &build),
        Format::Table | Format::Wide => render::line(&format!("Follow it: tombolo watch {}", build.number)),
    }
}
