//! How outputs come into a cluster's store and out of it, and what becomes of attempts if the store does not carry out what they want.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use tombolo_core::attempt::{InputReference, LostInput, Phase};
use tombolo_core::build::TerminalState;
use tombolo_core::digest::Digest;
use tombolo_core::id::AttemptId;
use tombolo_core::name::ClusterName;
use tombolo_tests::history::Fact;

use super::executor::outcome_of;
use super::store::{self, Chunk, Mood, Upload, chunks_of};
use super::{Exit, Step};
use crate::world::{Bug, World};

/// How long a store is given that does not carry out what it is asked: the product waits longer, and worlds are shorter.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often an output is brought again that turns out to be damaged.
const TIMES: u32 = 8;

/// What came of something that an attempt wants of its cluster's store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Done,
    /// It is asked again.
    Failed,
    /// It was asked for long enough.
    GivenUp,
}

impl World {
    /// The next step of an attempt, when the store is done with the one before.
    pub(super) fn after_store(&mut self, index: usize, step: Step) {
        let now = self.schedule.now();
        match self.agents[index].store.mood(now) {
            Mood::Dawdles(_) => self.later(index, PATIENCE, step),
            _ => self.soon(index, step),
        }
    }

    /// What a store says that was to write something, and has done so unless it refuses.
    fn ask_store(&mut self, index: usize, attempt: AttemptId) -> Answer {
        let now = self.schedule.now();
        let agent = &mut self.agents[index];
        let fails = matches!(agent.store.mood(now), Mood::Refuses(_) | Mood::Lies(_));
        let Some(stored) = agent.disk.get_mut(&attempt) else {
            return Answer::GivenUp;
        };
        if !fails {
            stored.failing_since = None;
            return Answer::Done;
        }
        let since = *stored.failing_since.get_or_insert(now);
        match now < since + PATIENCE {
            true => Answer::Failed,
            false => Answer::GivenUp,
        }
    }

    /// Notes in the store that an attempt looks for and writes things. Whether it can go on; if not, it looks again, or ends.
    pub(super) fn begin_upload(&mut self, index: usize, attempt: AttemptId, again: Step) -> bool {
        let now = self.schedule.now();
        let store = &mut self.agents[index].store;
        if !store.refuses(now) {
            store.begin_upload(Upload::Attempt(attempt));
        }
        match self.ask_store(index, attempt) {
            Answer::Done => return true,
            Answer::Failed => self.soon(index, again),
            Answer::GivenUp => {
                let words = "the cluster's store does not carry out what it is asked";
                self.end_attempt(index, attempt, TerminalState::Error, None, words);
            }
        }
        false
    }

    /// Writes the chunks of what a command has left.
    pub(super) fn publish(&mut self, index: usize, attempt: AttemptId) {
        self.advance(index, attempt, 2, Phase::Publishing);
        let own = u64::try_from(self.fresh()).unwrap_or(u64::MAX);
        let now = self.schedule.now();
        let agent = &mut self.agents[index];
        let Some(stored) = agent.disk.get_mut(&attempt) else {
            return;
        };
        if stored.phase != Phase::Publishing {
            return;
        }
        let left = matches!(stored.exit, Some(Exit::Code(_)));
        // Whoever packs it again finds the same.
        let rng = &mut self.rng;
        let draw = || (left && rng.random_bool(0.8)).then(|| store::draw_output(rng, own));
        let made = *stored.made.get_or_insert_with(draw);
        if !agent.store.refuses(now) {
            let chunks = made.into_iter().flat_map(chunks_of);
            chunks.for_each(|chunk| agent.store.write(chunk));
        }
        self.stored(index, attempt, made, (Step::Publish(attempt), Step::Published(attempt)));
    }

    /// Writes the manifest, last of all.
    pub(super) fn published(&mut self, index: usize, attempt: AttemptId) {
        let Some(stored) = self.agents[index].disk.get(&attempt) else {
            return;
        };
        if stored.phase != Phase::Publishing {
            return;
        }
        let made = stored.made.flatten();
        if let Some(manifest) = made.filter(|_| !self.agents[index].store.refuses(self.schedule.now())) {
            self.write_manifest(index, manifest, Upload::Attempt(attempt));
        }
        self.stored(
            index,
            attempt,
            made,
            (Step::Published(attempt), Step::Conclude(attempt)),
        );
    }

    /// Writes down how the attempt ended.
    pub(super) fn conclude(&mut self, index: usize, attempt: AttemptId) {
        let stored = self.agents[index].disk.get(&attempt);
        if let Some(stored) = stored.filter(|stored| stored.phase == Phase::Publishing) {
            let (state, code, message) = outcome_of(stored.exit);
            self.end_attempt(index, attempt, state, code, message);
        }
    }

    /// Goes on as the store says that was to write something of an output.
    fn stored(&mut self, index: usize, attempt: AttemptId, made: Option<Digest>, (again, next): (Step, Step)) {
        match made.map_or(Answer::Done, |_| self.ask_store(index, attempt)) {
            Answer::Done => self.after_store(index, next),
            Answer::Failed => self.soon(index, again),
            Answer::GivenUp => self.end_without_output(index, attempt),
        }
    }

