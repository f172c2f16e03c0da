//! A store whose place changes under the agent that uses it.

use std::fs;

use tombolo_artifact::PackLimits;
use tombolo_core::id::{AttemptId, Epoch, JobId, ProjectId};

use crate::store::retention::UploadId;
use crate::store::{ChunkStore, Error, Owner, Patience, StoreLocation};

const PROJECT: ProjectId = ProjectId::from_u128(1);

fn owner(member: &str) -> Owner {
    Owner {
        trust_domain: "tombolo.test".to_owned(),
        member: member.to_owned(),
    }
}

async fn open(folder: &std::path::Path, member: &str) -> ChunkStore {
    let location = StoreLocation::local(folder);
    ChunkStore::open(&location, &owner(member), Patience::default())
        .await
        .unwrap()
}

fn upload(number: u128) -> UploadId {
    UploadId::from(AttemptId {
        job: JobId::from_u128(number),
        epoch: Epoch(1),
    })
}

#[tokio::test]
async fn a_folder_that_has_gone_is_not_made_again() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("store");
    let store = open(&folder, "east").await;
    store.begin_upload(PROJECT, &upload(1)).await.unwrap();
    fs::rename(&folder, place.path().join("elsewhere")).unwrap();
    let error = store.begin_upload(PROJECT, &upload(2)).await.unwrap_err().to_string();
    assert!(error.contains("is not there any more"), "{error}");
    assert!(error.contains(folder.to_str().unwrap()), "{error}");
    assert!(!folder.exists(), "nothing was written");
    fs::rename(place.path().join("elsewhere"), &folder).unwrap();
    store.begin_upload(PROJECT, &upload(2)).await.unwrap();
}

#[tokio::test]
async fn one_that_was_emptied_is_marked_and_filled_again() {
    let place = tempfile::tempdir().unwrap();
    let (folder, content) = (place.path().join("store"), place.path().join("content"));
    fs::create_dir(&content).unwrap();
    fs::write(content.join("file"), "content").unwrap();
    let store = open(&folder, "east").await;
    store.begin_upload(PROJECT, &upload(1)).await.unwrap();
    let packed = store.pack(PROJECT, &content, PackLimits::default()).await.unwrap();
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    store.begin_upload(PROJECT, &upload(2)).await.unwrap();
    // What it was known to have is written again, and it is still east's.
    let again = store.pack(PROJECT, &content, PackLimits::default()).await.unwrap();
    assert_eq!(again, packed);
    let other = open(&folder, "east").await;
    assert_eq!(other.instance(), store.instance());
    other
        .unpack(
            PROJECT,
            packed.manifest,
            &place.path().join("unpacked"),
            Default::default(),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn one_that_is_another_s_by_now_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("store");
    let store = open(&folder, "east").await;
    fs::remove_dir_all(&folder).unwrap();
    open(&folder, "west").await;
    let error = store.begin_upload(PROJECT, &upload(1)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Owned { member, .. } if member == "west"),
        "{error}"
    );
}
