//! The suite on SQLite, in memory and in a file, and what is special about the file.

use std::time::Duration;

use super::*;
use crate::faulty::Faulty;

fn in_memory() -> (Sqlite, ()) {
    (Sqlite::in_memory(Execution::Inline).unwrap(), ())
}

fn in_file() -> (Sqlite, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (
        Sqlite::open(&folder.path().join("master.db"), Execution::Threads).unwrap(),
        folder,
    )
}

crate::conformance_suite!(memory, in_memory());
crate::conformance_suite!(file, in_file());
// The wrapper that fails on demand is a store as well, as long as nothing is demanded.
crate::conformance_suite!(
    behind_faulty,
    (Faulty::new(in_memory().0), ()),
    [
        every_value_comes_back,
        rejected_set_leaves_nothing,
        leadership_fences,
        sequence_is_read_back,
        jobs_are_found,
        specs_are_found,
        log_is_read_from_any_line
    ]
);

#[tokio::test]
async fn reopened_file_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.db");
    let mut last = LeaderEpoch(0);
    for _ in 0..3 {
        let store = Sqlite::open(&path, Execution::Threads).unwrap();
        let second = Sqlite::open(&path, Execution::Threads);
        assert!(matches!(second, Err(AcquireError::Held { .. })), "{second:?}");
        let epoch = store.acquire().await.unwrap();
        assert!(epoch > last);
        last = epoch;
    }
}

/// The connection that writes is busy (a long transaction, a checkpoint): whoever reads does not notice.
#[tokio::test]
async fn reads_do_not_wait_for_writes() {
    let (store, folder) = in_file();
    store.acquire().await.unwrap();
    let path = folder.path().join("master.db");
    let writer = Connection::open(path).unwrap();
    writer
        .execute_batch("BEGIN IMMEDIATE; UPDATE leadership SET epoch = 77")
        .unwrap();
    let read = tokio::time::timeout(Duration::from_secs(60), store.load()).await;
    assert!(read.expect("the read does not wait").is_ok());
    writer.execute_batch("ROLLBACK").unwrap();
}

/// More readers at once than there are connections, all of whom get their answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_readers_share_connections() {
    let (store, _folder) = in_file();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let store = store.clone();
        readers.spawn(async move { store.load().await });
    }
    while let Some(result) = readers.join_next().await {
        result.unwrap().unwrap();
    }
    let Readers::Pool { idle, .. } = &store.inner.readers else {
        panic!("a file has a pool")
    };
    let idle = idle.lock().unwrap().len();
    assert!((1..=READERS_MAX).contains(&idle), "{idle}");
}

#[tokio::test]
async fn settings_are_durable() {
    let (store, _folder) = in_file();
    let value = |name: &str| -> String {
        let writer = store.inner.writer();
        writer
            .query_row(&format!("SELECT * FROM pragma_{name}"), [], |row| {
                row.get::<_, rusqlite::types::Value>(0)
            })
            .map_or_else(|error| error.to_string(), |value| format!("{value:?}"))
    };
    assert_eq!(value("journal_mode"), r#"Text("wal")"#);
    // 2 is FULL.
    assert_eq!(value("synchronous"), "Integer(2)");
    assert_eq!(value("foreign_keys"), "Integer(1)");
}

/// Somebody commits all the time, and the copy is as of one moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_of_one_moment_and_holds_nobody_up() {
    let (store, folder) = in_file();
    let epoch = store.acquire().await.unwrap();
    let commit = |number: u64| {
        let name = tombolo_core::name::ProjectName::new(&format!("p{number}")).unwrap();
        let project = tombolo_core::control::record::Project {
            last_build: number,
            id: ProjectId::from_u128(number.into()),
            name,
            created_at: Default::default(),
            workspace: None,
            retention: None,
            share: Default::default(),
        };
        store.commit(epoch, Sequence(number), Arc::new(vec![Change::PutProject(project)]))
    };
    commit(1).await.unwrap();
    let to = folder.path().join("copy.db");
    let copying = tokio::task::spawn_blocking({
        let (store, to) = (store.clone(), to.clone());
        move || store.copy_to(&to, || true)
    });
    let mut number = 1;
    while !copying.is_finished() || number < 20 {
        number += 1;
        commit(number).await.unwrap();
    }
    copying.await.unwrap().unwrap();
    let copy = Sqlite::open(&to, Execution::Threads).unwrap();
    copy.examine().unwrap();
    let snapshot = copy.load().await.unwrap();
    let last = snapshot.live.projects.iter().map(|project| project.last_build).max();
    assert_eq!(last, Some(snapshot.sequence.0));
    assert_eq!(snapshot.live.projects.len() as u64, snapshot.sequence.0);
    assert!(snapshot.sequence.0 <= number);
    let broken_off = store.copy_to(&folder.path().join("other.db"), || false);
    assert!(matches!(broken_off, Err(Error::Unavailable(_))), "{broken_off:?}");
}
