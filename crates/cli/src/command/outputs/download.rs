//! Downloads: whole outputs, folders and files of them. What is there under its name is there whole.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use futures::stream;
use tokio_util::io::{StreamReader, SyncIoBridge};
use tombolo_api::{EntryKind, OutputEntry, path};

use super::reading::Reading;
use super::{Output, page, sums};
use crate::Session;
use crate::failure::{ExitCode, Failure};
use crate::render::{self, Format};

/// What is to be downloaded, and where to.
pub(super) struct Request<'a> {
    pub(super) output: &'a Output,
    pub(super) path: Option<&'a Path>,
    pub(super) to: Option<&'a Path>,
    pub(super) sums: Option<&'a Path>,
}

impl<'a> Request<'a> {
    /// The sums are what is printed, instead of where everything is.
    fn prints_sums(&self) -> bool {
        self.sums == Some(Path::new("-"))
    }

    fn sums_file(&self) -> Option<&'a Path> {
        self.sums.filter(|_| !self.prints_sums())
    }
}

/// Writes one file to standard output.
pub(super) async fn to_standard_output(session: &Session, output: &Output, file: &Path) -> Result<(), Failure> {
    to_output(read_file(session, output, file).await?).await
}

async fn to_output(mut reading: Reading) -> Result<(), Failure> {
    let mut to = io::stdout();
    while let Some(piece) = reading.next().await? {
        to.write_all(&piece).map_err(render::write_failure)?;
    }
    to.flush().map_err(render::write_failure)
}

/// Downloads what is asked for.
pub(super) async fn download(session: &Session, request: &Request<'_>) -> Result<(), Failure> {
    let entry = match request.path {
        Some(path) => page(session, request.output, Some(path), 0)
            .await?
            .entries
            .into_iter()
            .next(),
        None => None,
    };
    let folder = match (&entry, request.path) {
        // A link is refused by whoever reads it as a file, with a word on what to do.
        (Some(entry), Some(path)) if entry.kind != EntryKind::Directory => {
            return download_file(session, request, path, entry).await;
        }
        (_, path) => path,
    };
    if request.to == Some(Path::new("-")) {
        refuse_sums(request)?;
        let archive = archive_path(session, request.output, folder);
        return to_output(Reading::begin(&session.client, archive).await?).await;
    }
    let name = folder
        .and_then(Path::file_name)
        .map_or_else(|| PathBuf::from(request.output.job.last_segment()), PathBuf::from);
    let to = request.to.map_or(name, PathBuf::from);
    check_places(request, &to)?;
    let staging = staging_folder(&to)?;
    let path = archive_path(session, request.output, folder);
    let reading = Reading::begin(&session.client, path).await?.shown();
    let staged = unpack(reading, staging.path().join("output")).await?;
    if let Some(list) = request.sums_file() {
        let staged = staged.clone();
        sums::write(list, move |lines| sums::of_folder(&staged, lines)).await?;
    }
    fs::rename(&staged, &to)?;
    if request.prints_sums() {
        return sums::print(move |lines| sums::of_folder(&to, lines)).await;
    }
    tell(session, request, &to)
}

fn archive_path(session: &Session, output: &Output, folder: Option<&Path>) -> String {
    let mut asked = path::job_output_archive(&session.project, output.build, &output.job);
    if let Some(folder) = folder {
        asked.push_str(&format!("?path={}", path::encode_bytes(folder.as_os_str().as_bytes())));
    }
    asked
}

fn refuse_sums(request: &Request<'_>) -> Result<(), Failure> {
    match request.sums {
        None => Ok(()),
        Some(_) => Err(
            Failure::usage("`--sums` is for what is written to a file or folder, not for `--to -`")
                .hint("`tombolo outputs sums` prints the sums"),
        ),
    }
}

/// Before anything is downloaded: what is there is not replaced, and what is to be written to must be there.
fn check_places(request: &Request<'_>, to: &Path) -> Result<(), Failure> {
    check_place(to, "--to")?;
    request.sums_file().map_or(Ok(()), |list| check_place(list, "--sums"))
}

pub(crate) fn check_place(path: &Path, option: &str) -> Result<(), Failure> {
    let folder = parent_of(path);
    if !folder.is_dir() {
        return Err(Failure::usage(format!("there is no folder {}", folder.display()))
            .hint(format!("make it first, or choose another place with `{option}`")));
    }
    check_free(path, option)
}

fn check_free(path: &Path, option: &str) -> Result<(), Failure> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Failure::usage(format!("{} exists already", path.display()))
        .hint(format!("choose another place with `{option}`")))
}

/// Where a file is to be: in the folder that was named, or under the name.
fn place_of_file(to: Option<&Path>, name: &Path) -> Result<PathBuf, Failure> {
    match to {
        Some(folder) if folder.is_dir() => Ok(folder.join(name)),
        Some(to) if to.as_os_str().as_bytes().ends_with(b"/") => {
            Err(Failure::usage(format!("there is no folder {}", to.display()))
                .hint("make it first, or leave the `/` at the end out: then it is the name of the file"))
        }
        Some(to) => Ok(to.to_owned()),
        None => Ok(name.to_owned()),
    }
}

