//! What is asked of what is over, and of what is not.

use tombolo_core::build::{BuildState, JobState, TerminalState};
use tombolo_core::control::Change;
use tombolo_core::control::record::JobStatus;
use tombolo_core::id::{AttemptId, BuildId, Epoch, JobId, ProjectId};
use tombolo_core::log::LogLine;
use tombolo_core::time::Timestamp;

use super::example::{Leader, build, cluster_name, digest, full_status, insert, node, project, spec, token};
use crate::{JobRecord, KeptBuild, LogSegment, LogState, LogWrite, Store};

pub async fn over_is_history<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let home = project(1);
    let mut first = build(10, home.id, 1);
    leader
        .commit(vec![Change::PutProject(home), insert(first.clone(), 2)])
        .await;
    for state in TerminalState::ALL {
        (first.state, first.ended_at) = (BuildState::Terminal(state), Some(Timestamp(9)));
        leader.commit(vec![Change::PutBuild(first.clone())]).await;
        leader.check().await;
        let live = store.load().await.unwrap().live;
        assert!(live.builds.is_empty() && live.jobs.is_empty(), "{state}");
        assert_eq!(store.build(first.id).await, Ok(Some(first.clone())), "{state}");
        assert_eq!(store.jobs(first.id, 0, 10).await.unwrap().len(), 2, "{state}");
    }
}

pub async fn builds_are_paged<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let (home, other) = (project(1), project(2));
    leader
        .commit(vec![
            Change::PutProject(home.clone()),
            Change::PutProject(other.clone()),
        ])
        .await;
    for number in 1..=25_u64 {
        let mut mine = build(u128::from(100 + number), home.id, number);
        let theirs = build(u128::from(200 + number), other.id, number);
        leader.commit(vec![insert(theirs, 1), insert(mine.clone(), 1)]).await;
        if number % 2 == 0 {
            mine.state = BuildState::Terminal(TerminalState::Finished);
            leader.commit(vec![Change::PutBuild(mine)]).await;
        }
    }
    let numbers = async |before, limit| -> Vec<u64> {
        let builds = store.builds(home.id, before, limit).await.unwrap();
        assert!(builds.iter().all(|build| build.project == home.id));
        builds.iter().map(|build| build.number).collect()
    };
    assert_eq!(numbers(None, 3).await, [25, 24, 23]);
    assert_eq!(numbers(Some(23), 3).await, [22, 21, 20]);
    assert_eq!(numbers(Some(3), 10).await, [2, 1]);
    assert_eq!(numbers(Some(1), 10).await, [0_u64; 0]);
    assert_eq!(numbers(Some(u64::MAX), 100).await.len(), 25);
    assert_eq!(numbers(None, 0).await, [0_u64; 0]);
    assert_eq!(store.builds(ProjectId::from_u128(404), None, 10).await, Ok(Vec::new()));
    let found = store.build_by_number(home.id, 7).await.unwrap().unwrap();
    assert_eq!(found, build(107, home.id, 7));
    for missing in [0, 26, u64::MAX] {
        assert_eq!(store.build_by_number(home.id, missing).await, Ok(None), "{missing}");
    }
    assert_eq!(store.build(BuildId::from_u128(404)).await, Ok(None));
}

pub async fn jobs_are_found<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let home = project(1);
    let first = build(10, home.id, 1);
    let changed = full_status(node(first.id, 3).id);
    leader
        .commit(vec![
            Change::PutProject(home.clone()),
            insert(first.clone(), 10),
            insert(build(11, home.id, 2), 5),
            Change::PutJob(changed.clone()),
        ])
        .await;
    let page = store.jobs(first.id, 2, 3).await.unwrap();
    let nodes: Vec<_> = page.iter().map(|(node, _)| node.clone()).collect();
    assert_eq!(nodes, [node(first.id, 2), node(first.id, 3), node(first.id, 4)]);
    assert_eq!(page[1].1, changed);
    assert_eq!((page[0].1.state, page[0].1.epoch), (JobState::Waiting, Epoch(0)));
    assert_eq!(store.jobs(first.id, 10, 3).await, Ok(Vec::new()));
    assert_eq!(store.jobs(BuildId::from_u128(404), 0, 3).await, Ok(Vec::new()));
    let found = store.job(changed.id).await.unwrap();
    let expected = JobRecord {
        build: first.clone(),
        node: node(first.id, 3),
        status: changed,
    };
    assert_eq!(found, Some(expected));
    assert_eq!(store.job(JobId::from_u128(404)).await, Ok(None));
}

pub async fn specs_are_found<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let home = project(1);
    let first = build(10, home.id, 1);
    leader
        .commit(vec![Change::PutProject(home), insert(first.clone(), 5)])
        .await;
    let wanted = [4, 0, 2].map(|index| node(first.id, index));
    let mut ids: Vec<JobId> = wanted.iter().map(|node| node.id).collect();
    ids.insert(1, JobId::from_u128(404));
    let found = store.specs(ids).await.unwrap();
    assert_eq!(found, wanted.map(|node| (node.id, spec(&node))));
    assert_eq!(store.specs(Vec::new()).await, Ok(Vec::new()));
}

