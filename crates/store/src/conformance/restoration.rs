//! What was taken from a backup.

use tombolo_core::control::Change;
use tombolo_core::restoration::Restoration;
use tombolo_core::time::Timestamp;

use super::example::{Leader, invite, project};
use crate::port::{BUILDS_SINCE_BACKUP, LEADERSHIPS_SINCE_BACKUP};
use crate::{CommitError, Sequence, Store};

pub async fn a_restoration_goes_beyond_what_was_given<S: Store>(store: &S) {
    let mut before = Leader::new(store).await;
    let home = project(1);
    before
        .commit(vec![Change::PutProject(home.clone()), Change::PutInvite(invite(1))])
        .await;
    let at = Timestamp(1_793_371_234_567);
    store.note_restoration(Restoration { at }).await.unwrap();
    // Whoever led before the backup was restored leads no more.
    let late = store
        .commit(before.epoch, before.sequence.next(), Vec::new().into())
        .await;
    assert_eq!(late, Err(CommitError::Deposed));
    let mut after = Leader::new(store).await;
    assert_eq!(after.epoch.0, before.epoch.0 + u64::from(LEADERSHIPS_SINCE_BACKUP) + 1);
    let snapshot = store.load().await.unwrap();
    assert_eq!(snapshot.sequence, Sequence(0));
    assert_eq!(snapshot.live.restoration, Some(Restoration { at }));
    assert_eq!(snapshot.live.invites, []);
    let expected = home.last_build + u64::from(BUILDS_SINCE_BACKUP);
    assert_eq!(snapshot.live.projects[0].last_build, expected);
    // It stays so.
    after.commit(vec![Change::PutProject(project(2))]).await;
    assert_eq!(store.load().await.unwrap().live.restoration, Some(Restoration { at }));
}

pub async fn a_later_restoration_is_later<S: Store>(store: &S) {
    for at in [5_000_000, 4_000_000] {
        let restoration = Restoration { at: Timestamp(at) };
        store.note_restoration(restoration).await.unwrap();
    }
    let restoration = store.load().await.unwrap().live.restoration;
    assert_eq!(
        restoration.map(|restoration| restoration.at),
        Some(Timestamp(5_001_000))
    );
}