/// A folder beside the target, gone with this value.
fn staging_folder(to: &Path) -> Result<tempfile::TempDir, Failure> {
    let parent = parent_of(to);
    let made = tempfile::Builder::new().prefix(".tombolo-").tempdir_in(parent);
    made.map_err(|error| {
        let words = format!("cannot make a folder in {}: {error}", parent.display());
        Failure::new(ExitCode::Failed, words).hint("choose another place with `--to`")
    })
}

pub(crate) fn parent_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

async fn unpack(reading: Reading, into: PathBuf) -> Result<PathBuf, Failure> {
    let why = Arc::new(OnceLock::new());
    let told = Arc::clone(&why);
    let pieces = stream::try_unfold(reading, move |mut reading| {
        let told = Arc::clone(&told);
        async move {
            let piece = reading.next().await.map_err(|failure| {
                let words = io::Error::other(failure.message.clone());
                let _ = told.set(failure);
                words
            })?;
            Ok::<_, io::Error>(piece.map(|piece| (piece, reading)))
        }
    });
    let mut reader = SyncIoBridge::new(Box::pin(StreamReader::new(pieces)));
    let unpacking = tokio::task::spawn_blocking(move || -> io::Result<PathBuf> {
        let mut archive = tar::Archive::new(&mut reader);
        archive.set_preserve_permissions(true);
        fs::create_dir(&into)?;
        // `unpack` refuses entries that lead out of the folder, also through links.
        archive.unpack(&into)?;
        io::copy(&mut reader, &mut io::sink())?;
        Ok(into)
    });
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::new(ExitCode::Failed, format!("what came cannot be unpacked: {error}"))
    };
    let unpacked = unpacking.await.map_err(|error| cannot(&error))?;
    // The bridge, and with it the stream, has gone with the task.
    unpacked.map_err(|error| match Arc::into_inner(why).and_then(OnceLock::into_inner) {
        Some(failure) => failure,
        None => cannot(&error),
    })
}

async fn download_file(
    session: &Session,
    request: &Request<'_>,
    file: &Path,
    entry: &OutputEntry,
) -> Result<(), Failure> {
    if request.to == Some(Path::new("-")) {
        refuse_sums(request)?;
        return to_standard_output(session, request.output, file).await;
    }
    let name = Path::new(file.file_name().unwrap_or(file.as_os_str()));
    let to = place_of_file(request.to, name)?;
    check_places(request, &to)?;
    let staging = staging_folder(&to)?;
    let staged = staging.path().join("file");
    let mut target = fs::File::create_new(&staged)?;
    let mut reading = read_file(session, request.output, file).await?.shown();
    while let Some(piece) = reading.next().await? {
        target.write_all(&piece)?;
    }
    target.set_permissions(Permissions::from_mode(entry.mode))?;
    let name = to.file_name().unwrap_or_default().as_bytes().to_vec();
    if let Some(list) = request.sums_file() {
        let (staged, name) = (staged.clone(), name.clone());
        sums::write(list, move |lines| sums::of_file(&staged, &name, lines)).await?;
    }
    // A link refuses to replace what came meanwhile; a renaming would not.
    fs::hard_link(&staged, &to).or_else(|_| {
        check_free(&to, "--to")?;
        fs::rename(&staged, &to).map_err(Failure::from)
    })?;
    if request.prints_sums() {
        return sums::print(move |lines| sums::of_file(&to, &name, lines)).await;
    }
    tell(session, request, &to)
}

fn tell(session: &Session, request: &Request<'_>, to: &Path) -> Result<(), Failure> {
    let job = &request.output.job;
    match session.format {
        Format::Table | Format::Wide => {
            let what = request.path.map_or_else(
                || format!("The output of `{job}`"),
                |path| format!("`{}` of the output of `{job}`", path.display()),
            );
            render::line(&render::printable(&format!("{what} is in {}.", to.display())))
        }
        Format::Name => render::line(&to.display().to_string()),
        Format::Json | Format::Yaml => {
            let job = job.as_str();
            render::print_value(session.format, &serde_json::json!({ "job": job, "path": to }))
        }
    }
}

async fn read_file(session: &Session, output: &Output, file: &Path) -> Result<Reading, Failure> {
    let path = path::job_output_file(&session.project, output.build, &output.job, file.as_os_str().as_bytes());
    Reading::begin(&session.client, path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_is_told_before_the_download() {
        let place = tempfile::tempdir().unwrap();
        let file = Path::new("app");
        assert_eq!(place_of_file(None, file).unwrap(), file);
        assert_eq!(
            place_of_file(Some(place.path()), file).unwrap(),
            place.path().join("app")
        );
        let new = place.path().join("new");
        assert_eq!(place_of_file(Some(&new), file).unwrap(), new);
        check_place(&new, "--to").unwrap();
        let folder = place.path().join("new/");
        let refused = place_of_file(Some(&folder), file).unwrap_err();
        assert!(
            refused.message.starts_with("there is no folder ") && refused.message.ends_with("new/"),
            "{refused:?}"
        );
        let refused = check_place(&new.join("deep"), "--sums").unwrap_err();
        assert!(refused.message.ends_with("new"), "{refused:?}");
        assert!(refused.hint.unwrap().contains("`--sums`"));
        assert!(!new.exists(), "nothing is made");
        fs::write(&new, "").unwrap();
        let refused = check_place(&new, "--to").unwrap_err();
        assert!(refused.message.ends_with("exists already"), "{refused:?}");
        assert_eq!(refused.hint.unwrap(), "choose another place with `--to`");
    }
}
