//! Whether a symbolic link leads out of the artifact, alone or together with others.

use std::collections::{BTreeSet, HashMap};

use super::Error;
use crate::manifest::{EntryKind, Manifest};
use crate::path::DisplayPath;

/// How many links the kernel follows in one path; further ones cannot be reached.
const MAXIMUM_FOLLOWED: usize = 40;
/// How much is looked up for all links together, in bytes of paths and [`LOOKUP_BYTES`] for each. 100,000 links of five steps
/// and 100 bytes take a third of it; hostile ones that refer to each other end here, within a second.
const MAXIMUM_LOOKED_UP_BYTES: usize = 256 << 20;
/// What a look-up costs beside the bytes of its path.
const LOOKUP_BYTES: usize = 64;

/// Follows every link of the manifest as the kernel would (and a bit further: names that do not exist are taken for folders,
/// because they may be made later).
pub(super) fn check(manifest: &Manifest) -> Result<(), Error> {
    let links: HashMap<Vec<u8>, &[u8]> = manifest
        .entries()
        .filter_map(|entry| match entry.kind {
            EntryKind::Symlink { target } => Some((entry.path, target)),
            EntryKind::Directory { .. } | EntryKind::File { .. } => None,
        })
        .collect();
    let mut follower = Follower {
        links: &links,
        looked_up: 0,
    };
    for entry in manifest.entries() {
        let EntryKind::Symlink { target } = entry.kind else {
            continue;
        };
        let path = || DisplayPath::new(entry.path.as_slice());
        match follower.follow(&entry.path, target) {
            Verdict::Inside => {}
            Verdict::Outside => {
                return Err(Error::Link {
                    path: path(),
                    target: DisplayPath::new(target),
                });
            }
            Verdict::TooLong => return Err(Error::Tangled { path: path() }),
        }
    }
    Ok(())
}

/// The paths of those among these symbolic links (paths and targets) that lead out of the folder which has them, alone or together with others.
///
/// # Errors
/// If that takes too long to find out.
pub fn links_out<'a>(links: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<BTreeSet<Vec<u8>>, Error> {
    let links: HashMap<Vec<u8>, &[u8]> = links
        .into_iter()
        .map(|(path, target)| (path.to_vec(), target))
        .collect();
    let mut follower = Follower {
        links: &links,
        looked_up: 0,
    };
    let mut out = BTreeSet::new();
    for (path, target) in &links {
        match follower.follow(path, target) {
            Verdict::Inside => {}
            Verdict::Outside => drop(out.insert(path.clone())),
            Verdict::TooLong => {
                let path = DisplayPath::new(path.as_slice());
                return Err(Error::Tangled { path });
            }
        }
    }
    Ok(out)
}

enum Verdict {
    Inside,
    Outside,
    TooLong,
}

struct Follower<'a> {
    links: &'a HashMap<Vec<u8>, &'a [u8]>,
    looked_up: usize,
}

impl<'a> Follower<'a> {
    fn follow(&mut self, link: &[u8], target: &'a [u8]) -> Verdict {
        // Where we are, as a path without a final slash; empty at the top.
        let mut here = parent(link).to_vec();
        let mut followed = 1;
        let mut ahead: Vec<&[u8]> = Vec::new();
        if !push(&mut ahead, target) {
            return Verdict::Outside;
        }
        while let Some(name) = ahead.pop() {
            match name {
                b"" | b"." => continue,
                b".." if here.is_empty() => return Verdict::Outside,
                b".." => here.truncate(parent(&here).len()),
                _ => {
                    let length = here.len();
                    if length > 0 {
                        here.push(b'/');
                    }
                    here.extend_from_slice(name);
                    self.looked_up += here.len() + LOOKUP_BYTES;
                    if self.looked_up > MAXIMUM_LOOKED_UP_BYTES {
                        return Verdict::TooLong;
                    }
                    if let Some(next) = self.links.get(&here) {
                        here.truncate(length);
                        followed += 1;
                        if followed > MAXIMUM_FOLLOWED {
                            return Verdict::Inside;
                        }
                        if !push(&mut ahead, next) {
                            return Verdict::Outside;
                        }
                    }
                }
            }
        }
        Verdict::Inside
    }
}

/// Puts a target's names on top of those that are still ahead; false if it is absolute.
fn push<'a>(ahead: &mut Vec<&'a [u8]>, target: &'a [u8]) -> bool {
    ahead.extend(target.split(|byte| *byte == b'/').rev());
    !target.starts_with(b"/")
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|byte| *byte == b'/')
        .map_or(&[], |slash| &path[..slash])
}
