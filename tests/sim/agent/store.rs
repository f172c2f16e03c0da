//! A model of a cluster's store: outputs are lists of chunks that others may have as well, sweeps mark what goes, and faults hurt what is there.
//!
//! What is in an output is in its digest: the same chunks are the same output, as in the product.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tombolo_core::digest::Digest;
use tombolo_core::id::AttemptId;

/// The most chunks of an output.
const MOST_CHUNKS: usize = 3;
/// The bytes of a digest that say which chunk it is.
const CHUNK_BYTES: usize = 8;
/// How many chunks there are that commands make again and again.
const COMMON: u64 = 6;
/// The bytes of a chunk.
const CHUNK_LENGTH: u64 = 10;

/// Some bytes of outputs, by their content.
pub(crate) type Chunk = u64;

/// What is in an output.
pub(crate) fn chunks_of(manifest: Digest) -> impl Iterator<Item = Chunk> {
    let bytes = *manifest.as_bytes();
    let count = usize::from(bytes[0]).min(MOST_CHUNKS);
    (0..count).map(move |place| {
        let mut chunk = [0; CHUNK_BYTES];
        chunk.copy_from_slice(&bytes[1 + place * CHUNK_BYTES..1 + (place + 1) * CHUNK_BYTES]);
        Chunk::from_be_bytes(chunk)
    })
}

/// How large an output is.
pub(crate) fn bytes_of(manifest: Digest) -> u64 {
    chunks_of(manifest).count() as u64 * CHUNK_LENGTH
}

/// An output of these chunks.
fn output_of(chunks: &[Chunk]) -> Digest {
    let mut bytes = [0; 32];
    bytes[0] = u8::try_from(chunks.len()).unwrap_or(u8::MAX);
    for (chunk, place) in chunks.iter().zip(bytes[1..].chunks_mut(CHUNK_BYTES)) {
        place.copy_from_slice(&chunk.to_be_bytes());
    }
    Digest::new(bytes)
}

/// What came instead of an output, if nobody looked whether it is whole.
pub(crate) fn damaged(manifest: Digest) -> Digest {
    let mut bytes = *manifest.as_bytes();
    bytes[31] ^= 1;
    Digest::new(bytes)
}

/// What a command leaves: mostly something of its own, and now and then nothing that others have not left. `own` is a number that no
/// other output has.
pub(crate) fn draw_output(rng: &mut ChaCha8Rng, own: u64) -> Digest {
    let mut chunks: Vec<Chunk> = (0..rng.random_range(0..MOST_CHUNKS))
        .map(|_| rng.random_range(0..COMMON))
        .collect();
    chunks.sort_unstable();
    chunks.dedup();
    if chunks.is_empty() || rng.random_bool(0.8) {
        chunks.push(COMMON + own);
    }
    output_of(&chunks)
}

/// What is there of a chunk. The latest object counts for uploads, unless it is condemned; readers take whichever is whole.
#[derive(Debug, Clone, Copy, Default)]
struct Objects {
    /// The one that is not condemned.
    latest: Option<State>,
    /// The one that is.
    condemned: Option<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// Nobody has noticed yet.
    Damaged,
}

/// Who looks for things and writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Upload {
    Attempt(AttemptId),
    /// Somebody else who is there for a moment.
    Ahead(Digest),
}

/// How far the sweep is, as the store has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Settled,
    Condemning,
    Settling,
}

/// How the store behaves, until when, in the time of the world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Fair,
    /// It carries nothing out.
    Refuses(Duration),
    /// It carries writes out and says that it could not.
    Lies(Duration),
    /// It takes its time.
    Dawdles(Duration),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    /// Whether each is condemned.
    manifests: BTreeMap<Digest, bool>,
    chunks: BTreeMap<Chunk, Objects>,
    /// In which round each began.
    pub(super) uploads: BTreeMap<Upload, u64>,
    pub(super) round: u64,
    pub(super) stage: Stage,
    mood: Mood,
    /// Chunks that a fault has hurt since they were last written.
    hurt: BTreeSet<Chunk>,
    /// Uploads that were under way when all was lost: nothing says any more that they are.
    forgotten: BTreeSet<Upload>,
    /// Outputs that were here, and that faults have hurt or sweeps have taken.
    suffered: BTreeSet<Digest>,
}

/// What came of a sweep.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// Outputs that are deleted.
    pub(super) deleted: Vec<Digest>,
    /// Outputs that were whole before, are to stay, and are not whole any more.
    pub(super) broken: Vec<Digest>,
}

impl Store {
    pub(crate) const fn set_mood(&mut self, mood: Mood) {
        self.mood = mood;
    }

