//! Submitting builds and following them.

use std::path::{Path, PathBuf};

use clap::Args;
use tombolo_api::{BuildSummary, JobFile, Revision, SubmitBuild, limit, path};
use tombolo_core::digest::Digest;

use super::validate;
use crate::failure::Failure;
use crate::render::{self, Format};
use crate::{Session, number, source, watch};

/// The job files that are looked for in a folder, first one first.
const JOB_FILES: [&str; 5] = [
    "tombolo.yaml",
    "tombolo.yml",
    "tombolo.json",
    "infrabox.json",
    "infrabox.yaml",
];

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The job file.
    file: PathBuf,
    /// A folder to upload as the build's source.
    #[arg(long, short, value_name = "FOLDER")]
    source: Option<PathBuf>,
    #[command(flatten)]
    submission: Submission,
}

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The folder to upload, minus what `.gitignore` and `.tomboloignore` exclude.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The job file; by default the `tombolo.yaml` or `infrabox.json` in the folder.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    submission: Submission,
}

#[derive(Debug, Args)]
struct Submission {
    /// Follows the build until it is over; fails if it fails.
    #[arg(long, short)]
    watch: bool,
    /// The branch that is built.
    #[arg(long)]
    branch: Option<String>,
    /// The commit that is built.
    #[arg(long)]
    commit: Option<String>,
    /// The tag that is built.
    #[arg(long)]
    tag: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The build's number.
    #[arg(value_parser = number::build)]
    build: u64,
}

/// Submits a job file.
pub(crate) async fn run(command: &Run, session: &Session) -> Result<(), Failure> {
    let text = validate::read(&command.file)?;
    let source = match &command.source {
        Some(folder) => Some(source::upload(session, folder).await?),
        None => None,
    };
    let name = file_name(command.source.as_deref(), &command.file);
    submit(
        session,
        as_sent(&command.file, name, text)?,
        source,
        &command.submission,
    )
    .await
}

/// Uploads a folder and submits its job file.
pub(crate) async fn push(command: &Push, session: &Session) -> Result<(), Failure> {
    let file = match &command.file {
        Some(file) => file.clone(),
        None => job_file(&command.folder)?,
    };
    let text = validate::read(&file)?;
    let source = source::upload(session, &command.folder).await?;
    let name = file_name(Some(&command.folder), &file);
    submit(session, as_sent(&file, name, text)?, Some(source), &command.submission).await
}

/// What the job file is called: its path from the top of the source, where it lies in it.
pub(crate) fn file_name(source: Option<&Path>, file: &Path) -> String {
    let within = source.and_then(|folder| validate::path_within(folder, file));
    within.unwrap_or_else(|| validate::base_name(file))
}

/// Follows a build.
pub(crate) async fn watch(command: &Watch, session: &Session) -> Result<(), Failure> {
    let build = watch::follow(session, command.build).await?;
    watch::conclude(session, &build).await
}

/// The job file that there is in a folder.
pub(crate) fn job_file(folder: &Path) -> Result<PathBuf, Failure> {
    JOB_FILES
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.exists())
        .ok_or_else(|| {
            Failure::usage(format!("there is no job file in {}", folder.display())).hint(format!(
                "name one with `--file`, or make one of: {}",
                JOB_FILES.join(", ")
            ))
        })
}

/// What is wrong with a job file that cannot be sent, in the words of `validate`.
fn unreadable(file: &Path) -> Failure {
    let bytes = validate::read(file).unwrap_or_default();
    let name = file.display().to_string();
    match tombolo_jobfile::parse(&name, &bytes) {
        Err(faults) => Failure::usage(tombolo_jobfile::report::plain(&faults)),
        Ok(_) => Failure::usage(format!("{name} changed while it was read")).hint("try again"),
    }
}

/// A job file as the master takes it, under this name.
pub(crate) fn as_sent(file: &Path, name: String, text: Vec<u8>) -> Result<JobFile, Failure> {
    let text = String::from_utf8(text)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or_else(|| unreadable(file))?;
    if text.len() > limit::JOB_FILE_BYTES {
        let mebibytes = limit::JOB_FILE_BYTES / (1024 * 1024);
        return Err(
            Failure::usage(format!("{} is larger than {mebibytes} MiB", file.display()))
                .hint("split it into several builds"),
        );
    }
    Ok(JobFile { name, text })
}

async fn submit(
    session: &Session,
    job_file: JobFile,
    source: Option<Digest>,
    submission: &Submission,
) -> Result<(), Failure> {
    let request = SubmitBuild {
        job_file,
        source,
        revision: Revision {
            branch: submission.branch.clone(),
            commit: submission.commit.clone(),
            tag: submission.tag.clone(),
        },
    };
    let build: BuildSummary = session.client.post(&path::builds(&session.project), &request).await?;
    if session.format.is_for_people() {
        render::line(&format!(
            "Build {} of project {} was submitted.",
            build.number, build.project
        ))?;
    }
    if submission.watch {
        let build = watch::follow(session, build.number).await?;
        return watch::conclude(session, &build).await;
    }
    match session.format {
        Format::Name => render::line(&build.number.to_string()),
        Format::Json | Format::Yaml => render::print_value(session.format, &build),
        Format::Table | Format::Wide => render::line(&format!("Follow it: tombolo watch {}", build.number)),
    }
}
