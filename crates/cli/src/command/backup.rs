//! Backups of a master, and what is made of them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use reqwest::{Method, Response};
use serde::Serialize;
use tombolo_api::path;
use tombolo_master::backup::{self, Error, Header, Kept, Report};

use super::outputs::download::{check_place, parent_of};
use super::server::{Service, load_master};
use crate::Session;
use crate::failure::{ExitCode, Failure};
use crate::render::{self, Format};

/// How long the master may be silent: it copies its database before it sends it.
const SILENT_AT_MOST: Duration = Duration::from_secs(30 * 60);

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write, or `-` for standard output (which is then not checked). It holds the keys of the installation: whoever has it can act as the
    /// master.
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup: a file, which is read more than once.
    #[arg(
        required_unless_present = "database_went_back",
        conflicts_with = "database_went_back"
    )]
    file: Option<PathBuf>,
    /// The folder to make: `data_folder` of the new master. Nothing may be in it.
    #[arg(long, value_name = "FOLDER", required_unless_present_any = ["check", "database_went_back"], conflicts_with = "database_went_back")]
    data_dir: Option<PathBuf>,
    /// Only reads the backup, and says whether it is whole.
    #[arg(long, conflicts_with_all = ["data_dir", "database_went_back"])]
    check: bool,
    /// Restores nothing: says to the database of the configuration that it was restored by other means (Postgres' own tools, a snapshot of the
    /// disk). While no master runs, and before one is started on it.
    #[arg(long)]
    database_went_back: bool,
    #[command(flatten)]
    service: Service,
}

/// What a backup has, for programs.
#[derive(Serialize)]
struct Shown<'a> {
    file: &'a Path,
    created_at: String,
    program: &'a str,
    trust_domain: &'a str,
    authority: &'a str,
    public_url: &'a str,
    agents: &'a [String],
    database: &'static str,
    sources: &'static str,
    files: u64,
    bytes: u64,
}

impl<'a> Shown<'a> {
    fn new(file: &'a Path, report: &'a Report) -> Self {
        let header = &report.header;
        Self {
            file,
            created_at: created(report),
            program: &header.program,
            trust_domain: &header.trust_domain,
            authority: &header.authority,
            public_url: &header.public_url,
            agents: &header.agents,
            database: place(header.database),
            sources: place(header.sources),
            files: report.files,
            bytes: report.bytes,
        }
    }
}

fn place<T>(kept: Kept<T>) -> &'static str {
    match kept {
        Kept::Here(_) => "here",
        Kept::Elsewhere => "elsewhere",
    }
}

fn created(report: &Report) -> String {
    let at = i64::try_from(report.header.created_at.0).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| format!("{at:.0}"))
}

/// Has the master make a backup, and keeps it.
pub(crate) async fn backup(command: &Backup, session: &Session) -> Result<(), Failure> {
    let client = session.client.patient(SILENT_AT_MOST)?;
    if command.file == Path::new("-") {
        let mut answer = client.send(client.request(Method::POST, &path::backup())?).await?;
        return copy(session, &mut answer, &mut io::stdout()).await;
    }
    check_place(&command.file, "FILE")?;
    let folder = parent_of(&command.file);
    // Nobody else may read it.
    let made = tempfile::Builder::new().prefix(".tombolo-backup-").tempfile_in(folder);
    let mut file = made.map_err(|error| {
        let words = format!("cannot make a file in {}: {error}", folder.display());
        Failure::new(ExitCode::Failed, words)
    })?;
    let mut answer = client.send(client.request(Method::POST, &path::backup())?).await?;
    copy(session, &mut answer, file.as_file_mut()).await?;
    file.as_file().sync_all()?;
    let report = backup::check(file.path()).map_err(|error| explain(&error))?;
    file.persist_noclobber(&command.file).map_err(|error| {
        let words = format!("cannot write {}: {}", command.file.display(), error.error);
        Failure::new(ExitCode::Failed, words)
    })?;
    File::open(folder)?.sync_all()?;
    let shown = Shown::new(&command.file, &report);
    match session.format {
        Format::Table | Format::Wide => {
            render::line(&format!(
                "{} is a backup: {}.",
                command.file.display(),
                contents(&report)
            ))?;
            render::line(
                "Whoever has this file can act as the master: it holds the keys of the certificate authority and of secrets. Keep it as you \
                 would keep those.",
            )?;
            elsewhere(&report)
        }
        Format::Name => render::line(&command.file.display().to_string()),
        Format::Json | Format::Yaml => render::print_value(session.format, &shown),
    }
}

