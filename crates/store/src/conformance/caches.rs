//! The records of caches.

use tombolo_core::control::Change;

use super::example::{HARD_TEXT, Leader, cache, cluster_name, project};
use crate::Store;

pub async fn caches_are_replaced_whole<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let (home, other) = (project(1), project(2));
    let first = cache(home.id, HARD_TEXT, "east", 10);
    leader
        .commit(vec![
            Change::PutProject(home.clone()),
            Change::PutProject(other.clone()),
            Change::PutCache(first.clone()),
            Change::PutCache(cache(home.id, "", "east", 11)),
            Change::PutCache(cache(home.id, HARD_TEXT, "west", 12)),
            Change::PutCache(cache(other.id, HARD_TEXT, "east", 13)),
        ])
        .await;
    leader.check().await;
    let are_caches = async |cluster, manifests: &[u128]| {
        let manifests = manifests
            .iter()
            .map(|seed| cache(home.id, "", cluster, *seed).content.manifest);
        let asked = store.are_caches(cluster_name(cluster), home.id, manifests.collect());
        asked.await.unwrap()
    };
    assert_eq!(are_caches("east", &[]).await, [false; 0]);
    assert_eq!(are_caches("east", &[13, 11, 10, 12]).await, [false, true, true, false]);
    assert_eq!(are_caches("west", &[12, 10]).await, [true, false]);
    // Another build leaves its own, and one is cleared.
    let mut next = cache(home.id, HARD_TEXT, "east", 14);
    (next.build, next.used_at, next.content.bytes, next.content.files) = (8, first.saved_at, 1, 0);
    leader
        .commit(vec![
            Change::PutCache(next.clone()),
            Change::DeleteCache(cache(home.id, "", "east", 11).key),
            // What is not there can be deleted too.
            Change::DeleteCache(cache(home.id, "none", "east", 11).key),
        ])
        .await;
    leader.check().await;
    assert_eq!(are_caches("east", &[10, 11, 14]).await, [false, false, true]);
    let caches = store.load().await.unwrap().live.caches;
    assert_eq!(caches.len(), 3);
    assert!(caches.contains(&next), "{caches:?}");
}

pub async fn caches_go_with_their_project<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let (gone, kept) = (project(1), project(2));
    leader
        .commit(vec![
            Change::PutProject(gone.clone()),
            Change::PutProject(kept.clone()),
            Change::PutCache(cache(gone.id, "main", "east", 10)),
            Change::PutCache(cache(kept.id, "main", "east", 10)),
            Change::DeleteProject(gone.id),
        ])
        .await;
    leader.check().await;
    for (home, there) in [(&gone, false), (&kept, true)] {
        let manifest = cache(home.id, "main", "east", 10).content.manifest;
        let asked = store.are_caches(cluster_name("east"), home.id, vec![manifest]).await;
        assert_eq!(asked.unwrap(), [there]);
    }
}
