//! Pieces of logs.

use tombolo_core::control::Change;
use tombolo_core::id::{AttemptId, Epoch, JobId};
use tombolo_core::log::{LINE_BYTES_MAX, LogLine};
use tombolo_core::time::Timestamp;

use super::example::{Leader, build, insert, node, project};
use crate::log::READ_BYTES;
use crate::{LogSegment, LogState, LogWrite, Store};

fn lines(range: std::ops::Range<u64>) -> Vec<LogLine> {
    let line = |number| LogLine {
        number,
        at: Timestamp(number),
        text: format!("line {number} \0 \u{fffd}")
            .into_bytes()
            .repeat(usize::try_from(number % 7).unwrap()),
    };
    range.map(line).collect()
}

fn write(attempt: AttemptId, lines: &[LogLine]) -> LogWrite {
    LogWrite {
        attempt,
        segment: LogSegment::encode(lines),
    }
}

/// A leader, and an attempt of a job that is there.
async fn begin<S: Store>(store: &S) -> (Leader<'_, S>, AttemptId) {
    let mut leader = Leader::new(store).await;
    let home = project(1);
    let first = build(10, home.id, 1);
    leader
        .commit(vec![Change::PutProject(home), insert(first.clone(), 1)])
        .await;
    let attempt = AttemptId {
        job: node(first.id, 0).id,
        epoch: Epoch(2),
    };
    (leader, attempt)
}

pub async fn log_is_read_from_any_line<S: Store>(store: &S) {
    let (leader, attempt) = begin(store).await;
    assert_eq!(store.log_state(attempt).await, Ok(LogState::default()));
    assert_eq!(store.read_log(attempt, 0, 10).await, Ok(Vec::new()));
    let other = AttemptId {
        epoch: Epoch(1),
        ..attempt
    };
    store
        .append_log(leader.epoch, vec![write(other, &lines(0..3))])
        .await
        .unwrap();
    let writes = [0..1, 1..10, 10..50].map(|range| write(attempt, &lines(range)));
    store.append_log(leader.epoch, writes.to_vec()).await.unwrap();
    store
        .append_log(leader.epoch, vec![write(attempt, &lines(50..60))])
        .await
        .unwrap();
    let all = lines(0..60);
    for first in 0..62 {
        for limit in [0, 1, 2, 10, 100] {
            let skipped = all.iter().skip(usize::try_from(first).unwrap());
            let expected: Vec<LogLine> = skipped.take(limit as usize).cloned().collect();
            assert_eq!(
                store.read_log(attempt, first, limit).await,
                Ok(expected),
                "from {first}, {limit}"
            );
        }
    }
    assert_eq!(store.read_log(attempt, u64::MAX, 1).await, Ok(Vec::new()));
    let state = store.log_state(attempt).await.unwrap();
    let text: usize = all.iter().map(|line| line.text.len()).sum();
    assert_eq!(state.next_line, 60);
    assert!(state.bytes >= text as u64 && state.stored_bytes > 0, "{state:?}");
    assert_eq!(store.log_state(other).await.unwrap().next_line, 3);
}

pub async fn log_is_read_in_pieces<S: Store>(store: &S) {
    let (leader, attempt) = begin(store).await;
    let mut next = 0;
    let long = |number| LogLine {
        number,
        at: Timestamp(0),
        text: vec![b'x'; LINE_BYTES_MAX],
    };
    let total = (4 * READ_BYTES / LINE_BYTES_MAX) as u64;
    while next < total {
        let piece: Vec<LogLine> = (next..next + 16).map(long).collect();
        store
            .append_log(leader.epoch, vec![write(attempt, &piece)])
            .await
            .unwrap();
        next += 16;
    }
    let state = store.log_state(attempt).await.unwrap();
    assert!(
        state.stored_bytes * 20 < state.bytes,
        "what repeats is compressed: {state:?}"
    );
    let (mut read, mut pieces) = (0, 0);
    loop {
        let piece = store.read_log(attempt, read, u32::MAX).await.unwrap();
        let bytes: usize = piece.iter().map(LogLine::weight).sum();
        assert!(bytes <= READ_BYTES + 2 * LINE_BYTES_MAX, "{bytes}");
        let Some(last) = piece.last() else { break };
        assert!(piece.iter().map(|line| line.number).eq(read..=last.number));
        (read, pieces) = (last.number + 1, pieces + 1);
    }
    assert_eq!(read, total);
    assert!(pieces >= 4, "{pieces}");
}

pub async fn segments_take_the_place_of_others<S: Store>(store: &S) {
    let (leader, attempt) = begin(store).await;
    let small: Vec<LogWrite> = (0..20)
        .map(|number| write(attempt, &lines(number..number + 1)))
        .collect();
    store.append_log(leader.epoch, small.clone()).await.unwrap();
    let before = store.log_state(attempt).await.unwrap();
    // Lines that come again, and one in the place of many.
    for writes in [
        small,
        vec![write(attempt, &lines(5..18))],
        vec![write(attempt, &lines(0..20))],
    ] {
        store.append_log(leader.epoch, writes).await.unwrap();
        assert_eq!(store.read_log(attempt, 0, 100).await, Ok(lines(0..20)));
    }
    let after = store.log_state(attempt).await.unwrap();
    assert_eq!((after.next_line, after.bytes), (before.next_line, before.bytes));
    assert!(after.stored_bytes < before.stored_bytes / 2, "{before:?} {after:?}");
}

pub async fn log_goes_with_its_job<S: Store>(store: &S) {
    let (mut leader, attempt) = begin(store).await;
    let unknown = AttemptId {
        job: JobId::from_u128(404),
        epoch: Epoch(1),
    };
    let writes = vec![write(unknown, &lines(0..5)), write(attempt, &lines(0..5))];
    store.append_log(leader.epoch, writes.clone()).await.unwrap();
    assert_eq!(store.log_state(unknown).await, Ok(LogState::default()));
    assert_eq!(store.log_state(attempt).await.unwrap().next_line, 5);
    leader.commit(vec![Change::DeleteProject(project(1).id)]).await;
    assert_eq!(store.log_state(attempt).await, Ok(LogState::default()));
    store.append_log(leader.epoch, writes).await.unwrap();
    assert_eq!(store.log_state(attempt).await, Ok(LogState::default()));
}
