//! A store that fails, with the clock running as fast as it can.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;
use tombolo_artifact::{PackLimits, UnpackOptions};

use super::faulty::{Fault, Faulty, Operation};
use super::{PROJECT, chunk, example_folder, manifest_of, owner};
use crate::store::{ChunkStore, Error, Patience, PutOutcome, StoreLocation};

async fn over(faulty: &Arc<Faulty>) -> Result<ChunkStore, Error> {
    let objects: Arc<dyn ObjectStore> = Arc::clone(faulty) as _;
    ChunkStore::over(
        objects,
        "faulty".to_owned(),
        Path::default(),
        &owner("east"),
        Patience::default(),
    )
    .await
}

fn faulty(script: impl Fn(Operation, &Path, u32) -> Fault + Send + Sync + 'static) -> Arc<Faulty> {
    Arc::new(Faulty::new(script))
}

/// Every third operation fails, one way or another: nobody notices.
#[tokio::test(start_paused = true)]
async fn passing_faults_are_outlasted() {
    for fault in [Fault::Before, Fault::After, Fault::Hang] {
        let faulty = faulty(move |_, _, call| if call % 3 == 0 { fault } else { Fault::None });
        let store = over(&faulty).await.unwrap();
        for number in 0..5 {
            let (chunk, stored) = chunk(&[number; 100]);
            assert_eq!(
                store.put_chunk(PROJECT, &stored).await.unwrap(),
                PutOutcome::Stored,
                "{fault:?}"
            );
            assert_eq!(
                store.get_chunk(PROJECT, chunk.reference()).await.unwrap().bytes(),
                chunk.bytes()
            );
        }
        store.delete_project(PROJECT).await.unwrap();
    }
}

