//! Indexes of arrays.

use std::sync::Arc;
use std::time::Instant;

use tombolo_core::build::array::{Array, Counts};
use tombolo_core::build::extensions::Extensions;
use tombolo_core::build::{BuildState, JobState, TerminalState};
use tombolo_core::control::Change;
use tombolo_core::control::record::{Build, JobNode, JobStatus};
use tombolo_core::id::{AttemptId, Epoch, JobId, ProjectId};
use tombolo_core::log::LogLine;
use tombolo_core::time::Timestamp;

use super::example::{Leader, build, cluster_name, full_status, node, project, spec};
use crate::{CommitError, LogSegment, LogWrite, Store};

/// A build of an array and a job after it.
fn insert(build: &Build, count: u32) -> (JobNode, Change) {
    let extensions = Extensions {
        array: Some(Array {
            count,
            parallel: Some(7),
        }),
        ..Extensions::default()
    };
    let array = JobNode {
        extensions: Some(Box::new(extensions)),
        ..node(build.id, 0)
    };
    let nodes = vec![array.clone(), node(build.id, 1)];
    let specs = nodes.iter().map(spec).collect();
    let build = build.clone();
    (array, Change::InsertBuild { build, nodes, specs })
}

fn in_state(id: JobId, state: JobState) -> JobStatus {
    JobStatus {
        state,
        ..JobStatus::waiting(id)
    }
}

pub async fn indexes_are_there_when_they_begin<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let home = project(1);
    let first = build(10, home.id, 1);
    let (array, insert) = insert(&first, 1000);
    let queued = in_state(array.id.of_index(2), JobState::Queued);
    let running = in_state(array.id, JobState::Running);
    leader
        .commit(vec![
            Change::PutProject(home.clone()),
            insert,
            Change::PutJob(running.clone()),
            Change::PutJob(queued.clone()),
        ])
        .await;
    leader.check().await;
    let full = full_status(array.id.of_index(0));
    let (placed, new) = (
        in_state(array.id.of_index(2), JobState::Assigned),
        in_state(array.id.of_index(999), JobState::Queued),
    );
    leader
        .commit(
            [&full, &queued, &placed, &new]
                .map(|status| Change::PutJob(status.clone()))
                .to_vec(),
        )
        .await;
    leader.check().await;

    assert_eq!(
        store.jobs(first.id, 0, 10).await.unwrap().len(),
        2,
        "indexes are not jobs of the build"
    );
    let all = store.indexes(array.id, 0, 10, None).await.unwrap();
    assert_eq!(all, [full.clone(), placed.clone(), new.clone()]);
    assert_eq!(
        store.indexes(array.id, 1, 1, None).await.unwrap(),
        std::slice::from_ref(&placed)
    );
    let unstable = Some(JobState::Terminal(TerminalState::Unstable));
    assert_eq!(
        store.indexes(array.id, 0, 10, unstable).await.unwrap(),
        std::slice::from_ref(&full)
    );
    let counts: Counts = [full.state, placed.state, new.state]
        .into_iter()
        .map(|state| (state, 1))
        .collect();
    assert_eq!(store.index_counts(array.id).await.unwrap(), counts);

    let record = store.job(placed.id).await.unwrap().unwrap();
    assert_eq!((record.build, record.status), (first.clone(), placed));
    assert_eq!(
        (record.node.id, record.node.name.as_str()),
        (array.id.of_index(2), "group/job-0/2")
    );
    let unbegun = store.job(array.id.of_index(500)).await.unwrap().unwrap();
    assert_eq!(unbegun.status, running.of_unbegun(array.id.of_index(500)));
    assert_eq!(unbegun.status.state, JobState::Queued);
    assert_eq!(store.job(array.id.of_index(1000)).await.unwrap(), None);

    are_kept_and_logged(&leader, home.id, &full).await;

    // A build that is over is history, with its indexes.
    let over = Build {
        state: BuildState::Terminal(TerminalState::Finished),
        ..first
    };
    leader.commit(vec![Change::PutBuild(over)]).await;
    leader.check().await;
    assert_eq!(store.load().await.unwrap().live.indexes, []);
    assert_eq!(store.indexes(array.id, 0, 10, None).await.unwrap().len(), 3);
}