async fn copy(session: &Session, answer: &mut Response, to: &mut impl Write) -> Result<(), Failure> {
    while let Some(piece) = session.client.chunk(answer).await? {
        to.write_all(&piece).map_err(render::write_failure)?;
    }
    to.flush().map_err(render::write_failure)
}

fn contents(report: &Report) -> String {
    let (files, bytes) = (render::count(report.files, "file"), render::bytes(report.bytes));
    format!("{files}, {bytes}, of {}, whole", created(report))
}

/// What is to be backed up by other means.
fn elsewhere(report: &Report) -> Result<(), Failure> {
    if report.header.database == Kept::Elsewhere {
        render::line("The database is not in it, since it is Postgres: back it up by its own tools.")?;
    }
    if report.header.sources == Kept::Elsewhere {
        render::line("The sources of builds are not in it, since they are in a bucket.")?;
    }
    Ok(())
}

/// Makes a data folder of a backup.
pub(crate) fn restore(command: &Restore, format: Format) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (Some(file), false) = (&command.file, command.database_went_back) else {
        let configuration = load_master(&command.service)?;
        let noted = runtime.block_on(backup::note_database_went_back(&configuration));
        noted.map_err(|error| explain(&error))?;
        return render::line(
            "Noted. Numbers of attempts and builds go on far beyond those in the database; open invites are withdrawn. Start the master.",
        );
    };
    if file == Path::new("-") {
        let failure = Failure::usage("a backup is restored from a file, and not from standard input");
        return Err(failure.hint("write it into a file first: `cat > FILE`, `tombolo restore FILE --data-dir FOLDER`"));
    }
    let Some(folder) = &command.data_dir else {
        let report = backup::check(file).map_err(|error| explain(&error))?;
        return tell(format, file, &report, &format!("{} is whole", file.display()));
    };
    let report = runtime
        .block_on(backup::restore(file, folder))
        .map_err(|error| explain(&error))?;
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
    tell(format, file, &report, &format!("{} is restored", folder.display()))?;
    if format.is_for_people() {
        let Header { public_url, agents, .. } = &report.header;
        let agents = if agents.is_empty() {
            "the same host".to_owned()
        } else {
            agents.join(", ")
        };
        render::line(&format!(
            "Users knew this master as {public_url}, clusters at {agents}."
        ))?;
        render::line(
            "Next: start the master with this as its `data_folder`, at the addresses that the clusters know. It leads \
             when all leases are over that may have been given out before: after `leases.handover` (5 minutes, if nothing else is set).\nAccess is as it was then: revoke again what was revoked since (`tombolo token list`, `tombolo cluster list`).",
        )?;
    }
    Ok(())
}

fn tell(format: Format, file: &Path, report: &Report, what: &str) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide => {
            render::line(&format!("{what}: {}.", contents(report)))?;
            elsewhere(report)
        }
        Format::Name => render::line(&file.display().to_string()),
        Format::Json | Format::Yaml => render::print_value(format, &Shown::new(file, report)),
    }
}

fn explain(error: &Error) -> Failure {
    let failure = Failure::new(ExitCode::Failed, error);
    match error {
        Error::Occupied(_) => failure.hint("name another folder, or move away what is in this one"),
        Error::Foreign(_) => failure.hint("`tombolo backup FILE` makes one"),
        Error::Newer { .. } => failure.hint("restore with that version or a newer one"),
        Error::Full { .. } => {
            failure.hint("make room there, or name a folder on a larger disk; what was written so far is removed again")
        }
        Error::Unfinished(_) => failure.hint("the master's log says more"),
        _ => failure,
    }
}
