use std::time::Duration;

use tombolo_core::id::{BuildId, Epoch, JobId, ProjectId};

use super::*;

const SHARED: VolumeId = VolumeId::Shared(BuildId::from_u128(1));
const WORKSPACE: VolumeId = VolumeId::Workspace(ProjectId::from_u128(2));

fn attempt(job: u128) -> AttemptId {
    AttemptId {
        job: JobId::from_u128(job),
        epoch: Epoch(1),
    }
}

fn open(folder: &Path) -> (Volumes, mpsc::Receiver<Notice>) {
    let (notices, heard) = mpsc::channel(16);
    (Volumes::open(folder, notices).unwrap(), heard)
}

#[tokio::test]
async fn what_is_recorded_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (volumes, mut heard) = open(folder.path());
    for volume in [SHARED, WORKSPACE] {
        volumes.take(volume, attempt(1)).await.unwrap();
        assert_eq!(heard.recv().await, Some(Notice::Holds(volume)));
    }
    assert_eq!(volumes.held(), [SHARED, WORKSPACE]);
    volumes.clone().release(SHARED).await;
    assert_eq!(heard.recv().await, Some(Notice::Released(SHARED)));
    std::fs::write(folder.path().join("notes.json"), "x").unwrap();
    let (again, _heard) = open(folder.path());
    assert_eq!(again.held(), [WORKSPACE], "hellos say nothing of what was released");
    assert_eq!(again.removable(), [SHARED]);
}

#[tokio::test]
async fn a_volume_goes_after_its_last_user_and_is_not_given_out_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (volumes, _heard) = open(folder.path());
    for job in [1, 2] {
        volumes.take(SHARED, attempt(job)).await.unwrap();
    }
    volumes.clone().release(SHARED).await;
    volumes.let_go(attempt(1));
    assert_eq!(volumes.removable(), []);
    volumes.let_go(attempt(2));
    assert_eq!(volumes.removable(), [SHARED]);
    let waiting = tokio::spawn({
        let volumes = volumes.clone();
        async move { volumes.take(SHARED, attempt(3)).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    volumes.removed(SHARED).unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(volumes.held(), [SHARED], "it is made anew");
    assert_eq!(volumes.removable(), []);
}

#[tokio::test]
async fn what_nobody_has_is_released_at_once_and_what_is_found_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (volumes, mut heard) = open(folder.path());
    volumes.clone().release(SHARED).await;
    assert_eq!(heard.recv().await, Some(Notice::Released(SHARED)));
    assert_eq!((volumes.held(), volumes.removable()), (vec![], vec![]));
    volumes.found(WORKSPACE).await.unwrap();
    volumes.found(WORKSPACE).await.unwrap();
    assert_eq!(heard.recv().await, Some(Notice::Holds(WORKSPACE)));
    assert!(heard.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_take_one_volume_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (volumes, mut heard) = open(folder.path());
    let takers = (0..64).map(|job| {
        let volumes = volumes.clone();
        tokio::spawn(async move { volumes.take(SHARED, attempt(job)).await })
    });
    for taken in futures::future::join_all(takers).await {
        taken.unwrap().unwrap();
    }
    assert_eq!(heard.recv().await, Some(Notice::Holds(SHARED)));
    assert!(heard.try_recv().is_err(), "once");
    assert_eq!(open(folder.path()).0.held(), [SHARED]);
}
