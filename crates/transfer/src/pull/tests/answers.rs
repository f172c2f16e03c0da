//! What is said when nobody gives an artifact.

use tokio::time::Instant;
use tombolo_core::attempt::RouteKind;

use super::super::{Answers, Error, Patience};
use super::{Act, Stage};

#[tokio::test(start_paused = true)]
async fn without_a_good_source_there_is_a_reason_and_no_artifact() {
    let named = || vec!["east".parse().unwrap()];
    let missing = || Answers {
        missing: named(),
        ..Answers::default()
    };
    let unreachable = || Answers {
        unreachable: named(),
        ..Answers::default()
    };
    let refused = Answers {
        refused: named(),
        ..Answers::default()
    };
    let cases = [
        (Act::Corrupt, "has bytes whose digest is", missing()),
        (Act::Truncate, "chunk", missing()),
        (Act::Refuse, "east by peer: the grant has expired", refused),
        (Act::Miss, "east by peer: no such chunk", missing()),
        (Act::Vanish, "east by peer: connection reset", unreachable()),
        (Act::Hang, "east by peer: no answer within 120 s", unreachable()),
    ];
    for (act, reason, expected) in cases {
        let stage = Stage::new().await;
        let east = stage.scripted(move |_| act);
        let began = Instant::now();
        let error = stage.pull(&[("east", RouteKind::Peer, &east)]).await.unwrap_err();
        let text = error.to_string();
        let Error::Unobtainable { answers, .. } = error else {
            panic!("{act:?}: {text}")
        };
        assert_eq!(*answers, expected, "{act:?}");
        assert!(
            text.starts_with("cannot get chunk ") && text.contains(reason),
            "{act:?}: {text}"
        );
        assert!(
            began.elapsed() <= Patience::default().stalled + Patience::default().request,
            "{:?}",
            began.elapsed()
        );
        stage.assert_invisible().await;
    }
    let stage = Stage::new().await;
    let error = stage.pull(&[]).await.unwrap_err();
    assert!(error.to_string().ends_with("no cluster is known to have it"), "{error}");
}

/// Each cluster has one answer, however many ways lead to it.
#[tokio::test(start_paused = true)]
async fn clusters_answer_once() {
    let stage = Stage::new().await;
    let (lacks, away) = (stage.scripted(|_| Act::Miss), stage.scripted(|_| Act::Vanish));
    let sources = [
        ("east", RouteKind::Peer, &away),
        ("east", RouteKind::Relay, &lacks),
        ("west", RouteKind::Peer, &away),
        ("west", RouteKind::Relay, &away),
    ];
    let Err(Error::Unobtainable { answers, .. }) = stage.pull(&sources).await else {
        panic!("nobody gives it")
    };
    let expected = Answers {
        missing: vec!["east".parse().unwrap()],
        unreachable: vec!["west".parse().unwrap()],
        refused: Vec::new(),
    };
    assert_eq!(*answers, expected);
}