    pub(crate) fn mood(&self, now: Duration) -> Mood {
        match self.mood {
            Mood::Refuses(until) | Mood::Lies(until) | Mood::Dawdles(until) if until <= now => Mood::Fair,
            mood => mood,
        }
    }

    pub(crate) fn refuses(&self, now: Duration) -> bool {
        matches!(self.mood(now), Mood::Refuses(_))
    }

    /// Whether all of an output is there, as it should be.
    pub(crate) fn has_whole(&self, manifest: Digest) -> bool {
        self.manifests.contains_key(&manifest) && chunks_of(manifest).all(|chunk| self.can_read(chunk))
    }

    pub(crate) fn has_manifest(&self, manifest: Digest) -> bool {
        self.manifests.contains_key(&manifest)
    }

    pub(crate) fn manifests(&self) -> impl Iterator<Item = Digest> {
        self.manifests.keys().copied()
    }

    /// Whether an output is here, or was until a fault hurt it or a sweep took it.
    pub(crate) fn had(&self, manifest: Digest) -> bool {
        self.has_manifest(manifest) || self.suffered.contains(&manifest)
    }

    fn can_read(&self, chunk: Chunk) -> bool {
        let objects = self.chunks.get(&chunk).copied().unwrap_or_default();
        [objects.latest, objects.condemned].contains(&Some(State::Whole))
    }

    /// Reads a chunk, and puts aside what turns out to be damaged. Whether anything was whole; and whether damage was found.
    pub(super) fn read(&mut self, chunk: Chunk) -> (bool, bool) {
        let Some(objects) = self.chunks.get_mut(&chunk) else {
            return (false, false);
        };
        let mut found = false;
        for object in [&mut objects.latest, &mut objects.condemned] {
            if *object == Some(State::Damaged) {
                *object = None;
                found = true;
            }
        }
        let is_whole = objects.latest.is_some() || objects.condemned.is_some();
        if !is_whole {
            self.chunks.remove(&chunk);
        }
        (is_whole, found)
    }

    /// Whether an upload takes a chunk for there: it does not look what is in it.
    pub(super) fn relies_on(&self, chunk: Chunk) -> bool {
        self.chunks.get(&chunk).is_some_and(|objects| objects.latest.is_some())
    }

    /// Whether there is nothing of a chunk that is not condemned, and something that is.
    pub(super) fn is_condemned_only(&self, chunk: Chunk) -> bool {
        let objects = self.chunks.get(&chunk);
        objects.is_some_and(|objects| objects.latest.is_none() && objects.condemned.is_some())
    }

    /// An upload writes a chunk, if it is not there.
    pub(super) fn write(&mut self, chunk: Chunk) {
        let objects = self.chunks.entry(chunk).or_default();
        if objects.latest.is_none() {
            objects.latest = Some(State::Whole);
            self.hurt.remove(&chunk);
        }
    }

    /// Writes a manifest, last of all: it counts, whatever was condemned. Whether all that it lists is there; if not, whether faults explain that.
    pub(super) fn write_manifest(&mut self, manifest: Digest, upload: Upload) -> Result<(), bool> {
        self.manifests.insert(manifest, false);
        let is_forgotten = self.forgotten.contains(&upload);
        if is_forgotten {
            // A sweep does not know that somebody counts on it.
            self.suffered.insert(manifest);
        }
        let mut lacking = chunks_of(manifest).filter(|chunk| !self.can_read(*chunk)).peekable();
        match lacking.peek() {
            None => Ok(()),
            Some(_) => Err(is_forgotten || lacking.all(|chunk| self.hurt.contains(&chunk))),
        }
    }

    pub(super) fn begin_upload(&mut self, upload: Upload) {
        self.uploads.entry(upload).or_insert(self.round);
    }

    /// All is lost, what uploads have noted as well.
    pub(crate) fn clear(&mut self) {
        let hurt = self.chunks.keys().copied().collect();
        let mut forgotten = std::mem::take(&mut self.forgotten);
        forgotten.extend(self.uploads.keys());
        let mut suffered = std::mem::take(&mut self.suffered);
        suffered.extend(self.manifests.keys());
        *self = Self {
            mood: self.mood,
            hurt,
            suffered,
            forgotten,
            ..Self::default()
        };
    }