/// What an index leaves is kept and wanted like that of any job, and it has a log.
async fn are_kept_and_logged<S: Store>(leader: &Leader<'_, S>, home: ProjectId, full: &JobStatus) {
    let store = leader.store;
    let kept = store.kept_builds(home, None, 10, Timestamp(0)).await.unwrap();
    let lost = full.output_lost().is_some();
    assert_eq!(kept[0].bytes, if lost { 0 } else { full.output.unwrap().bytes });
    let attempt = AttemptId {
        job: full.id,
        epoch: Epoch(1),
    };
    let line = LogLine {
        number: 0,
        at: Timestamp(1),
        text: b"it begins".to_vec(),
    };
    let segment = LogSegment::encode(std::slice::from_ref(&line));
    store
        .append_log(leader.epoch, vec![LogWrite { attempt, segment }])
        .await
        .unwrap();
    assert_eq!(store.read_log(attempt, 0, 10).await.unwrap(), [line]);
    let manifest = full.output.unwrap().manifest;
    let wanted = store
        .are_wanted(cluster_name("east"), home, vec![manifest], Timestamp(0))
        .await
        .unwrap();
    assert_eq!(wanted, [!lost]);
}

#[allow(clippy::print_stderr, reason = "it says how long each step takes")]
pub async fn large_array<S: Store>(store: &S) {
    const COUNT: u32 = 10_000;
    let mut leader = Leader::new(store).await;
    let home = project(1);
    let first = build(10, home.id, 1);
    let (array, insert) = insert(&first, COUNT);
    let began = Instant::now();
    leader.commit(vec![Change::PutProject(home), insert]).await;
    eprintln!("an array of {COUNT} indexes was taken in {:?}", began.elapsed());
    assert_eq!(store.load().await.unwrap().live.indexes, []);
    let began = Instant::now();
    for page in (0..COUNT).collect::<Vec<_>>().chunks(2_000) {
        let begin = |index: &u32| Change::PutJob(in_state(array.id.of_index(*index), JobState::Assigned));
        let changes = page.iter().map(begin).collect();
        // The model looks at each that is there already.
        let sequence = leader.sequence.next();
        store.commit(leader.epoch, sequence, Arc::new(changes)).await.unwrap();
        leader.sequence = sequence;
    }
    eprintln!("its indexes have begun in {:?}", began.elapsed());
    let began = Instant::now();
    let indexes = store.load().await.unwrap().live.indexes;
    eprintln!("they were read at a start in {:?}", began.elapsed());
    assert_eq!(indexes.len(), COUNT as usize);
    assert!(
        indexes
            .iter()
            .zip(0..)
            .all(|(status, index)| status.id == array.id.of_index(index))
    );
    assert_eq!(store.index_counts(array.id).await.unwrap().total(), COUNT);
}

pub async fn indexes_go_with_their_project<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let home = project(1);
    let first = build(10, home.id, 1);
    let (array, insert) = insert(&first, 3);
    let status = in_state(array.id.of_index(1), JobState::Queued);
    leader
        .commit(vec![Change::PutProject(home.clone()), insert, Change::PutJob(status)])
        .await;
    leader.commit(vec![Change::DeleteProject(home.id)]).await;
    leader.check().await;
    assert_eq!(store.indexes(array.id, 0, 10, None).await.unwrap(), []);
}

pub async fn indexes_need_their_array<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let home = project(1);
    let first = build(10, home.id, 1);
    let (array, insert) = insert(&first, 3);
    leader.commit(vec![Change::PutProject(home), insert]).await;
    let stranger = in_state(JobId::from_u128(99 << 32).of_index(1), JobState::Queued);
    let own = in_state(array.id.of_index(1), JobState::Queued);
    let refused = leader
        .try_commit(vec![Change::PutJob(own), Change::PutJob(stranger)])
        .await;
    assert!(matches!(refused, Err(CommitError::Rejected(_))), "{refused:?}");
    leader.check().await;
}
