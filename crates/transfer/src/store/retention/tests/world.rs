//! Attempts that upload, an agent that crashes, a master that wants outputs and lets them go, and sweeps, all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tombolo_artifact::{Chunk, ChunkReference, Manifest, StoredChunk};
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, Epoch, JobId, ProjectId};

use super::uneasy::{Chance, Uneasy};
use crate::store::layout::Place;
use crate::store::retention::{Keep, Manner, Swept, UploadId};
use crate::store::tests::{PROJECT, owner};
use crate::store::{ChunkStore, Error, Patience};

/// How many different chunks there are.
pub(super) const CHUNKS: usize = 8;
const CHUNK_BYTES: usize = 1 << 20;

static STORED: LazyLock<Vec<StoredChunk>> = LazyLock::new(|| {
    let chunk = |number: usize| Chunk::new(Bytes::from(vec![number as u8; CHUNK_BYTES]));
    (0..CHUNKS).map(|number| StoredChunk::encode(&chunk(number))).collect()
});

/// The artifact of one file with these chunks.
fn manifest(chunks: &BTreeSet<usize>) -> Manifest {
    let mut encoded = b"TOMBOLO\x01".to_vec();
    encoded.extend(1_u32.to_le_bytes());
    encoded.extend((chunks.len() as u32).to_le_bytes());
    encoded.extend([2, 0, 0, 1, b'f']);
    encoded.extend(0o644_u16.to_le_bytes());
    encoded.extend(((chunks.len() * CHUNK_BYTES) as u64).to_le_bytes());
    for number in chunks {
        let ChunkReference { length, digest } = STORED[*number].reference();
        encoded.extend(length.to_le_bytes());
        encoded.extend(digest.as_bytes());
    }
    Manifest::decode(encoded.into()).unwrap()
}

/// What an attempt is to do.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) chunks: BTreeSet<usize>,
    /// It sends so many chunks, and gives up; none if it does not.
    pub(super) gives_up_after: Option<usize>,
    /// It takes longer than sweeps do.
    pub(super) slow: bool,
    /// Chunks go by signed requests, which may come late.
    pub(super) signed: bool,
    /// What is here already is looked up as a pull does it.
    pub(super) pulls: bool,
    /// The agent that comes back after a crash does not find it.
    pub(super) lost: bool,
}

/// What is the case outside of the store.
#[derive(Default)]
struct Facts {
    /// What the master wants.
    wanted: BTreeMap<Digest, Manifest>,
    /// The attempts whose folders are on the agent's disk.
    attempts: BTreeMap<AttemptId, Work>,
    next: u32,
}

#[derive(Clone)]
pub(super) struct World {
    store: Uneasy,
    facts: Arc<Mutex<Facts>>,
}

/// One life of the agent.
pub(super) struct Agent {
    world: World,
    store: ChunkStore,
    tasks: JoinSet<()>,
}

impl Keep for World {
    /// What the master says is already old when it comes.
    fn keep<'a>(&'a self, _: ProjectId, manifests: &'a [Digest]) -> BoxFuture<'a, Result<Vec<bool>, String>> {
        Box::pin(async {
            self.store.chance.pause().await;
            let answer = {
                let facts = self.facts();
                manifests.iter().map(|one| facts.wanted.contains_key(one)).collect()
            };
            self.store.chance.pause().await;
            if self.store.fails.load(Ordering::SeqCst) && self.store.chance.below(20) == 0 {
                return Err("the master is away".to_owned());
            }
            Ok(answer)
        })
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            store: Uneasy {
                objects: Arc::new(InMemory::new()),
                chance: Arc::new(Chance::new(seed)),
                fails: Arc::new(AtomicBool::new(true)),
            },
            facts: Arc::default(),
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap()
    }

    pub(super) fn fails_no_more(&self) {
        self.store.fails.store(false, Ordering::SeqCst);
    }

