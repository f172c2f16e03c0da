//! Which entries of an artifact are unpacked.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tombolo_core::pattern::{InvalidPattern, Patterns};

use super::Error;
use crate::manifest::{EntryKind, Manifest};

/// Which entries of an artifact are unpacked; all of them by default.
#[derive(Debug, Clone, Default)]
pub struct Selection(Option<Patterns>);

impl Selection {
    /// Everything.
    pub const ALL: Self = Self(None);

    /// What matches one of the patterns, with all that is in folders that do; everything if there are no patterns.
    ///
    /// # Errors
    /// If one of them is no pattern.
    pub fn of(patterns: &[String]) -> Result<Self, InvalidPattern> {
        Ok(match patterns {
            [] => Self::ALL,
            patterns => Self(Some(Patterns::new(patterns)?)),
        })
    }

    /// For each entry of the manifest whether it is unpacked; none if all are. A pattern that matches nothing is an error: what
    /// somebody asks for is not silently missing.
    pub(super) fn choose(&self, manifest: &Manifest) -> Result<Option<Vec<bool>>, Error> {
        let Some(patterns) = &self.0 else {
            return Ok(None);
        };
        let mut chosen = vec![false; manifest.entry_count() as usize];
        let mut met = vec![false; patterns.texts().len()];
        // The folders that the present entry lies in, and whether all that is in them is chosen.
        let mut folders: Vec<(usize, bool)> = Vec::new();
        for (index, entry) in manifest.entries().enumerate() {
            folders.truncate(entry.depth);
            let matches = patterns.matches(Path::new(OsStr::from_bytes(&entry.path)));
            for pattern in &matches {
                met[*pattern] = true;
            }
            let whole = folders.last().is_some_and(|(_, whole)| *whole) || !matches.is_empty();
            if whole {
                chosen[index] = true;
                folders.iter().for_each(|(folder, _)| chosen[*folder] = true);
            }
            if matches!(entry.kind, EntryKind::Directory { .. }) {
                folders.push((index, whole));
            }
        }
        match met.iter().position(|met| !met) {
            Some(pattern) => Err(Error::NothingMatches(patterns.texts()[pattern].clone())),
            None => Ok(Some(chosen)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::chunk::{Chunk, ChunkReference};
    use crate::pack::tests::{Memory, noise};
    use crate::pack::{PackLimits, pack};
    use crate::unpack::{ChunkFeed, UnpackOptions, unpack};

    struct Feed(std::vec::IntoIter<Chunk>);

    impl ChunkFeed for Feed {
        fn next_chunk(&mut self, _: ChunkReference) -> io::Result<Chunk> {
            self.0.next().ok_or_else(|| io::Error::other("no more chunks"))
        }
    }

    /// The files under `folder`, each with its size.
    fn files(folder: &Path, within: &str, found: &mut Vec<String>) {
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = format!("{within}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => {
                    found.push(format!("{path}/"));
                    files(&entry.path(), &format!("{path}/"), found);
                }
                false => found.push(format!("{path} {}", entry.metadata().unwrap().len())),
            }
        }
    }

    #[test]
    fn only_what_matches_is_unpacked_with_the_folders_that_it_lies_in() {
        let parent = tempfile::tempdir().unwrap();
        let source = parent.path().join("source");
        for folder in ["dist/deep", "logs", "empty"] {
            fs::create_dir_all(source.join(folder)).unwrap();
        }
        // Large enough for several chunks each, so that what is left out has to be passed over.
        for (name, size) in [
            ("dist/a.js", 6 << 20),
            ("dist/deep/b.js", 3),
            ("logs/x.txt", 7 << 20),
            ("top.txt", 5),
        ] {
            fs::write(source.join(name), noise(size as u64, size)).unwrap();
        }
        let mut memory = Memory::default();
        let manifest = pack(&source, PackLimits::default(), &mut memory).unwrap();
        let into = parent.path().join("into");
        for (patterns, expected) in [
            (&["top.txt"][..], &["top.txt 5"][..]),
            (
                &["dist"],
                &["dist/", "dist/a.js 6291456", "dist/deep/", "dist/deep/b.js 3"],
            ),
            (&["**/b.js"], &["dist/", "dist/deep/", "dist/deep/b.js 3"]),
            (&["dist/*.js", "empty"], &["dist/", "dist/a.js 6291456", "empty/"]),
            (&["**/*.txt"], &["logs/", "logs/x.txt 7340032", "top.txt 5"]),
        ] {
            let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
            let options = UnpackOptions {
                select: Selection::of(&patterns).unwrap(),
                ..UnpackOptions::default()
            };
            unpack(&manifest, &mut Feed(memory.0.clone().into_iter()), &into, options).unwrap();
            let mut found = Vec::new();
            files(&into, "", &mut found);
            assert_eq!(found, expected, "{patterns:?}");
            let is_whole = |name: &str| {
                fs::read(into.join(name))
                    .ok()
                    .is_none_or(|bytes| bytes == fs::read(source.join(name)).unwrap())
            };
            assert!(is_whole("dist/a.js") && is_whole("logs/x.txt"));
            crate::remove_tree(&into).unwrap();
        }
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error_and_leaves_nothing_behind() {
        let parent = tempfile::tempdir().unwrap();
        let source = parent.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("a"), "a").unwrap();
        let mut memory = Memory::default();
        let manifest = pack(&source, PackLimits::default(), &mut memory).unwrap();
        let options = UnpackOptions {
            select: Selection::of(&["a".to_owned(), "dist/**".to_owned()]).unwrap(),
            ..UnpackOptions::default()
        };
        let into = parent.path().join("into");
        let error = unpack(&manifest, &mut Feed(memory.0.into_iter()), &into, options).unwrap_err();
        assert_eq!(error.to_string(), "nothing in it matches `dist/**`");
        assert!(!into.exists());
    }
}
