//! Real servers behind a proxy that throttles, delays, cuts and lies: the same for every kind of bucket.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tombolo_core::id::ProjectId;

use super::gcs::Strictness;
use super::proxy::{Asked, Proxy, Weather};
use super::{PROJECT, azurite, chunk, embedded, gcs, noise, owner, seaweed};
use crate::store::{ChunkStore, Error, Patience, PutOutcome, StoreLocation};

const PATIENCE: Patience = Patience {
    request: Duration::from_secs(2),
    operation: Duration::from_secs(8),
};
const OTHER: ProjectId = ProjectId::from_u128(9);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_seaweedfs() {
    let server = seaweed::Server::start().await;
    let located = |address| {
        embedded::s3(
            address,
            "weather",
            seaweed::process::ACCESS_KEY,
            seaweed::process::SECRET_KEY,
        )
    };
    all_weathers(server.address(), located).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_azurite() {
    let server = azurite::Server::start().await;
    all_weathers(server.address, |address| azurite::location(address, "weather")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_gcs_emulator() {
    let server = gcs::Server::start(Strictness::Signed).await;
    all_weathers(server.address, |address| gcs::location(address, "weather")).await;
}

async fn all_weathers(server: SocketAddr, located: impl Fn(SocketAddr) -> StoreLocation) {
    let proxy = Proxy::start(server).await;
    let store = ChunkStore::open(&located(proxy.address), &owner("east"), PATIENCE)
        .await
        .unwrap();
    throttling_is_heeded(&proxy, &store).await;
    what_is_too_late_is_tried_again(&proxy, &store).await;
    silence_ends(&proxy, &store).await;
    what_is_cut_short_is_read_again(&proxy, &store).await;
    refusals_end_at_once(&proxy, &store).await;
    stale_listings_end(&proxy, &store).await;
    lying_listings_reach_nobody_else(&proxy, &store).await;
    what_is_new_is_not_asked_for_one_by_one(&proxy, &store).await;
    let again = ChunkStore::open(&located(proxy.address), &owner("east"), PATIENCE)
        .await
        .unwrap();
    what_was_there_before_is_found(&proxy, &again).await;
}

/// A second passes before anything else is asked, also by others than the one that was throttled.
async fn throttling_is_heeded(proxy: &Proxy, store: &ChunkStore) {
    for status in [429, 503] {
        let (chunk, stored) = chunk(&noise(u64::from(status), 1_000));
        proxy.turn(move |asked| match asked.number {
            0 => Weather::Throttled(status, 1),
            _ => Weather::Fine,
        });
        let began = Instant::now();
        assert_eq!(store.put_chunk(PROJECT, &stored).await.unwrap(), PutOutcome::Stored);
        assert!(
            began.elapsed() >= Duration::from_secs(1),
            "{status}: {:?}",
            began.elapsed()
        );
        let read = store.get_chunk(PROJECT, chunk.reference()).await.unwrap();
        assert_eq!(read.bytes(), chunk.bytes());
    }
    // One that throttles for good is an error in time, and hears of us seldom.
    proxy.turn(|_| Weather::Throttled(503, 3_600));
    let began = Instant::now();
    let error = store
        .has_chunk(PROJECT, chunk(b"absent").0.reference().digest)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Unreachable { .. }) && error.to_string().contains("503"),
        "{error}"
    );
    assert!(
        began.elapsed() <= PATIENCE.operation && proxy.asked() <= 2,
        "{}",
        proxy.asked()
    );
    // Until then nothing else is asked.
    tokio::time::sleep(Duration::from_millis(100)).await;
    store.inner.pace.forget();
}

async fn what_is_too_late_is_tried_again(proxy: &Proxy, store: &ChunkStore) {
    let (chunk, stored) = chunk(&noise(40, 1_000));
    let late = PATIENCE.request + Duration::from_millis(500);
    proxy.turn(move |asked| match asked.number {
        0 => Weather::Late(late),
        _ => Weather::Fine,
    });
    store.put_chunk(PROJECT, &stored).await.unwrap();
    assert!(proxy.asked() > 3, "{}", proxy.asked());
    assert!(store.get_chunk(PROJECT, chunk.reference()).await.is_ok());
}

async fn silence_ends(proxy: &Proxy, store: &ChunkStore) {
    proxy.turn(|_| Weather::Silent);
    let began = Instant::now();
    let error = store.put_chunk(PROJECT, &chunk(&noise(41, 1_000)).1).await.unwrap_err();
    assert!(error.to_string().contains("no answer within"), "{error}");
    assert!(
        began.elapsed() <= PATIENCE.operation + Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

async fn what_is_cut_short_is_read_again(proxy: &Proxy, store: &ChunkStore) {
    let (chunk, stored) = chunk(&noise(42, 200_000));
    let digest = chunk.reference().digest;
    proxy.turn(|_| Weather::Fine);
    store.put_chunk(PROJECT, &stored).await.unwrap();
    let name = digest.to_string();
    proxy.turn(move |asked| match asked.number {
        0 if asked.is_of("GET", &name) => Weather::CutShort,
        _ => Weather::Fine,
    });
    let read = store.get_chunk(PROJECT, chunk.reference()).await.unwrap();
    assert!(read.bytes() == chunk.bytes() && proxy.asked() == 2, "{}", proxy.asked());
    // For good: an error, not half a chunk, and no damage either.
    proxy.turn(|_| Weather::CutShort);
    let error = store.get_chunk(PROJECT, chunk.reference()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    proxy.turn(|_| Weather::Fine);
    assert!(store.has_chunk(PROJECT, digest).await.unwrap());
}

/// Also where the library keeps to itself that it was one: in a listing.
async fn refusals_end_at_once(proxy: &Proxy, store: &ChunkStore) {
    proxy.turn(|_| Weather::Throttled(403, 0));
    let began = Instant::now();
    let listed = store.projects().await.unwrap_err();
    let written = store.put_chunk(PROJECT, &chunk(b"refused").1).await.unwrap_err();
    for error in [listed, written] {
        assert!(
            matches!(error, Error::Refused { .. }) && error.to_string().contains("403"),
            "{error}"
        );
    }
    assert!(
        began.elapsed() < Duration::from_secs(2) && proxy.asked() <= 3,
        "{}",
        proxy.asked()
    );
}

/// A listing that names for good what is deleted does not keep anybody for good.
async fn stale_listings_end(proxy: &Proxy, store: &ChunkStore) {
    let project = ProjectId::from_u128(10);
    proxy.turn(|_| Weather::Fine);
    store.put_chunk(project, &chunk(b"stale").1).await.unwrap();
    proxy.turn(|asked: &Asked<'_>| {
        if asked.is_listing() {
            Weather::Repeated
        } else {
            Weather::Fine
        }
    });
    let error = store.delete_project(project).await.unwrap_err();
    assert!(error.to_string().contains("goes on listing"), "{error}");
    proxy.turn(|_| Weather::Fine);
    assert_eq!(store.delete_project(project).await.unwrap(), 0, "it was deleted");
}

/// Asked for the one project's objects, the store lists the other's: they stay.
async fn lying_listings_reach_nobody_else(proxy: &Proxy, store: &ChunkStore) {
    let victim = ProjectId::from_u128(11);
    proxy.turn(|_| Weather::Fine);
    let (chunk, stored) = chunk(b"somebody else's");
    for project in [victim, OTHER] {
        store.put_chunk(project, &stored).await.unwrap();
    }
    proxy.turn(|asked: &Asked<'_>| {
        if asked.is_listing() {
            Weather::Rewritten(OTHER.to_string(), ProjectId::from_u128(11).to_string())
        } else {
            Weather::Fine
        }
    });
    let error = store.delete_project(OTHER).await.unwrap_err();
    assert!(
        matches!(error, Error::Refused { .. }) && error.to_string().contains("it lists"),
        "{error}"
    );
    proxy.turn(|_| Weather::Fine);
    assert!(store.get_chunk(victim, chunk.reference()).await.is_ok());
    assert_eq!(store.delete_project(OTHER).await.unwrap(), 1);
}

const MANY: ProjectId = ProjectId::from_u128(10);

fn many(numbers: std::ops::Range<u64>) -> impl Iterator<Item = tombolo_artifact::StoredChunk> {
    numbers.map(|number| chunk(&noise(1_000 + number, 100)).1)
}

/// Two questions for each of eight, and one listing.
async fn what_is_new_is_not_asked_for_one_by_one(proxy: &Proxy, store: &ChunkStore) {
    proxy.turn(|_| Weather::Fine);
    for chunk in many(0..40) {
        assert_eq!(store.put_chunk(MANY, &chunk).await.unwrap(), PutOutcome::Stored);
    }
    assert_eq!(proxy.asked(), 2 * 8 + 1 + 40);
    for chunk in many(0..40) {
        assert_eq!(store.put_chunk(MANY, &chunk).await.unwrap(), PutOutcome::Present);
    }
    assert_eq!(proxy.asked(), 2 * 8 + 1 + 40);
}

/// By an agent that has just started. A listing that leaves everything out costs that it is written again, and no more.
async fn what_was_there_before_is_found(proxy: &Proxy, store: &ChunkStore) {
    for chunk in many(40..60) {
        assert_eq!(store.put_chunk(MANY, &chunk).await.unwrap(), PutOutcome::Stored);
    }
    for chunk in many(0..60) {
        assert_eq!(store.put_chunk(MANY, &chunk).await.unwrap(), PutOutcome::Present);
    }
    proxy.turn(|asked| match asked.is_listing() {
        true => Weather::Rewritten(MANY.to_string(), OTHER.to_string()),
        false => Weather::Fine,
    });
    store.distrust(MANY);
    for chunk in many(60..80).chain(many(0..10)) {
        store.put_chunk(MANY, &chunk).await.unwrap();
    }
    for chunk in many(0..80) {
        store.get_stored_chunk(MANY, chunk.reference()).await.unwrap();
    }
}
