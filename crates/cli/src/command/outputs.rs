//! What jobs left behind.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use futures::TryStreamExt;
use reqwest::Method;
use tokio_util::io::{StreamReader, SyncIoBridge};
use tombolo_api::{EntryKind, OutputEntry, OutputListing, path};
use tombolo_core::name::JobName;

use crate::failure::{ExitCode, Failure};
use crate::render::{self, Format, Rows, Wide};
use crate::{Session, number};

#[derive(Debug, Subcommand)]
pub(crate) enum Outputs {
    /// Lists what a job left behind.
    Ls {
        /// The build's number.
        #[arg(value_parser = number::build)]
        build: u64,
        /// The job.
        job: JobName,
    },
    /// Downloads it, whole or one file.
    Get {
        /// The build's number.
        #[arg(value_parser = number::build)]
        build: u64,
        /// The job.
        job: JobName,
        /// One file of it, which is written to standard output unless `--to` is given.
        file: Option<String>,
        /// Where to: a new folder (by default named after the job), or a file.
        #[arg(long, value_name = "PATH")]
        to: Option<PathBuf>,
    },
}

impl Rows for OutputListing {
    fn header(&self, wide: Wide) -> Vec<&'static str> {
        let mut header = vec!["mode", "size", "path"];
        if wide == Wide::Yes {
            header.insert(2, "bytes");
        }
        header
    }

    fn rows(&self, wide: Wide) -> Vec<Vec<String>> {
        let row = |entry: &OutputEntry| {
            let size = if entry.kind == EntryKind::File {
                render::bytes(entry.bytes)
            } else {
                String::new()
            };
            let mut row = vec![mode(entry), size, name(entry)];
            if wide == Wide::Yes {
                row.insert(2, entry.bytes.to_string());
            }
            row
        };
        self.entries.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.entries.iter().map(|entry| escaped(&entry.path)).collect()
    }

    fn empty(&self) -> &'static str {
        "The output is empty."
    }
}

fn mode(entry: &OutputEntry) -> String {
    let kind = match entry.kind {
        EntryKind::File => '-',
        EntryKind::Directory => 'd',
        EntryKind::Symlink => 'l',
    };
    format!("{kind}{}", permissions(entry.mode))
}

fn name(entry: &OutputEntry) -> String {
    match (&entry.target, entry.kind) {
        (Some(target), _) => format!("{} -> {}", escaped(&entry.path), escaped(target)),
        (None, EntryKind::Directory) => format!("{}/", escaped(&entry.path)),
        (None, _) => escaped(&entry.path),
    }
}

/// A name on one line, as `ls -b` writes it: a backslash is doubled, so that nothing else looks like an escape.
fn escaped(name: &str) -> String {
    render::printable(&name.replace('\\', "\\\\")).into_owned()
}

/// Permissions as `ls -l` writes them: `rw-r--r--`.
fn permissions(mode: u32) -> String {
    let letters = ['r', 'w', 'x'].into_iter().cycle();
    (0..9)
        .rev()
        .zip(letters)
        .map(|(bit, letter)| if mode >> bit & 1 == 1 { letter } else { '-' })
        .collect()
}

/// Lists and downloads outputs.
pub(crate) async fn outputs(command: &Outputs, session: &Session) -> Result<(), Failure> {
    match command {
        Outputs::Ls { build, job } => list(session, *build, job).await,
        Outputs::Get {
            build,
            job,
            file: Some(file),
            to,
        } => download_file(session, *build, job, file, to.as_deref()).await,
        Outputs::Get {
            build,
            job,
            file: None,
            to,
        } => {
            let to = to.clone().unwrap_or_else(|| PathBuf::from(job.last_segment()));
            download(session, *build, job, &to).await
        }
    }
}

async fn list(session: &Session, build: u64, job: &JobName) -> Result<(), Failure> {
    let path = path::job_output(&session.project, build, job);
    let mut listing: OutputListing = session.client.get(&path).await?;
    while let Some(offset) = listing.next_offset {
        let page: OutputListing = session.client.get(&format!("{path}?offset={offset}")).await?;
        listing.entries.extend(page.entries);
        listing.next_offset = page.next_offset;
    }
    render::print(session.format, &listing)?;
    if session.format.is_for_people() {
        let (files, size) = (render::count(listing.files, "file"), render::bytes(listing.bytes));
        render::line(&format!("\n{files}, {size}, digest {}", listing.digest))?;
    }
    Ok(())
}