    /// A child must not miss an output silently.
    fn end_without_output(&mut self, index: usize, attempt: AttemptId) {
        let agent = &mut self.agents[index];
        let Some(stored) = agent.disk.get_mut(&attempt) else {
            return;
        };
        stored.made = Some(None);
        let (_, code, _) = outcome_of(stored.exit);
        let cluster = agent.name.clone();
        let fact = Fact::NotStored { cluster, attempt };
        self.history.fact(self.schedule.now(), fact);
        let words = "the output cannot be stored";
        self.end_attempt(index, attempt, TerminalState::Error, code, words);
    }

    fn write_manifest(&mut self, index: usize, manifest: Digest, upload: Upload) {
        let agent = &mut self.agents[index];
        let written = agent.store.write_manifest(manifest, upload);
        let cluster = agent.name.clone();
        let fact = match written {
            Ok(()) => return,
            Err(true) => Fact::StoreHurt {
                cluster,
                manifests: vec![manifest],
            },
            Err(false) => Fact::Broken { cluster, manifest },
        };
        self.history.fact(self.schedule.now(), fact);
    }

    /// Brings an input into the cluster's own store, and unpacks it. What its command finds then; or who was asked, if nobody gives it.
    pub(crate) fn bring(&mut self, index: usize, input: &InputReference, upload: Upload) -> Result<Digest, LostInput> {
        let manifest = input.output.manifest;
        for _ in 0..TIMES {
            self.pull(index, input, upload)?;
            if self.bug == Some(Bug::DamageNotSeen) && !self.agents[index].store.has_whole(manifest) {
                return Ok(store::damaged(manifest));
            }
            if self.unpack(index, manifest) {
                return Ok(manifest);
            }
        }
        Err(lost_input(input))
    }

    /// Reads all of an output. Whether nothing of it was damaged.
    fn unpack(&mut self, index: usize, manifest: Digest) -> bool {
        let looked: Vec<bool> = chunks_of(manifest).map(|chunk| self.read(index, chunk)).collect();
        looked.into_iter().all(|is_whole| is_whole)
    }

    /// Reads a chunk, here or for others. Whether it is there, whole.
    fn read(&mut self, index: usize, chunk: Chunk) -> bool {
        let agent = &mut self.agents[index];
        let (is_whole, found) = agent.store.read(chunk);
        if found {
            let cluster = agent.name.clone();
            self.history.fact(self.schedule.now(), Fact::DamageFound(cluster));
        }
        is_whole
    }

    /// Brings what is not in the cluster's own store, chunk by chunk, from whoever has it whole.
    fn pull(&mut self, index: usize, input: &InputReference, upload: Upload) -> Result<(), LostInput> {
        let manifest = input.output.manifest;
        let others = self.givers(index, input);
        let mut lacks = BTreeSet::new();
        let mut all = self.agents[index].store.has_manifest(manifest);
        if !all {
            for other in &others {
                all = self.agents[*other].store.has_manifest(manifest);
                if all {
                    break;
                }
                lacks.insert(*other);
            }
        }
        if all {
            for chunk in chunks_of(manifest) {
                all &= self.has_or_salvages(index, chunk) || self.pull_chunk((index, chunk), &others, &mut lacks);
            }
        }
        if all {
            self.write_manifest(index, manifest, upload);
            return Ok(());
        }
        let mut lost = lost_input(input);
        for name in input.sources.iter().map(|source| &source.cluster) {
            let agent = self.agents.iter().position(|agent| agent.name == *name);
            let is_missing = agent.is_some_and(|agent| agent == index || lacks.contains(&agent));
            match is_missing || self.bug == Some(Bug::RefusalTakenForLoss) {
                true => lost.missing.push(name.clone()),
                false => lost.unreachable.push(name.clone()),
            }
        }
        Err(lost)
    }

    /// Those other clusters that answer when they are asked for an input.
    fn givers(&self, index: usize, input: &InputReference) -> Vec<usize> {
        let now = self.schedule.now();
        let answers = |other: &usize| {
            let agent = &self.agents[*other];
            agent.process.is_some() && !self.network.is_cut(*other) && !agent.store.refuses(now)
        };
        let find = |name: &ClusterName| self.agents.iter().position(|agent| agent.name == *name);
        let named = input.sources.iter().filter_map(|source| find(&source.cluster));
        named.filter(|other| *other != index).filter(answers).collect()
    }

    /// Whether a chunk is there; if it is condemned, it is written again from its own bytes.
    fn has_or_salvages(&mut self, index: usize, chunk: Chunk) -> bool {
        let store = &self.agents[index].store;
        if store.relies_on(chunk) {
            return true;
        }
        let salvages = store.is_condemned_only(chunk) && self.read(index, chunk);
        if salvages {
            self.agents[index].store.write(chunk);
        }
        salvages
    }

    /// Asks for a chunk until somebody gives it.
    fn pull_chunk(&mut self, (index, chunk): (usize, Chunk), others: &[usize], lacks: &mut BTreeSet<usize>) -> bool {
        for other in others {
            if self.read(*other, chunk) {
                self.agents[index].store.write(chunk);
                return true;
            }
            lacks.insert(*other);
        }
        false
    }
}

fn lost_input(input: &InputReference) -> LostInput {
    LostInput {
        parent: input.job,
        manifest: input.output.manifest,
        missing: Vec::new(),
        unreachable: Vec::new(),
    }
}
