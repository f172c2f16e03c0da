//! The files of a commit, below one folder and nowhere else.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use gix_hash::{Kind, ObjectId};
use gix_object::tree::EntryKind;
use gix_object::{CommitRefIter, TagRefIter, TreeRefIter};
use gix_pack::Bundle;
use tombolo_artifact::links_out;

use super::failure::Failure;
use super::refs::Wanted;

/// The most files, folders and links.
const MAX_ENTRIES: u64 = 1_000_000;

/// How deep folders may lie in each other.
const MAX_DEPTH: usize = 256;

/// The longest target of a symbolic link, as systems have it.
const MAX_TARGET_BYTES: usize = 4096;

/// The most that the names and targets of symbolic links take in memory.
const MAX_LINK_BYTES: usize = 64 * 1024 * 1024;

/// How many tags may stand for tags.
const MAX_TAGS: usize = 8;

/// How many things that are left out are told one by one.
const MAX_NOTES: usize = 20;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// For the log: what was left out.
    pub(super) notes: Vec<String>,
}

/// Writes the files of a commit into `folder`, which is empty.
pub(super) fn check_out(bundle: &Bundle, wanted: &Wanted, folder: &Path, limit_bytes: u64) -> Result<Written, Failure> {
    let mut checkout = Checkout {
        bundle,
        inflate: gix_zlib::Inflate::default(),
        limit_bytes,
        entries: 0,
        written: Written::default(),
        links: Vec::new(),
        link_bytes: 0,
    };
    let tree = checkout.tree_of(wanted.id)?;
    checkout.take_tree(tree, folder, Path::new(""), 0)?;
    checkout.make_links(folder)?;
    Ok(checkout.written)
}

struct Checkout<'bundle> {
    bundle: &'bundle Bundle,
    inflate: gix_zlib::Inflate,
    limit_bytes: u64,
    entries: u64,
    written: Written,
    links: Vec<(PathBuf, PathBuf)>,
    /// What those take in memory.
    link_bytes: usize,
}

/// Something that a folder of the repository has.
struct Entry {
    name: PathBuf,
    kind: EntryKind,
    id: ObjectId,
}

