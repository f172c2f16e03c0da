//! The pack with all objects of a commit: brought, checked, and made ready to be read.

use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix_hash::Kind;
use gix_pack::Bundle;
use gix_packetline::blocking_io::WithSidebands;

use super::failure::{Failure, out_of, through_reader, words};
use super::protocol::Session;
use super::refs::Wanted;

/// The most objects: each takes some memory until the pack is indexed.
const MAX_OBJECTS: u32 = 5_000_000;

/// The largest object, which is held in memory.
const MAX_OBJECT_BYTES: usize = 512 * 1024 * 1024;

/// Brings the pack into `folder`, and makes an index of it, by which every object is checked.
pub(super) fn fetch(
    session: &mut Session<'_>,
    wanted: &Wanted,
    folder: &Path,
    limit_bytes: u64,
) -> Result<Bundle, Failure> {
    let host = session.host();
    let id = wanted.id.to_string();
    let mut lines = match &wanted.tip {
        Some(tip) => session.fetch(tip, true),
        None => session.fetch(&id, false),
    }
    .map_err(|failure| match failure {
        // Each server has its own words for what it does not have.
        Failure::Refused { words, .. } if words.contains(&id) => Failure::NoCommit(id.clone()),
        failure => failure,
    })?;
    let mut said = None;
    let bands = WithSidebands::with_progress_handler(&mut lines, |is_error, text: &[u8]| {
        if is_error {
            said = Some(words(&String::from_utf8_lossy(text)));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    let mut pack = BufReader::new(Limited::new(bands, limit_bytes));
    let options = gix_pack::bundle::write::Options {
        thread_limit: Some(1),
        alloc_limit_bytes: Some(MAX_OBJECT_BYTES),
        ..Default::default()
    };
    let outcome = Bundle::write_to_directory(
        &mut pack,
        Some(folder),
        &mut gix_utils::progress::Discard,
        &AtomicBool::new(false),
        None::<gix_object::find::Never>,
        Kind::Sha1,
        options,
    );
    let limit = pack.get_mut().passed.take();
    drop(pack);
    let outcome = match (outcome, limit, said) {
        (_, _, Some(words)) if words.contains(&id) => return Err(Failure::NoCommit(id)),
        (_, _, Some(words)) => return Err(Failure::Refused { host, words }),
        (_, Some(failure), _) => return Err(failure),
        (Err(error), ..) => return Err(Failure::damaged(error)),
        (Ok(outcome), None, None) => outcome,
    };
    let index = outcome
        .index_path
        .ok_or_else(|| Failure::damaged("the pack is empty"))?;
    let bundle = Bundle::at(index, Kind::Sha1).map_err(Failure::damaged)?;
    if bundle.index.lookup(wanted.id).is_none() {
        return Err(Failure::NoCommit(id));
    }
    Ok(bundle)
}

/// A pack that may not be larger than it may.
struct Limited<R> {
    inner: R,
    read: u64,
    limit: u64,
    /// How many objects follow is said in its first twelve bytes.
    head: Vec<u8>,
    /// What was wrong with it: readers of readers lose the reason.
    passed: Option<Failure>,
}

impl<R> Limited<R> {
    const HEAD: usize = 12;

    const fn new(inner: R, limit: u64) -> Self {
        Self {
            inner,
            read: 0,
            limit,
            head: Vec::new(),
            passed: None,
        }
    }

    fn check(&mut self, bytes: &[u8]) -> Option<String> {
        self.read += bytes.len() as u64;
        if self.read > self.limit {
            let limit = bytesize::ByteSize::b(self.limit).display().si();
            return Some(format!(
                "more than {limit} come of it, and no more may (`outputs.size`)"
            ));
        }
        if self.head.len() < Self::HEAD {
            let missing = Self::HEAD - self.head.len();
            self.head.extend(bytes.iter().take(missing));
            // What is no pack at all the indexer says.
            let count = self
                .head
                .get(8..Self::HEAD)
                .filter(|_| self.head.starts_with(b"PACK"))?
                .try_into()
                .ok()
                .map(u32::from_be_bytes)?;
            return (count > MAX_OBJECTS).then(|| format!("it has {count} objects, and at most {MAX_OBJECTS} may be"));
        }
        None
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.inner.read(buffer) {
            Ok(count) => count,
            Err(error) => {
                // Not to be lost on the way through the indexer.
                let failure = out_of(error, Failure::Damaged);
                let told = io::Error::other(failure.to_string());
                self.passed = Some(failure);
                return Err(told);
            }
        };
        if let Some(words) = self.check(&buffer[..count]) {
            self.passed = Some(Failure::TooLarge(words.clone()));
            return Err(through_reader(Failure::TooLarge(words)));
        }
        Ok(count)
    }
}
