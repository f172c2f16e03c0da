//! An artifact is whole or not there: sources that fail anywhere, and pulls that are broken off at any moment.

use std::sync::atomic::AtomicBool;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const SEEDS: u64 = 12;

/// Pulls with a source that fails at some chunk, and is given up at some other, until it was not. After each try, either the manifest is not
/// there or all chunks are.
async fn live(seed: u64, stage: &Stage) -> Result<(), String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..3 {
        let fails_at = rng.random_range(0..stage.chunks);
        let act = [Act::Corrupt, Act::Vanish, Act::Miss, Act::Refuse, Act::Hang][rng.random_range(0..5)];
        let hangs = Arc::new(AtomicBool::new(false));
        let hung = Arc::clone(&hangs);
        let source = stage.scripted(move |asked| {
            if asked >= fails_at {
                hung.store(act == Act::Hang, Ordering::SeqCst);
                return act;
            }
            Act::Answer
        });
        let sources = [("east", RouteKind::Relay, &source)];
        let patience = Patience {
            stalled: Duration::from_millis(50),
            ..Patience::default()
        };
        let puller = Puller::new(stage.destination.clone(), patience);
        let pull = puller.pull(stage.request(&sources), |_| {});
        tokio::pin!(pull);
        // Whoever pulls may be gone while chunks are on their way.
        let broken_off = async {
            while !hangs.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            pulled = &mut pull => drop(pulled),
            () = broken_off => {}
        }
        whole_or_absent(stage).await?;
    }
    Ok(())
}

async fn whole_or_absent(stage: &Stage) -> Result<(), String> {
    let (store, manifest) = (&stage.destination, stage.output.manifest);
    if !store.has_manifest(PROJECT, manifest).await.unwrap() {
        return Ok(());
    }
    let manifest = store.get_manifest(PROJECT, manifest).await.unwrap();
    for chunk in manifest.chunks() {
        if !store.has_chunk(PROJECT, chunk.digest).await.unwrap() {
            return Err(format!("the manifest is there, and its chunk {} is not", chunk.digest));
        }
    }
    Ok(())
}

/// The first seed that finds a fault, and the fault.
async fn first_fault() -> Option<(u64, String)> {
    let mut stage = Stage::new().await;
    for seed in 0..SEEDS {
        let folder = stage.folder.path().join(format!("destination-{seed}"));
        stage.destination = local_store(&folder).await;
        if let Err(fault) = live(seed, &stage).await {
            return Some((seed, fault));
        }
    }
    None
}

#[tokio::test]
async fn an_artifact_is_whole_or_not_there() {
    assert_eq!(first_fault().await, None);
}

#[tokio::test]
#[cfg(feature = "planted")]
async fn planted_a_manifest_that_comes_early_is_seen() {
    use tombolo_core::planted::{Bug, Planting};

    let _planting = Planting::of(Some(Bug::ManifestPublishedEarly));
    let (seed, _) = first_fault().await.expect("nobody sees the manifest");
    crate::caught(
        Bug::ManifestPublishedEarly,
        "I3: an artifact is whole or not there",
        seed,
    );
}
