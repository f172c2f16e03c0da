mod answers;
mod whole;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::time::Instant;
use tombolo_artifact::{PackLimits, UnpackOptions};
use tombolo_core::attempt::{OutputReference, RouteKind};

use super::{ChunkSource, Error, ListedChunk, Patience, Progress, Puller, Receipt, Request, Source, SourceError};
use crate::store::ChunkStore;
use crate::store::tests::{LARGE_BYTES, PROJECT, example_folder, local_store, manifest_of, noise};

/// What a source does with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Answer,
    Corrupt,
    Truncate,
    Empty,
    Vanish,
    Refuse,
    Miss,
    Hang,
}

/// A source over a real store, with a script for its chunks: the number counts the chunks that were asked for before.
struct Scripted {
    store: ChunkStore,
    output: OutputReference,
    asked: AtomicU32,
    answered: AtomicU32,
    script: Box<dyn Fn(u32) -> Act + Send + Sync>,
    manifest: Act,
}

impl Scripted {
    fn answered(&self) -> u32 {
        self.answered.load(Ordering::SeqCst)
    }

    async fn act(act: Act, bytes: Bytes) -> Result<Bytes, SourceError> {
        let mut bytes = bytes.to_vec();
        match act {
            Act::Answer => {}
            Act::Corrupt => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            Act::Truncate => bytes.truncate(bytes.len() / 2),
            Act::Empty => bytes.clear(),
            Act::Vanish => return Err(SourceError::Unreachable("connection reset".to_owned())),
            Act::Refuse => return Err(SourceError::Refused("the grant has expired".to_owned())),
            Act::Miss => return Err(SourceError::Missing("no such chunk".to_owned())),
            Act::Hang => std::future::pending().await,
        }
        Ok(bytes.into())
    }
}

impl ChunkSource for Scripted {
    fn manifest(&self) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        Box::pin(async {
            let manifest = self.store.get_manifest(PROJECT, self.output.manifest).await.unwrap();
            Self::act(self.manifest, manifest.encoded().clone()).await
        })
    }

    fn chunk(&self, chunk: ListedChunk) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        Box::pin(async move {
            let act = (self.script)(self.asked.fetch_add(1, Ordering::SeqCst));
            let stored = self.store.get_stored_chunk(PROJECT, chunk.reference).await.unwrap();
            let answer = Self::act(act, stored.to_bytes()).await;
            if act == Act::Answer {
                self.answered.fetch_add(1, Ordering::SeqCst);
            }
            answer
        })
    }
}

/// Two stores, and an output in one of them.
struct Stage {
    folder: TempDir,
    source: ChunkStore,
    destination: ChunkStore,
    output: OutputReference,
    /// How many different chunks it has.
    chunks: u32,
}

impl Stage {
    async fn of(content: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = local_store(&folder.path().join("source")).await;
        let destination = local_store(&folder.path().join("destination")).await;
        let output = source.pack(PROJECT, content, PackLimits::default()).await.unwrap();
        let manifest = source.get_manifest(PROJECT, output.manifest).await.unwrap();
        let distinct: std::collections::HashSet<_> = manifest.chunks().collect();
        Self {
            folder,
            source,
            destination,
            output,
            chunks: u32::try_from(distinct.len()).unwrap(),
        }
    }

    async fn new() -> Self {
        Self::of(example_folder().path()).await
    }

    fn scripted(&self, script: impl Fn(u32) -> Act + Send + Sync + 'static) -> Arc<Scripted> {
        self.scripted_manifest(Act::Answer, script)
    }

    fn scripted_manifest(&self, manifest: Act, script: impl Fn(u32) -> Act + Send + Sync + 'static) -> Arc<Scripted> {
        let (asked, answered) = (AtomicU32::new(0), AtomicU32::new(0));
        let (store, output, script) = (self.source.clone(), self.output, Box::new(script));
        Arc::new(Scripted {
            store,
            output,
            asked,
            answered,
            script,
            manifest,
        })
    }

    fn request(&self, sources: &[(&str, RouteKind, &Arc<Scripted>)]) -> Request {
        let sources = sources.iter().map(|(cluster, route, chunks)| Source {
            observer: None,
            cluster: Some(cluster.parse().unwrap()),
            route: *route,
            chunks: Arc::clone(*chunks) as _,
        });
        Request {
            project: PROJECT,
            manifest: self.output.manifest,
            sources: sources.collect(),
        }
    }

