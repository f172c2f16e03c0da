//! What to say of a path that an output does not have, or not as what was asked for.

use tombolo_api::problem::Code;
use tombolo_artifact::manifest::{EntryKind, Manifest};
use tombolo_artifact::{DisplayPath, Entry};

use super::query::invalid;
use super::{Error, FoundJob};

/// How many names are proposed.
const PROPOSED: usize = 3;
/// How many paths are compared letter by letter: some ten milliseconds.
const COMPARED: usize = 5_000;
/// Longer paths are not compared.
const COMPARED_BYTES: usize = 200;

/// There is no file to be read at `wanted`: why, and what there is instead.
pub(super) fn no_file(found: &FoundJob, manifest: &Manifest, wanted: &[u8]) -> Error {
    let (number, job, shown) = (found.build.number, &found.node.name, DisplayPath::new(wanted));
    let folder_hint = format!("`tombolo outputs get {number} {job} {shown}` downloads it");
    if wanted.is_empty() {
        return invalid("`path` does not say which file")
            .with_hint(format!("`tombolo outputs ls {number} {job}` lists the files"));
    }
    let (detail, hint) = match manifest.entry(wanted).map(|entry| entry.kind) {
        Some(EntryKind::Directory { .. }) => (
            format!("`{shown}` in the output of job `{job}` is a folder, not a file"),
            format!("{folder_hint}; `tombolo outputs ls {number} {job} {shown}` lists what is in it"),
        ),
        Some(EntryKind::Symlink { target }) => {
            let target = DisplayPath::new(target);
            (
                format!("`{shown}` in the output of job `{job}` is a symbolic link to `{target}`, not a file"),
                format!(
                    "name the file that it leads to; `tombolo outputs get {number} {job}` downloads links with all else"
                ),
            )
        }
        Some(EntryKind::File { .. }) | None => return missing(found, manifest, wanted),
    };
    Error::new(Code::NotFound, detail).with_hint(hint)
}

/// There is no folder at `wanted`.
pub(super) fn no_folder(found: &FoundJob, manifest: &Manifest, wanted: &[u8]) -> Error {
    if manifest.entry(wanted).is_none() {
        return missing(found, manifest, wanted);
    }
    let (number, job, shown) = (found.build.number, &found.node.name, DisplayPath::new(wanted));
    Error::new(
        Code::NotFound,
        format_args!("`{shown}` in the output of job `{job}` is not a folder"),
    )
    .with_hint(format!("`tombolo outputs cat {number} {job} {shown}` reads a file"))
}

/// There is nothing at `wanted`: names that are like it are proposed.
pub(super) fn missing(found: &FoundJob, manifest: &Manifest, wanted: &[u8]) -> Error {
    let (number, job, shown) = (found.build.number, &found.node.name, DisplayPath::new(wanted));
    let list = format!("`tombolo outputs ls {number} {job}` lists everything");
    let nearest: Vec<String> = nearest(manifest, wanted)
        .into_iter()
        .map(|path| format!("`{}`", DisplayPath::new(path)))
        .collect();
    let hint = if nearest.is_empty() {
        list
    } else {
        format!("did you mean {}? {list}", nearest.join(" or "))
    };
    Error::new(
        Code::NotFound,
        format_args!("the output of job `{job}` has nothing at `{shown}`"),
    )
    .with_hint(hint)
}

/// Those of the same name in other folders; if there are none, those whose paths differ least.
fn nearest(manifest: &Manifest, wanted: &[u8]) -> Vec<Vec<u8>> {
    let name = wanted.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let elsewhere: Vec<Vec<u8>> = manifest
        .entries()
        .filter(|entry| entry.name.eq_ignore_ascii_case(name))
        .map(|entry| entry.path)
        .take(PROPOSED)
        .collect();
    if !elsewhere.is_empty() {
        return elsewhere;
    }
    let bound = (wanted.len() / 3).clamp(1, 6);
    let is_near =
        |entry: &Entry<'_>| entry.path.len() <= COMPARED_BYTES && entry.path.len().abs_diff(wanted.len()) <= bound;
    let text = String::from_utf8_lossy(wanted);
    let mut near: Vec<(usize, Vec<u8>)> = manifest
        .entries()
        .filter(is_near)
        .take(COMPARED)
        .map(|entry| {
            (
                strsim::osa_distance(&text, &String::from_utf8_lossy(&entry.path)),
                entry.path,
            )
        })
        .filter(|(distance, _)| *distance <= bound)
        .collect();
    near.sort();
    near.truncate(PROPOSED);
    near.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use tombolo_artifact::{BorrowedChunk, ChunkSink, PackLimits, pack};

    use super::*;

    struct Nowhere;

    impl ChunkSink for Nowhere {
        fn chunk(&mut self, _: BorrowedChunk<'_>) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn names_that_are_like_it_are_proposed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["deep/report.txt", "deep/other/report.txt", "binary", "x"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let manifest = pack(folder.path(), PackLimits::default(), &mut Nowhere).unwrap();
        for (wanted, expected) in [
            ("report.txt", vec!["deep/other/report.txt", "deep/report.txt"]),
            ("Report.TXT", vec!["deep/other/report.txt", "deep/report.txt"]),
            ("binray", vec!["binary"]),
            ("deep/repotr.txt", vec!["deep/report.txt"]),
            ("something else", vec![]),
        ] {
            let expected: Vec<Vec<u8>> = expected.into_iter().map(|path| path.as_bytes().to_vec()).collect();
            assert_eq!(nearest(&manifest, wanted.as_bytes()), expected, "{wanted}");
        }
    }
}
