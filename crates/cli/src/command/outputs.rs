//! What jobs left behind.

pub(super) mod download;
mod reading;
mod sums;

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use reqwest::Method;
use tombolo_api::{EntryKind, OutputEntry, OutputListing, path};
use tombolo_core::name::JobName;

use crate::failure::Failure;
use crate::render::{self, Format, Rows, Wide};
use crate::{Session, number};

#[derive(Debug, Subcommand)]
pub(crate) enum Outputs {
    /// Lists what a job left behind.
    Ls {
        #[command(flatten)]
        output: Output,
        /// Only this: a file, or a folder with all that is below it.
        path: Option<PathBuf>,
    },
    /// Writes one file to standard output. Only what this file needs is moved.
    Cat {
        #[command(flatten)]
        output: Output,
        /// The file.
        path: PathBuf,
    },
    /// Downloads it, whole or one file or folder.
    Get {
        #[command(flatten)]
        output: Output,
        /// One file or folder of it.
        path: Option<PathBuf>,
        /// Where to: a new folder or file, by default named after what is downloaded; `-` for standard output, where a folder
        /// is a tar archive.
        #[arg(long, value_name = "PATH")]
        to: Option<PathBuf>,
        /// Also writes the SHA-256 sums of the files that have come to this new file, for `sha256sum -c` where they are; `-` for
        /// standard output.
        #[arg(long, value_name = "FILE")]
        sums: Option<PathBuf>,
    },
    /// Prints the SHA-256 sums of its files, for `sha256sum -c` in a folder with a download.
    Sums {
        #[command(flatten)]
        output: Output,
    },
}

/// An output.
#[derive(Debug, clap::Args)]
pub(crate) struct Output {
    /// The build's number.
    #[arg(value_parser = number::build)]
    build: u64,
    /// The job.
    job: JobName,
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

/// A name on one line, escaped as Rust does: a backslash is doubled, so that nothing else looks like an escape.
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
        Outputs::Ls { output, path } => ls(session, output, path.as_deref()).await,
        Outputs::Cat { output, path } => {
            refuse_forms(session, "outputs cat")?;
            download::to_standard_output(session, output, path).await
        }
        Outputs::Get { output, path, to, sums } => {
            let request = download::Request {
                output,
                path: path.as_deref(),
                to: to.as_deref(),
                sums: sums.as_deref(),
            };
            download::download(session, &request).await
        }
        Outputs::Sums { output } => {
            refuse_forms(session, "outputs sums")?;
            let path = path::job_output_sums(&session.project, output.build, &output.job);
            stream(session, &path).await
        }
    }
}

/// For what is printed as it is.
fn refuse_forms(session: &Session, command: &str) -> Result<(), Failure> {
    let forms = [Format::Wide, Format::Json, Format::Yaml, Format::Name];
    session.format.refuse(&forms, command)
}

async fn ls(session: &Session, output: &Output, below: Option<&Path>) -> Result<(), Failure> {
    let mut listing = page(session, output, below, 0).await?;
    while let Some(offset) = listing.next_offset {
        let page = page(session, output, below, offset).await?;
        listing.entries.extend(page.entries);
        listing.next_offset = page.next_offset;
    }
    render::print(session.format, &listing)?;
    if session.format.is_for_people() {
        let (files, size) = (render::count(listing.files, "file"), render::bytes(listing.bytes));
        let digest = &listing.digest;
        let words = match below {
            None => format!("{files}, {size}, digest {digest}"),
            Some(_) => format!("{files}, {size} of the output with the digest {digest}"),
        };
        render::line(&format!("\n{words}"))?;
    }
    Ok(())
}

/// A page of what is at a path, or of everything.
async fn page(session: &Session, output: &Output, at: Option<&Path>, offset: u64) -> Result<OutputListing, Failure> {
    let mut asked = path::job_output(&session.project, output.build, &output.job);
    asked.push_str(&format!("?offset={offset}"));
    if let Some(at) = at {
        let at = path::encode_bytes(at.as_os_str().as_bytes());
        asked.push_str(&format!("&path={at}"));
    }
    session.client.get(&asked).await
}

/// Writes an answer to standard output as it comes.
async fn stream(session: &Session, path: &str) -> Result<(), Failure> {
    let mut response = session.client.send(session.client.request(Method::GET, path)?).await?;
    let mut output = io::stdout().lock();
    while let Some(piece) = session.client.chunk(&mut response).await? {
        output.write_all(&piece).map_err(render::write_failure)?;
    }
    output.flush().map_err(render::write_failure)
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