/// The same for whole folders, in real time: a clock that is paused waits for the threads that wait for the store.
#[tokio::test]
async fn folders_outlast_passing_faults() {
    for fault in [Fault::Before, Fault::After] {
        let faulty = faulty(move |_, _, call| if call % 5 == 0 { fault } else { Fault::None });
        let store = over(&faulty).await.unwrap();
        let source = example_folder();
        let output = store.pack(PROJECT, source.path(), PackLimits::default()).await.unwrap();
        let parent = tempfile::tempdir().unwrap();
        let into = parent.path().join("into");
        store
            .unpack(PROJECT, output.manifest, &into, UnpackOptions::default())
            .await
            .unwrap();
        assert_eq!(manifest_of(&into).digest(), output.manifest, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_is_an_error_with_the_reason() {
    let cases = [
        (Fault::Before, "Generic faulty error: connection reset (before)"),
        (Fault::Hang, "no answer within"),
    ];
    for (fault, reason) in cases {
        let faulty = faulty(move |operation, path, _| {
            if operation == Operation::Put && path.as_ref() != "owner" {
                fault
            } else {
                Fault::None
            }
        });
        let store = over(&faulty).await.unwrap();
        let began = tokio::time::Instant::now();
        let error = store.put_chunk(PROJECT, &chunk(b"content").1).await.unwrap_err();
        assert!(
            began.elapsed() <= Patience::default().operation,
            "{:?}",
            began.elapsed()
        );
        assert!(
            began.elapsed() > Patience::default().operation / 2,
            "{:?}",
            began.elapsed()
        );
        let text = error.to_string();
        assert!(
            text.starts_with("the store at faulty cannot write a chunk (tried for 1"),
            "{text}"
        );
        assert!(text.contains(reason), "{text}");
        // Small: a clock that is paused waits for a packer's thread that waits for the store.
        let source = tempfile::tempdir().unwrap();
        std::fs::write(source.path().join("file"), "content").unwrap();
        let error = store
            .pack(PROJECT, source.path(), PackLimits::default())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_repeated() {
    let faulty = faulty(|operation, _, call| {
        if operation == Operation::Put && call > 3 {
            Fault::Denied
        } else {
            Fault::None
        }
    });
    let store = over(&faulty).await.unwrap();
    let before = faulty.calls();
    let error = store.put_chunk(PROJECT, &chunk(b"content").1).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert_eq!(faulty.calls() - before, 3, "two questions and one attempt");
}

/// What is corrupted on its way from the store looks like damage: it is marked, and the next upload heals it.
#[tokio::test(start_paused = true)]
async fn corrupt_and_short_reads_never_become_results() {
    for fault in [Fault::Corrupt, Fault::Short] {
        let faulty = faulty(move |operation, path, _| {
            if operation == Operation::Get && path.as_ref().ends_with(".0") {
                fault
            } else {
                Fault::None
            }
        });
        let store = over(&faulty).await.unwrap();
        let (chunk, stored) = chunk(&b"content ".repeat(1_000));
        store.put_chunk(PROJECT, &stored).await.unwrap();
        let error = store.get_chunk(PROJECT, chunk.reference()).await.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{fault:?}: {error}");
        assert_eq!(store.put_chunk(PROJECT, &stored).await.unwrap(), PutOutcome::Stored);
        assert_eq!(
            store.get_chunk(PROJECT, chunk.reference()).await.unwrap().bytes(),
            chunk.bytes()
        );
    }
}

/// Ten generations that are damaged one after the other do not end the healing.
#[tokio::test(start_paused = true)]
async fn a_store_beyond_healing_is_told_so() {
    let faulty = faulty(|operation, path, _| {
        let mark = path.as_ref().contains("/chunks/");
        if operation == Operation::Get && mark {
            Fault::Corrupt
        } else {
            Fault::None
        }
    });
    let store = over(&faulty).await.unwrap();
    let (chunk, stored) = chunk(b"content");
    let mut healed = 0;
    let error = loop {
        match store.put_chunk(PROJECT, &stored).await {
            Ok(outcome) => assert_eq!(outcome, PutOutcome::Stored),
            Err(error) => break error,
        }
        assert!(matches!(
            store.get_chunk(PROJECT, chunk.reference()).await,
            Err(Error::Damaged { .. })
        ));
        healed += 1;
    };
    assert_eq!(healed, 64);
    assert!(
        error
            .to_string()
            .contains("it was damaged 64 times: the store itself must be faulty"),
        "{error}"
    );
}

/// The answer to the mark's creation is lost, and somebody else asks at the same time: one owner, and nobody hangs.
#[tokio::test(start_paused = true)]
async fn one_of_two_claims_wins() {
    let faulty = faulty(|operation, _, call| {
        if operation == Operation::Put && call < 4 {
            Fault::After
        } else {
            Fault::None
        }
    });
    let objects: Arc<dyn ObjectStore> = Arc::clone(&faulty) as _;
    let open = |member: &'static str| {
        let objects = Arc::clone(&objects);
        async move {
            let owner = owner(member);
            ChunkStore::over(
                objects,
                "faulty".to_owned(),
                Path::default(),
                &owner,
                Patience::default(),
            )
            .await
        }
    };
    let (one, other) = tokio::join!(open("east"), open("west"));
    let (winner, loser) = if one.is_ok() { (one, other) } else { (other, one) };
    winner.unwrap();
    assert!(matches!(loser, Err(Error::Owned { .. })), "{loser:?}");
}

/// A packing whose future is dropped ends its thread: the folder can be removed, and nothing is written any more.
#[tokio::test]
async fn a_dropped_packing_stops() {
    let faulty = faulty(|operation, path, _| {
        if operation == Operation::Put && path.as_ref() != "owner" {
            Fault::Hang
        } else {
            Fault::None
        }
    });
    let store = over(&faulty).await.unwrap();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("large"), super::noise(3, 64 << 20)).unwrap();
    let packing = store.pack(PROJECT, source.path(), PackLimits::default());
    tokio::time::timeout(Duration::from_millis(500), packing)
        .await
        .unwrap_err();
    // The runtime waits for its blocking threads when it is dropped at the end of this test: a hang would show.
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let patience = Patience {
        request: Duration::from_millis(500),
        operation: Duration::from_secs(1),
    };
    let location: StoreLocation = super::embedded::s3(address, "", "tester", "wrong");
    let error = ChunkStore::open(&location, &owner("east"), patience).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!(
            "the store at s3://bucket/ at http://{address} cannot say who owns it"
        )),
        "{text}"
    );
    assert!(text.contains("onnection refused"), "{text}");
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_not_shown() {
    let server = super::embedded::Server::start().await;
    let StoreLocation::S3(mut location) = server.location("") else {
        unreachable!("it is one")
    };
    let wrong = crate::store::location::SecretReference::Value("wrong-canary".to_owned().into());
    location.secret_access_key = Some(wrong);
    assert!(!format!("{location:?}").contains("wrong-canary"));
    let error = ChunkStore::open(&StoreLocation::S3(location), &owner("east"), Patience::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(!format!("{error:?} {error}").contains("wrong-canary"), "{error}");
}