    fn puller(&self) -> Puller {
        Puller::new(self.destination.clone(), Patience::default())
    }

    async fn pull(&self, sources: &[(&str, RouteKind, &Arc<Scripted>)]) -> Result<Receipt, Error> {
        self.puller().pull(self.request(sources), |_| {}).await
    }

    async fn assert_arrived(&self) {
        let into = self.folder.path().join("into");
        self.destination
            .unpack(PROJECT, self.output.manifest, &into, UnpackOptions::default())
            .await
            .unwrap();
        assert_eq!(manifest_of(&into).digest(), self.output.manifest);
        tombolo_artifact::remove_tree(&into).unwrap();
    }

    async fn assert_invisible(&self) {
        assert!(
            !self
                .destination
                .has_manifest(PROJECT, self.output.manifest)
                .await
                .unwrap()
        );
    }
}

#[tokio::test]
async fn an_artifact_arrives_once() {
    let stage = Stage::new().await;
    let east = stage.scripted(|_| Act::Answer);
    let seen: Mutex<Vec<Progress>> = Mutex::default();
    let request = stage.request(&[("east", RouteKind::Peer, &east)]);
    let receipt = stage
        .puller()
        .pull(request, |progress| seen.lock().unwrap().push(progress))
        .await
        .unwrap();
    stage.assert_arrived().await;
    let receipt = receipt.for_parent(Some("build".parse().unwrap()));
    assert_eq!(
        (receipt.route, receipt.from),
        (RouteKind::Peer, Some("east".parse().unwrap()))
    );
    assert_eq!(
        (receipt.manifest, receipt.bytes),
        (stage.output.manifest, stage.output.bytes)
    );
    assert!(
        receipt.moved_bytes > LARGE_BYTES as u64 && receipt.moved_bytes < stage.output.bytes,
        "compressed on its way"
    );
    assert_eq!(east.answered(), stage.chunks);
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len() as u32, stage.chunks + 1);
    assert!(seen.windows(2).all(|two| two[0].done_bytes < two[1].done_bytes));
    assert_eq!(seen[0].done_bytes, 0);
    assert_eq!(seen.last().unwrap().done_bytes, stage.output.bytes);

    let receipt = stage.pull(&[("east", RouteKind::Peer, &east)]).await.unwrap();
    assert_eq!(
        (receipt.progress.route, receipt.progress.moved_bytes),
        (RouteKind::Local, 0)
    );
    assert_eq!(east.answered(), stage.chunks, "nothing moves twice");
    stage.pull(&[]).await.unwrap();
}

/// Whatever one source does, the other helps out chunk by chunk, and nothing that arrived is asked for again.
#[tokio::test(start_paused = true)]
async fn another_source_helps_out() {
    for act in [
        Act::Corrupt,
        Act::Truncate,
        Act::Empty,
        Act::Vanish,
        Act::Refuse,
        Act::Miss,
        Act::Hang,
    ] {
        for good in [0, 2] {
            let stage = Stage::new().await;
            let east = stage.scripted(move |asked| if asked < good { Act::Answer } else { act });
            let west = stage.scripted(|_| Act::Answer);
            let sources = [("east", RouteKind::Peer, &east), ("west", RouteKind::Relay, &west)];
            let receipt = stage
                .pull(&sources)
                .await
                .unwrap_or_else(|error| panic!("{act:?} {good}: {error}"));
            stage.assert_arrived().await;
            assert_eq!(east.answered() + west.answered(), stage.chunks, "{act:?} {good}");
            assert_eq!(east.answered(), good, "{act:?}");
            assert!(receipt.progress.moved_bytes > LARGE_BYTES as u64);
        }
    }
}

#[tokio::test]
async fn manifests_are_checked_too() {
    for act in [
        Act::Corrupt,
        Act::Truncate,
        Act::Empty,
        Act::Vanish,
        Act::Refuse,
        Act::Miss,
    ] {
        let stage = Stage::new().await;
        let east = stage.scripted_manifest(act, |_| Act::Answer);
        let west = stage.scripted(|_| Act::Answer);
        stage
            .pull(&[("east", RouteKind::Peer, &east), ("west", RouteKind::Relay, &west)])
            .await
            .unwrap();
        stage.assert_arrived().await;
    }
}

