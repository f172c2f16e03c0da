//! What the agent of a cluster says, also in pods that are gone: a file that was opened can be read when it has been removed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::NAMESPACE;

/// All logs of the agent's containers, in one file.
pub(super) struct Journal {
    /// Where the node keeps the logs of its pods.
    pods: PathBuf,
    to: PathBuf,
    /// By device and number: names are used again.
    open: BTreeMap<(u64, u64), Log>,
}

struct Log {
    from: BufReader<File>,
    /// A line that has no end yet.
    begun: Vec<u8>,
}

impl Journal {
    pub(super) const fn new(pods: PathBuf, to: PathBuf) -> Self {
        Self {
            pods,
            to,
            open: BTreeMap::new(),
        }
    }

    /// Takes what has come.
    pub(super) fn follow(&mut self) -> std::io::Result<()> {
        let of_agent = format!("{NAMESPACE}_tombolo-agent-");
        for pod in entries(&self.pods) {
            let is_agent = pod
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&of_agent));
            for log in is_agent.then(|| entries(&pod.join("agent"))).into_iter().flatten() {
                // One that has gone meanwhile has said nothing yet that nobody has read.
                let Ok(file) = File::open(&log) else { continue };
                let facts = file.metadata()?;
                self.open.entry((facts.dev(), facts.ino())).or_insert_with(|| Log {
                    from: BufReader::new(file),
                    begun: Vec::new(),
                });
            }
        }
        let mut to = File::options().create(true).append(true).open(&self.to)?;
        for log in self.open.values_mut() {
            while log.from.read_until(b'\n', &mut log.begun)? > 0 && log.begun.ends_with(b"\n") {
                to.write_all(said(&log.begun))?;
                log.begun.clear();
            }
        }
        Ok(())
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// A line without what the node puts before it: time, stream, and whether it is whole.
fn said(line: &[u8]) -> &[u8] {
    line.splitn(4, |byte| *byte == b' ').nth(3).unwrap_or(line)
}