    async fn open(&self, objects: Arc<dyn ObjectStore>) -> ChunkStore {
        let place = "uneasy".to_owned();
        let owner = owner("east");
        ChunkStore::over(objects, place, Path::default(), &owner, Patience::default())
            .await
            .unwrap()
    }

    /// The agent comes back: what was under way goes on, or is lost.
    pub(super) async fn start(&self) -> Agent {
        let store = self.open(Arc::new(self.store.clone())).await;
        let mut agent = Agent {
            world: self.clone(),
            store,
            tasks: JoinSet::new(),
        };
        self.facts().attempts.retain(|_, work| !work.lost);
        let found = self.facts().attempts.clone();
        for (attempt, work) in found {
            agent.attempt(attempt, work);
        }
        agent
    }

    /// The master does not want one of the outputs any more.
    pub(super) fn release(&self, which: usize) {
        let mut facts = self.facts();
        let wanted = facts.wanted.len().max(1);
        let digest = facts.wanted.keys().nth(which % wanted).copied();
        digest.map(|digest| facts.wanted.remove(&digest));
    }

    /// Everything that the master wants can be read by somebody who knows nothing yet.
    pub(super) async fn check_wanted(&self) -> Result<(), String> {
        let store = self.open(self.store.objects.clone()).await;
        let wanted: Vec<Manifest> = self.facts().wanted.values().cloned().collect();
        let mut chunks = BTreeSet::new();
        for manifest in wanted {
            let digest = manifest.digest();
            let found = store.get_manifest(PROJECT, digest).await;
            found.map_err(|error| format!("a wanted manifest is lost: {error}"))?;
            chunks.extend(manifest.chunks().map(|chunk| (chunk.digest, chunk.length)));
        }
        for (digest, length) in chunks {
            let found = store.get_chunk(PROJECT, ChunkReference { length, digest }).await;
            found.map_err(|error| format!("a wanted chunk is lost: {error}"))?;
        }
        Ok(())
    }

    /// There is nothing that nobody needs.
    pub(super) async fn check_garbage(&self) -> Result<(), String> {
        let listed = self
            .store
            .objects
            .list(None)
            .map_ok(|object| object.location.to_string());
        let names: BTreeSet<String> = listed.try_collect().await.unwrap();
        let facts = self.facts();
        let manifests = facts.wanted.keys().map(ToString::to_string);
        let chunks = facts.wanted.values().flat_map(Manifest::chunks);
        let needed: BTreeSet<String> = manifests.chain(chunks.map(|chunk| chunk.digest.to_string())).collect();
        for name in &names {
            let last = name.rsplit('/').next().unwrap_or_default();
            let digest = last.split('.').next().unwrap_or_default();
            let is_mark = last.ends_with(".condemned") || last.ends_with(".damaged");
            // A mark of what is needed stays where a later generation is found by it.
            let is_right = matches!(last, "owner" | "round")
                || needed.contains(digest)
                    && (!is_mark || name.contains("/chunks/") && !names.contains(&name[..name.len() - 8]));
            if !is_right {
                return Err(format!("garbage is left: {name}"));
            }
        }
        Ok(())
    }
}

impl Agent {
    pub(super) fn begin(&mut self, work: Work) {
        let attempt = {
            let mut facts = self.world.facts();
            facts.next += 1;
            let attempt = AttemptId {
                job: JobId::from_u128(1),
                epoch: Epoch(facts.next),
            };
            facts.attempts.insert(attempt, work.clone());
            attempt
        };
        self.attempt(attempt, work);
    }

    fn attempt(&mut self, attempt: AttemptId, work: Work) {
        let (store, world) = (self.store.clone(), self.world.clone());
        self.tasks.spawn(async move {
            let id = UploadId::from(attempt);
            // A store that fails for two minutes: the attempt fails, and another has its work.
            let manifest = match upload(&store, &world, &id, &work).await {
                Ok(manifest) => manifest,
                Err(error) => {
                    tracing::debug!(%error, "an attempt failed");
                    None
                }
            };
            {
                let mut facts = world.facts();
                manifest.map(|manifest| facts.wanted.insert(manifest.digest(), manifest));
            }
            world.store.chance.pause().await;
            world.facts().attempts.remove(&attempt);
            world.store.chance.pause().await;
            let _ = store.end_upload(PROJECT, &id).await;
        });
    }