    /// Somebody takes one output away, or one of its chunks. Says which outputs are not whole any more.
    pub(crate) fn lose(&mut self, rng: &mut ChaCha8Rng) -> Vec<Digest> {
        let before = self.whole();
        let Some(manifest) = pick(rng, self.manifests.keys().copied()) else {
            return Vec::new();
        };
        match pick(rng, chunks_of(manifest)).filter(|_| rng.random_bool(0.5)) {
            Some(chunk) => {
                self.chunks.remove(&chunk);
                self.hurt.insert(chunk);
            }
            None => {
                self.manifests.remove(&manifest);
                // It may not have been whole before.
                self.suffered.insert(manifest);
            }
        }
        self.no_longer_whole(before)
    }

    /// Bytes of a chunk are not what they were. Says which outputs are not whole any more.
    pub(crate) fn damage(&mut self, rng: &mut ChaCha8Rng) -> Vec<Digest> {
        let before = self.whole();
        let Some(chunk) = pick(rng, self.chunks.keys().copied()) else {
            return Vec::new();
        };
        if let Some(objects) = self.chunks.get_mut(&chunk) {
            for object in [&mut objects.latest, &mut objects.condemned] {
                *object = object.map(|_| State::Damaged);
            }
            self.hurt.insert(chunk);
        }
        self.no_longer_whole(before)
    }

    fn whole(&self) -> BTreeSet<Digest> {
        let all = self.manifests.keys().copied();
        all.filter(|manifest| self.has_whole(*manifest)).collect()
    }

    fn no_longer_whole(&mut self, before: BTreeSet<Digest>) -> Vec<Digest> {
        let hurt = before.into_iter().filter(|manifest| !self.has_whole(*manifest));
        let hurt: Vec<Digest> = hurt.collect();
        self.suffered.extend(&hurt);
        hurt
    }

    /// The manifests that a sweep asks about: all, or those that are condemned.
    pub(super) fn asked_about(&self, condemned_only: bool) -> Vec<Digest> {
        let asked = self
            .manifests
            .iter()
            .filter(|(_, condemned)| **condemned || !condemned_only);
        asked.map(|(manifest, _)| *manifest).collect()
    }

    /// The first half of a sweep: marks what nobody keeps, and chunks that nothing lists which somebody does.
    pub(super) fn condemn(&mut self, others: &BTreeSet<Digest>, asked: &[Digest]) {
        for manifest in others {
            if let Some(condemned) = self.manifests.get_mut(manifest) {
                *condemned = true;
            }
        }
        let kept = asked.iter().filter(|manifest| !others.contains(manifest));
        let listed: BTreeSet<Chunk> = kept.flat_map(|manifest| chunks_of(*manifest)).collect();
        for (_, objects) in self.chunks.iter_mut().filter(|(chunk, _)| !listed.contains(chunk)) {
            if let Some(latest) = objects.latest.take() {
                objects.condemned = Some(latest);
            }
        }
    }

    /// The second half: deletes what is condemned, but for what is kept or listed by now.
    pub(super) fn settle(&mut self, kept: &BTreeSet<Digest>, asked: &[Digest]) -> Swept {
        let before = self.whole();
        let mut swept = Swept::default();
        for manifest in asked {
            let Some(condemned) = self.manifests.get_mut(manifest) else {
                continue;
            };
            if kept.contains(manifest) {
                *condemned = false;
            } else if *condemned {
                self.manifests.remove(manifest);
                // Whether it may go is judged by what was promised of it.
                self.suffered.insert(*manifest);
                swept.deleted.push(*manifest);
            }
        }
        let listed: BTreeSet<Chunk> = self
            .manifests
            .keys()
            .flat_map(|manifest| chunks_of(*manifest))
            .collect();
        self.chunks.retain(|chunk, objects| {
            if let Some(condemned) = objects.condemned.take()
                && listed.contains(chunk)
            {
                objects.latest = objects
                    .latest
                    .filter(|latest| *latest == State::Whole)
                    .or(Some(condemned));
            }
            objects.latest.is_some()
        });
        let remain = before
            .into_iter()
            .filter(|manifest| self.manifests.contains_key(manifest));
        swept.broken = remain.filter(|manifest| !self.has_whole(*manifest)).collect();
        swept
    }

    /// How many chunks no manifest lists.
    pub(crate) fn unlisted(&self) -> usize {
        let listed: BTreeSet<Chunk> = self
            .manifests
            .keys()
            .flat_map(|manifest| chunks_of(*manifest))
            .collect();
        self.chunks.keys().filter(|chunk| !listed.contains(chunk)).count()
    }
}

fn pick<T>(rng: &mut ChaCha8Rng, all: impl Iterator<Item = T>) -> Option<T> {
    let mut all: Vec<T> = all.collect();
    (!all.is_empty()).then(|| all.swap_remove(rng.random_range(0..all.len())))
}
