//! Writes the history down as it happens.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;

use crate::judge::history::{Entry, Fact};

/// The history so far, in memory and in a file.
pub(crate) struct Recorder {
    began: Instant,
    /// The same moment by the clock of commands.
    pub(crate) began_seconds: f64,
    written: Mutex<(BufWriter<File>, Vec<Entry>)>,
}

impl Recorder {
    pub(crate) fn begin(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let uptime = std::fs::read_to_string("/proc/uptime")?;
        let seconds = uptime.split(' ').next().context("an uptime")?;
        Ok(Self {
            began: Instant::now(),
            began_seconds: seconds.parse()?,
            written: Mutex::new((BufWriter::new(file), Vec::new())),
        })
    }

    /// Milliseconds since the begin.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// This happens now.
    pub(crate) fn note(&self, fact: Fact) {
        self.note_all([Entry { at: self.now(), fact }]);
    }

    /// This has happened.
    pub(crate) fn note_all(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, history) = &mut *written;
        for entry in entries {
            // A disk without room shows when the file is read.
            let _ = serde_json::to_writer(&mut *file, &entry);
            let _ = file.write_all(b"\n");
            history.push(entry);
        }
        let _ = file.flush();
    }

    /// All of it, in the order of time.
    pub(crate) fn history(&self) -> Vec<Entry> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut history = written.1.clone();
        history.sort_by_key(|entry| entry.at);
        history
    }
}
