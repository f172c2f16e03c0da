//! Uploading a folder as the source of a build: chunk by chunk, and only what the master does not have.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt;
use ignore::WalkBuilder;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::mpsc;
use tombolo_api::{ChunkReference, MissingChunks, MissingChunksQuery, limit, path};
use tombolo_artifact::{BorrowedChunk, ChunkSink, Manifest, PackLimits, StoredChunk, check_links, pack_selected};
use tombolo_core::digest::Digest;

use crate::Session;
use crate::failure::{ExitCode, Failure};
use crate::render;

/// The file that excludes what `.gitignore` does not.
const IGNORE_FILE: &str = ".tomboloignore";
/// How many chunks are compressed and sent at once: enough to fill a link, and at 16 MiB each at most 64 MiB of memory.
const CHUNKS_AT_ONCE: usize = 4;

/// Uploads what of the folder is not excluded, and returns the digest of its manifest.
pub(crate) async fn upload(session: &Session, folder: &Path) -> Result<Digest, Failure> {
    let folder = folder.to_owned();
    let selection = {
        let folder = folder.clone();
        blocking(move || select(&folder)).await??
    };
    let selection = Arc::new(selection);
    let (manifest, order) = {
        let (folder, selection) = (folder.clone(), Arc::clone(&selection));
        blocking(move || survey(&folder, &selection)).await??
    };
    let missing = missing(session, &order).await?;
    let sent = send(session, &folder, &selection, missing).await?;
    let digest = manifest.digest();
    let request = session
        .client
        .request(Method::PUT, &path::source_manifest(&session.project, &digest))?;
    let request = request
        .header(CONTENT_TYPE, "application/octet-stream")
        .body(manifest.encoded().clone());
    session.client.send(request).await?;
    if session.format.is_for_people() {
        let (files, bytes) = (render::count(manifest.files(), "file"), render::bytes(manifest.bytes()));
        render::line(&format!(
            "Source: {files}, {bytes}, {} sent, digest {}",
            render::bytes(sent),
            digest.short()
        ))?;
    }
    Ok(digest)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let result = tokio::task::spawn_blocking(work).await;
    result.map_err(|error| Failure::new(ExitCode::Failed, format!("reading the source failed: {error}")))
}

/// The paths that belong to the source: all but what the ignore files and git's own folder exclude.
fn select(folder: &Path) -> Result<HashSet<Vec<u8>>, Failure> {
    if !folder.is_dir() {
        return Err(Failure::usage(format!("{} is not a folder", folder.display())));
    }
    let walk = WalkBuilder::new(folder)
        .hidden(false)
        .require_git(false)
        .add_custom_ignore_filename(IGNORE_FILE)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    let mut selection = HashSet::new();
    for entry in walk {
        let entry = entry.map_err(|error| Failure::usage(format!("cannot read the source: {error}")))?;
        let relative = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        selection.insert(bytes(relative));
    }
    Ok(selection)
}

fn bytes(path: &Path) -> Vec<u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_owned()
}

/// Remembers which chunks there are, in their order, each once.
#[derive(Default)]
struct Survey {
    seen: HashSet<Digest>,
    order: Vec<ChunkReference>,
}

impl ChunkSink for Survey {
    fn chunk(&mut self, chunk: BorrowedChunk<'_>) -> io::Result<()> {
        let reference = chunk.reference();
        if self.seen.insert(reference.digest) {
            self.order.push(ChunkReference {
                digest: reference.digest,
                bytes: u64::from(reference.length),
            });
        }
        Ok(())
    }
}

fn pack(folder: &Path, selection: &HashSet<Vec<u8>>, sink: &mut impl ChunkSink) -> Result<Manifest, Failure> {
    pack_selected(folder, PackLimits::default(), |path| selection.contains(path), sink)
        .map_err(|error| Failure::usage(format!("cannot pack {}: {error}", folder.display())))
}

fn survey(folder: &Path, selection: &HashSet<Vec<u8>>) -> Result<(Manifest, Vec<ChunkReference>), Failure> {
    let mut survey = Survey::default();
    let manifest = pack(folder, selection, &mut survey)?;
    check_links(&manifest).map_err(|error| {
        Failure::usage(format!("cannot take {} as source: {error}", folder.display())).hint(format!(
            "a job may run on any cluster, where only the source is: exclude the link by a line in `{IGNORE_FILE}`, or put a \
             copy in its place"
        ))
    })?;
    Ok((manifest, survey.order))
}

async fn missing(session: &Session, chunks: &[ChunkReference]) -> Result<HashMap<Digest, u64>, Failure> {
    let lengths: HashMap<Digest, u64> = chunks.iter().map(|chunk| (chunk.digest, chunk.bytes)).collect();
    let mut missing = HashMap::new();
    for page in chunks.chunks(limit::MISSING_CHUNKS) {
        let query = MissingChunksQuery { chunks: page.to_vec() };
        let answer: MissingChunks = session
            .client
            .post(&path::source_missing(&session.project), &query)
            .await?;
        missing.extend(
            answer
                .missing
                .iter()
                .filter_map(|digest| Some((*digest, *lengths.get(digest)?))),
        );
    }
    Ok(missing)
}