/// A source that is away for a while, less than the patience, is waited for.
#[tokio::test(start_paused = true)]
async fn a_source_may_come_back() {
    let stage = Stage::new().await;
    let back = Instant::now() + Duration::from_secs(90);
    let east = stage.scripted(move |_| {
        if Instant::now() < back {
            Act::Vanish
        } else {
            Act::Answer
        }
    });
    stage.pull(&[("east", RouteKind::Relay, &east)]).await.unwrap();
    stage.assert_arrived().await;
    assert!(Instant::now() >= back && Instant::now() < back + Duration::from_secs(30));
    assert!(east.asked.load(Ordering::SeqCst) < 400, "asked with growing pauses");
}

#[tokio::test]
async fn the_next_pull_goes_on() {
    let stage = Stage::new().await;
    let east = stage.scripted(|asked| if asked < 2 { Act::Answer } else { Act::Refuse });
    stage.pull(&[("east", RouteKind::Peer, &east)]).await.unwrap_err();
    stage.assert_invisible().await;
    let west = stage.scripted(|_| Act::Answer);
    stage.pull(&[("west", RouteKind::Peer, &west)]).await.unwrap();
    stage.assert_arrived().await;
    assert!(
        west.answered() < stage.chunks,
        "{} of {}",
        west.answered(),
        stage.chunks
    );
}

#[tokio::test]
async fn pulls_of_the_same_artifact_share_the_work() {
    let stage = Stage::new().await;
    let east = stage.scripted(|_| Act::Answer);
    let puller = stage.puller();
    let pull = || puller.pull(stage.request(&[("east", RouteKind::Peer, &east)]), |_| {});
    let (one, two, three) = tokio::join!(pull(), pull(), pull());
    let moved: Vec<_> = [one, two, three]
        .map(|receipt| receipt.unwrap().progress.moved_bytes)
        .into();
    assert_eq!(east.answered(), stage.chunks);
    assert_eq!(moved.iter().filter(|moved| **moved == 0).count(), 2);
}

/// A chunk that was damaged at the destination comes again, and it alone.
#[tokio::test]
async fn damage_at_the_destination_heals() {
    let stage = Stage::new().await;
    let east = stage.scripted(|_| Act::Answer);
    let sources = [("east", RouteKind::Peer, &east)];
    stage.pull(&sources).await.unwrap();
    let manifest = stage
        .destination
        .get_manifest(PROJECT, stage.output.manifest)
        .await
        .unwrap();
    let victim = manifest.chunks().next().unwrap().digest.to_string();
    let path = format!("destination/projects/{PROJECT}/chunks/{}/{victim}.0", &victim[..2]);
    let path = stage.folder.path().join(path);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let into = stage.folder.path().join("damaged");
    stage
        .destination
        .unpack(PROJECT, stage.output.manifest, &into, UnpackOptions::default())
        .await
        .unwrap_err();
    stage.pull(&sources).await.unwrap();
    assert_eq!(east.answered(), stage.chunks + 1);
    stage.assert_arrived().await;
}

/// What repeats within an artifact is moved once and counted as often as it occurs.
#[tokio::test]
async fn repeated_chunks_move_once() {
    let content = tempfile::tempdir().unwrap();
    std::fs::write(content.path().join("zeros"), vec![0; 64 << 20]).unwrap();
    std::fs::write(content.path().join("other"), noise(9, 1_000)).unwrap();
    let stage = Stage::of(content.path()).await;
    let east = stage.scripted(|_| Act::Answer);
    let receipt = stage.pull(&[("east", RouteKind::Peer, &east)]).await.unwrap();
    stage.assert_arrived().await;
    assert!(stage.chunks < 4, "{} chunks", stage.chunks);
    assert_eq!(receipt.progress.done_bytes, stage.output.bytes);
    assert!(receipt.progress.moved_bytes < 100_000);
}

#[test]
fn pulls_may_run_on_any_thread() {
    fn check(puller: &Puller, request: Request) -> impl Future + Send {
        puller.pull(request, |_| {})
    }
    let _ = check;
}