async fn download_file(
    session: &Session,
    build: u64,
    job: &JobName,
    file: &str,
    to: Option<&Path>,
) -> Result<(), Failure> {
    let path = path::job_output_file(&session.project, build, job, file.as_bytes());
    let mut response = session.client.send(session.client.request(Method::GET, &path)?).await?;
    let Some(to) = to else {
        while let Some(piece) = session.client.chunk(&mut response).await? {
            io::stdout().write_all(&piece).map_err(render::write_failure)?;
        }
        return Ok(());
    };
    let folder = to
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut target = tempfile::NamedTempFile::new_in(folder)?;
    while let Some(piece) = session.client.chunk(&mut response).await? {
        target.write_all(&piece)?;
    }
    let file: File = target.persist_noclobber(to).map_err(|error| {
        Failure::new(
            ExitCode::Failed,
            format!("cannot write {}: {}", to.display(), error.error),
        )
    })?;
    Ok(file.sync_all()?)
}

/// Downloads into a folder beside the target, and gives it its name when it is whole.
async fn download(session: &Session, build: u64, job: &JobName, to: &Path) -> Result<(), Failure> {
    if to.exists() {
        return Err(Failure::usage(format!("{} exists already", to.display())).hint("choose another place with `--to`"));
    }
    let parent = to
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let staging = tempfile::Builder::new().prefix(".tombolo-").tempdir_in(parent)?;
    let path = path::job_output_archive(&session.project, build, job);
    let response = session.client.send(session.client.request(Method::GET, &path)?).await?;
    let reader = StreamReader::new(response.bytes_stream().map_err(io::Error::other));
    let mut reader = SyncIoBridge::new(Box::pin(reader));
    let staged = staging.path().join("output");
    let unpacked = tokio::task::spawn_blocking(move || -> io::Result<PathBuf> {
        let mut archive = tar::Archive::new(&mut reader);
        archive.set_preserve_permissions(true);
        fs::create_dir(&staged)?;
        // `unpack` refuses entries that lead out of the folder, also through links.
        archive.unpack(&staged)?;
        io::copy(&mut reader, &mut io::sink())?;
        Ok(staged)
    })
    .await
    .map_err(|error| Failure::new(ExitCode::Failed, format!("the download broke off: {error}")))?;
    let staged =
        unpacked.map_err(|error| Failure::new(ExitCode::Failed, format!("the download broke off: {error}")))?;
    fs::rename(&staged, to)?;
    match session.format {
        Format::Table | Format::Wide => render::line(&format!("The output of `{job}` is in {}.", to.display())),
        Format::Name => render::line(&to.display().to_string()),
        Format::Json | Format::Yaml => {
            let (job, path) = (job.as_str(), to);
            render::print_value(session.format, &serde_json::json!({ "job": job, "path": path }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: EntryKind, mode: u32, target: Option<&str>) -> OutputEntry {
        OutputEntry {
            path: path.to_owned(),
            path_base64: None,
            kind,
            mode,
            bytes: 0,
            target: target.map(str::to_owned),
        }
    }

    #[test]
    fn entries_take_one_line_each_and_cannot_be_mistaken() {
        for (entry, shown) in [
            (entry("a\nb", EntryKind::File, 0o644, None), ["-rw-r--r--", "a\\nb"]),
            (entry("a\\nb", EntryKind::File, 0o755, None), ["-rwxr-xr-x", "a\\\\nb"]),
            (
                entry("d\u{1b}[2J", EntryKind::Directory, 0o700, None),
                ["drwx------", "d\\u{1b}[2J/"],
            ),
            (
                entry("l", EntryKind::Symlink, 0o777, Some("x\ty")),
                ["lrwxrwxrwx", "l -> x\\ty"],
            ),
        ] {
            assert_eq!([mode(&entry), name(&entry)], shown);
        }
    }
}