/// Hands missing chunks from the packer to the senders; waits when they are busy.
struct Feed {
    missing: HashMap<Digest, u64>,
    sender: mpsc::Sender<StoredChunk>,
}

impl ChunkSink for Feed {
    fn chunk(&mut self, chunk: BorrowedChunk<'_>) -> io::Result<()> {
        if self.missing.remove(&chunk.reference().digest).is_none() {
            return Ok(());
        }
        let stored = StoredChunk::encode(&chunk.to_chunk());
        self.sender
            .blocking_send(stored)
            .map_err(|_| io::Error::other("the upload was given up"))
    }
}

/// Sends the missing chunks, several at once, and returns how many bytes were sent.
async fn send(
    session: &Session,
    folder: &Path,
    selection: &Arc<HashSet<Vec<u8>>>,
    missing: HashMap<Digest, u64>,
) -> Result<u64, Failure> {
    if missing.is_empty() {
        return Ok(0);
    }
    let total = missing.values().sum();
    let bar = indicatif::ProgressBar::new(total);
    if let Ok(style) =
        indicatif::ProgressStyle::with_template("  uploading the source [{bar:24}] {bytes}/{total_bytes} {eta}")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    let (sender, receiver) = mpsc::channel(1);
    let mut feed = Feed { missing, sender };
    let (folder, selection): (PathBuf, _) = (folder.to_owned(), Arc::clone(selection));
    let packer = blocking(move || pack(&folder, &selection, &mut feed).map(|_| feed.missing.len()));
    let uploads = tokio_stream::wrappers::ReceiverStream::new(receiver)
        .map(|stored| send_chunk(session, stored, &bar))
        .buffer_unordered(CHUNKS_AT_ONCE)
        .fold(Ok(0), |sum: Result<u64, Failure>, sent| async { Ok(sum? + sent?) });
    let (packed, sent) = tokio::join!(packer, uploads);
    bar.finish_and_clear();
    let sent = sent?;
    match packed?? {
        0 => Ok(sent),
        _ => Err(Failure::new(ExitCode::Failed, "the folder changed while it was uploaded").hint("try again")),
    }
}

async fn send_chunk(session: &Session, stored: StoredChunk, bar: &indicatif::ProgressBar) -> Result<u64, Failure> {
    let reference = stored.reference();
    let path = path::source_chunk(&session.project, &reference.digest);
    let request = session.client.request(Method::PUT, &path)?;
    let length = stored.stored_length() as u64;
    session
        .client
        .send(
            request
                .header(CONTENT_TYPE, "application/octet-stream")
                .body(stored.to_bytes()),
        )
        .await?;
    bar.inc(u64::from(reference.length));
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignore_files_and_git_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (name, text) in [
            (".gitignore", "/target\n*.log\n"),
            (IGNORE_FILE, "secret\n"),
            (".git/HEAD", "ref"),
            (".ci/run", "x"),
            ("target/debug/a", "x"),
            ("src/main.rs", "x"),
            ("src/a.log", "x"),
            ("secret/key", "x"),
        ] {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::write(root.join(name), text).unwrap();
        }
        let selection = select(root).unwrap();
        let (manifest, chunks) = survey(root, &selection).unwrap();
        let paths: Vec<_> = manifest
            .entries()
            .map(|entry| String::from_utf8_lossy(&entry.path).into_owned())
            .collect();
        assert_eq!(
            paths,
            [".ci", ".ci/run", ".gitignore", IGNORE_FILE, "src", "src/main.rs"]
        );
        assert_eq!(chunks.len(), 1);
    }

    #[test]
    fn a_link_that_leads_out_of_the_source_is_refused_unless_it_is_excluded() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir(root.join("sub")).unwrap();
        std::fs::write(root.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("../file", root.join("sub/inside")).unwrap();
        survey(root, &select(root).unwrap()).unwrap();
        std::os::unix::fs::symlink("../../secret", root.join("sub/outside")).unwrap();
        let refused = survey(root, &select(root).unwrap()).unwrap_err();
        assert_eq!(refused.code, ExitCode::Usage);
        for part in ["`sub/outside`", "`../../secret`"] {
            assert!(refused.message.contains(part), "{}", refused.message);
        }
        assert!(refused.hint.unwrap().contains(IGNORE_FILE));
        std::fs::write(root.join(IGNORE_FILE), "outside\n").unwrap();
        survey(root, &select(root).unwrap()).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        assert!(
            select(Path::new("/does/not/exist"))
                .unwrap_err()
                .message
                .contains("/does/not/exist")
        );
    }
}