pub async fn project_goes_with_all_it_has<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let (gone, kept) = (project(1), project(2));
    let mut attempts = Vec::new();
    for (seed, home) in [(10, &gone), (20, &kept)] {
        let began = build(seed, home.id, 1);
        let mut over = began.clone();
        over.state = BuildState::Terminal(TerminalState::Finished);
        let status = JobStatus {
            state: JobState::Terminal(TerminalState::Finished),
            ..full_status(node(over.id, 1).id)
        };
        let running = build(seed + 1, home.id, 2);
        attempts.push(AttemptId {
            job: status.id,
            epoch: Epoch(1),
        });
        leader
            .commit(vec![
                Change::PutProject(home.clone()),
                Change::PutToken(token(seed, Some(home.id))),
                insert(began, 3),
                Change::PutJob(status),
                Change::PutBuild(over),
                insert(running, 3),
            ])
            .await;
        let line = LogLine {
            number: 0,
            at: Timestamp(0),
            text: b"a line".to_vec(),
        };
        let write = LogWrite {
            attempt: *attempts.last().unwrap(),
            segment: LogSegment::encode(&[line]),
        };
        store.append_log(leader.epoch, vec![write]).await.unwrap();
    }
    leader
        .commit(vec![Change::PutToken(token(30, None)), Change::DeleteProject(gone.id)])
        .await;
    leader.check().await;
    let tokens = store.load().await.unwrap().live.tokens;
    assert_eq!(
        tokens.len(),
        2,
        "the token of the project is gone, the others are not: {tokens:?}"
    );
    let builds = async |home| store.builds(home, None, 10).await.unwrap().len();
    assert_eq!((builds(gone.id).await, builds(kept.id).await), (0, 2));
    for (attempt, there) in attempts.into_iter().zip([false, true]) {
        assert_eq!(store.job(attempt.job).await.unwrap().is_some(), there);
        assert_eq!(store.specs(vec![attempt.job]).await.unwrap().len(), usize::from(there));
        assert_eq!(store.log_state(attempt).await.unwrap() != LogState::default(), there);
        assert_eq!(store.read_log(attempt, 0, 10).await.unwrap().len(), usize::from(there));
    }
    // Its name and its numbers are free again.
    leader
        .commit(vec![Change::PutProject(gone.clone()), insert(build(10, gone.id, 1), 1)])
        .await;
    leader.check().await;
}

/// Which outputs are kept, for whom, and until when.
pub async fn outputs_are_kept_until_released<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let (home, other) = (project(1), project(2));
    let mut over = build(10, home.id, 1);
    let mut status = full_status(node(over.id, 0).id);
    status.cluster = Some(cluster_name("east"));
    let lost = status.clone();
    status.loss = None;
    let output = status.output.expect("the example has an output");
    let changes = vec![
        Change::PutProject(home.clone()),
        Change::PutProject(other.clone()),
        insert(over.clone(), 1),
        Change::PutJob(status.clone()),
    ];
    leader.commit(changes).await;
    let source = over.source.expect("the example has a source");
    let ask = |cluster: &str, project| {
        let manifests = vec![output.manifest, digest(77_777), source];
        store.are_wanted(cluster_name(cluster), project, manifests, Timestamp(0))
    };
    assert_eq!(ask("east", home.id).await.unwrap(), [true, false, true]);
    assert_eq!(
        ask("nowhere", home.id).await.unwrap(),
        [false; 3],
        "it has nothing of the build"
    );
    assert_eq!(
        ask("farther", home.id).await.unwrap(),
        [true, false, false],
        "it was given a copy of the output"
    );
    assert_eq!(
        ask("east", other.id).await.unwrap(),
        [false; 3],
        "projects share nothing"
    );
    let are_sources = |project| store.are_sources(project, vec![output.manifest, source]);
    assert_eq!(are_sources(home.id).await.unwrap(), [false, true]);
    assert_eq!(are_sources(other.id).await.unwrap(), [false; 2]);
    let expected = KeptBuild {
        build: over.clone(),
        bytes: output.bytes,
    };
    let kept = store.kept_builds(home.id, None, 10, Timestamp(0)).await.unwrap();
    assert_eq!(kept, std::slice::from_ref(&expected));
    assert_eq!(store.kept_builds(home.id, Some(1), 10, Timestamp(0)).await.unwrap(), []);

    // Nobody has to keep what nobody has.
    leader.commit(vec![Change::PutJob(lost)]).await;
    leader.check().await;
    assert_eq!(ask("east", home.id).await.unwrap(), [false, false, true]);
    let without = KeptBuild { bytes: 0, ..expected };
    assert_eq!(
        store.kept_builds(home.id, None, 10, Timestamp(0)).await.unwrap(),
        [without]
    );
    leader.commit(vec![Change::PutJob(status)]).await;
    assert_eq!(ask("east", home.id).await.unwrap(), [true, false, true]);

    over.state = BuildState::Terminal(TerminalState::Finished);
    over.released_at = Some(Timestamp(99));
    leader.commit(vec![Change::PutBuild(over.clone())]).await;
    assert_eq!(store.build(over.id).await.unwrap(), Some(over));
    assert_eq!(ask("east", home.id).await.unwrap(), [false; 3]);
    assert_eq!(ask("farther", home.id).await.unwrap(), [false; 3], "copies go with it");
    assert_eq!(are_sources(home.id).await.unwrap(), [false; 2]);
    assert_eq!(store.kept_builds(home.id, None, 10, Timestamp(0)).await.unwrap(), []);
}