    /// Sweeps now and then.
    pub(super) fn sweeps(&mut self, every: Duration) {
        let (store, world) = (self.store.clone(), self.world.clone());
        self.tasks.spawn(async move {
            loop {
                sleep(every).await;
                let _ = sweep(&store, &world).await;
            }
        });
    }

    /// What an agent does that has time.
    pub(super) async fn sweep(&self) -> Result<Swept, Error> {
        sweep(&self.store, &self.world).await
    }

    pub(super) async fn crash(mut self) {
        self.tasks.shutdown().await;
    }

    /// Waits until no attempt is under way.
    pub(super) async fn attempts_end(&self) {
        while !self.world.facts().attempts.is_empty() {
            sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn sweep(store: &ChunkStore, world: &World) -> Result<Swept, Error> {
    for upload in store.uploads(PROJECT).await? {
        let lives = upload
            .id
            .attempt()
            .is_some_and(|attempt| world.facts().attempts.contains_key(&attempt));
        if !lives {
            store.end_upload(PROJECT, &upload.id).await?;
        }
    }
    let manner = Manner {
        maximum_held: 4,
        ..Manner::paced(1_000)
    };
    store.sweep(PROJECT, world, manner).await
}

async fn upload(store: &ChunkStore, world: &World, id: &UploadId, work: &Work) -> Result<Option<Manifest>, Error> {
    let chance = &world.store.chance;
    store.begin_upload(PROJECT, id).await?;
    for (sent, number) in work.chunks.iter().enumerate() {
        if work.gives_up_after == Some(sent) {
            return Ok(None);
        }
        chance.pause().await;
        if work.slow {
            sleep(Duration::from_secs(chance.below(400))).await;
        }
        let stored = &STORED[*number];
        if work.pulls && store.has_or_salvages(PROJECT, stored.reference()).await? {
            continue;
        }
        if work.signed && send_signed(store, world, stored).await? {
            continue;
        }
        store.put_chunk(PROJECT, stored).await?;
    }
    if work.slow {
        sleep(Duration::from_secs(chance.below(600))).await;
    }
    let manifest = manifest(&work.chunks);
    if work.signed {
        for chunk in manifest.chunks() {
            if !store.holds_chunk(PROJECT, chunk).await? {
                return Ok(None);
            }
        }
    }
    if !work.pulls || !store.has_manifest(PROJECT, manifest.digest()).await? {
        store.put_manifest(PROJECT, &manifest).await?;
    }
    chance.pause().await;
    Ok((work.gives_up_after != Some(work.chunks.len())).then_some(manifest))
}

/// As a pod does it: the request is signed now, and carried out within five minutes.
async fn send_signed(store: &ChunkStore, world: &World, stored: &StoredChunk) -> Result<bool, Error> {
    let ChunkReference { digest, .. } = stored.reference();
    let generation = match store.inner.locate(PROJECT, digest).await? {
        Place::Present(_) => return Ok(true),
        Place::Absent(generation) => generation,
    };
    let path = store.inner.chunk_path(PROJECT, digest, generation);
    let (objects, chance) = (world.store.objects.clone(), world.store.chance.clone());
    let bytes = stored.to_bytes();
    let length = bytes.len() as u64;
    let late = chance.below(4) == 0;
    let delay = Duration::from_millis(chance.below(if late { 299_000 } else { 2_000 }));
    // Of no task of the agent's: it outlives a crash.
    let written = tokio::spawn(async move {
        sleep(delay).await;
        let options = PutOptions::from(PutMode::Create);
        let _ = objects.put_opts(&path, bytes.into(), options).await;
    });
    if !late {
        let _ = written.await;
    }
    store.confirm_upload(PROJECT, digest, length).await
}