impl Checkout<'_> {
    /// The files of a commit, or of what a tag stands for.
    fn tree_of(&mut self, mut id: ObjectId) -> Result<ObjectId, Failure> {
        for _ in 0..=MAX_TAGS {
            let (kind, data) = self.object(id)?;
            match kind {
                gix_object::Kind::Commit => {
                    let mut commit = CommitRefIter::from_bytes(&data, Kind::Sha1);
                    return commit.tree_id().map_err(Failure::damaged);
                }
                gix_object::Kind::Tag => {
                    id = TagRefIter::from_bytes(&data, Kind::Sha1)
                        .target_id()
                        .map_err(Failure::damaged)?;
                }
                gix_object::Kind::Tree | gix_object::Kind::Blob => break,
            }
        }
        Err(Failure::NoCommit(id.to_string()))
    }

    fn object(&mut self, id: ObjectId) -> Result<(gix_object::Kind, Vec<u8>), Failure> {
        let mut data = Vec::new();
        let found = self
            .bundle
            .find(&id, &mut data, &mut self.inflate, &mut gix_pack::cache::Never);
        let found = found.map_err(Failure::damaged)?;
        let kind = found.map(|(object, _)| object.kind);
        let kind = kind.ok_or_else(|| Failure::damaged(format!("the object {id} is missing")))?;
        Ok((kind, data))
    }

    fn take_tree(&mut self, id: ObjectId, root: &Path, below: &Path, depth: usize) -> Result<(), Failure> {
        if depth > MAX_DEPTH {
            let words = format!("its folders lie more than {MAX_DEPTH} deep in each other");
            return Err(Failure::TooLarge(words));
        }
        let (kind, data) = self.object(id)?;
        if kind != gix_object::Kind::Tree {
            return Err(Failure::damaged(format!("the object {id} is not a folder")));
        }
        let mut entries = Vec::new();
        for entry in TreeRefIter::from_bytes(&data, Kind::Sha1) {
            self.count()?;
            let entry = entry.map_err(Failure::damaged)?;
            entries.push(Entry {
                name: below.join(checked(entry.filename)?),
                kind: entry.mode.kind(),
                id: entry.oid.to_owned(),
            });
        }
        drop(data);
        for entry in entries {
            self.take(entry, root, depth)?;
        }
        Ok(())
    }

    fn take(&mut self, entry: Entry, root: &Path, depth: usize) -> Result<(), Failure> {
        let Entry { name, kind, id } = entry;
        let path = root.join(&name);
        match kind {
            EntryKind::Tree => {
                fs::create_dir(&path).map_err(|error| unwritten(&name, &error))?;
                self.take_tree(id, root, &name, depth + 1)
            }
            EntryKind::Blob => self.write(id, &path, &name, 0o644),
            EntryKind::BlobExecutable => self.write(id, &path, &name, 0o755),
            EntryKind::Link => {
                let data = self.blob(id)?;
                let target = Path::new(OsStr::from_bytes(&data));
                if data.len() > MAX_TARGET_BYTES {
                    self.note(format!(
                        "the symbolic link `{}` is longer than a path may be, and is left out",
                        name.display()
                    ));
                } else {
                    self.keep_link(name, target)?;
                }
                Ok(())
            }
            EntryKind::Commit => {
                self.note(format!(
                    "the submodule `{}` is not cloned: its folder is empty",
                    name.display()
                ));
                fs::create_dir(&path).map_err(|error| unwritten(&name, &error))
            }
        }
    }

    /// Links are made when everything else is there.
    fn keep_link(&mut self, name: PathBuf, target: &Path) -> Result<(), Failure> {
        self.link_bytes += target.as_os_str().len() + name.as_os_str().len();
        if self.link_bytes > MAX_LINK_BYTES {
            return Err(Failure::TooLarge("it has too many symbolic links".to_owned()));
        }
        self.links.push((name, target.to_owned()));
        Ok(())
    }

    /// After all else, so that nothing is written through one of them. Links may lead out together that do not alone.
    fn make_links(&mut self, folder: &Path) -> Result<(), Failure> {
        let links = std::mem::take(&mut self.links);
        let pairs = links
            .iter()
            .map(|(path, target)| (path.as_os_str().as_bytes(), target.as_os_str().as_bytes()));
        let out = links_out(pairs).map_err(Failure::damaged)?;
        for (path, target) in links {
            if out.contains(path.as_os_str().as_bytes()) || target.as_os_str().is_empty() {
                self.note(format!(
                    "the symbolic link `{}` leads out of the repository, and is left out",
                    path.display()
                ));
            } else {
                symlink(&target, folder.join(&path)).map_err(|error| unwritten(&path, &error))?;
            }
        }
        Ok(())
    }

    fn write(&mut self, id: ObjectId, path: &Path, name: &Path, mode: u32) -> Result<(), Failure> {
        let data = self.blob(id)?;
        let mut options = File::options();
        let opened = options.write(true).create_new(true).mode(mode).open(path);
        let written = opened.and_then(|mut file| file.write_all(&data));
        written.map_err(|error| unwritten(name, &error))?;
        self.written.files += 1;
        Ok(())
    }

    fn blob(&mut self, id: ObjectId) -> Result<Vec<u8>, Failure> {
        let (kind, data) = self.object(id)?;
        if kind != gix_object::Kind::Blob {
            return Err(Failure::damaged(format!("the object {id} is not a file")));
        }
        self.written.bytes += data.len() as u64;
        if self.written.bytes > self.limit_bytes {
            let limit = bytesize::ByteSize::b(self.limit_bytes).display().si();
            let words = format!("its files have more than {limit}, and no more may be (`outputs.size`)");
            return Err(Failure::TooLarge(words));
        }
        Ok(data)
    }

    fn count(&mut self) -> Result<(), Failure> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            let words = format!("it has more than {MAX_ENTRIES} files and folders");
            return Err(Failure::TooLarge(words));
        }
        Ok(())
    }

    fn note(&mut self, note: String) {
        match self.written.notes.len() {
            count if count < MAX_NOTES => self.written.notes.push(note),
            MAX_NOTES => self.written.notes.push("more is left out like this".to_owned()),
            _ => {}
        }
    }
}

/// A name within a folder, if it is nothing more than that.
fn checked(name: &[u8]) -> Result<&Path, Failure> {
    let is_plain = !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0));
    // Nobody's git is to take orders from what was cloned.
    if !is_plain || name.eq_ignore_ascii_case(b".git") {
        let name = String::from_utf8_lossy(name);
        return Err(Failure::damaged(format!(
            "it has something called `{name}`, which nothing may be called"
        )));
    }
    Ok(Path::new(OsStr::from_bytes(name)))
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        // Two of the same name in one folder: git never writes that.
        std::io::ErrorKind::AlreadyExists => Failure::damaged(format!("it has `{}` twice", path.display())),
        _ => Failure::System {
            action: "write a file of the repository",
            source: std::io::Error::new(error.kind(), format!("{}: {error}", path.display())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_and_nothing_else() {
        for name in ["a", "..a", ".gitignore", "a b"] {
            assert!(checked(name.as_bytes()).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a/b", "/", ".git", ".GIT", "a\0"] {
            assert!(checked(name.as_bytes()).is_err(), "{name:?}");
        }
    }
}
