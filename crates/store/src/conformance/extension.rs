//! Jobs that come to a build which is there.

use tombolo_core::build::{JobState, StateSet};
use tombolo_core::control::Change;
use tombolo_core::control::record::{JobNode, JobStatus};

use super::example::{Leader, build, full_status, insert, node, project, spec};
use crate::Store;

pub async fn builds_are_extended<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let home = project(1);
    let first = build(10, home.id, 1);
    leader
        .commit(vec![
            Change::PutProject(home.clone()),
            insert(first.clone(), 3),
            insert(build(11, home.id, 2), 1),
        ])
        .await;
    let parents = vec![(0, StateSet::ALL), (4, StateSet::default())];
    let extend = |indexes: std::ops::Range<u32>, parents| {
        let nodes: Vec<JobNode> = indexes.map(|index| node(first.id, index)).collect();
        Change::ExtendBuild {
            build: first.id,
            specs: nodes.iter().map(spec).collect(),
            nodes,
            parents,
        }
    };
    let begun = full_status(node(first.id, 4).id);
    leader
        .commit(vec![
            extend(3..5, vec![(node(first.id, 2).id, parents.clone())]),
            Change::PutJob(begun.clone()),
        ])
        .await;
    leader.check().await;
    let jobs = store.jobs(first.id, 0, 10).await.unwrap();
    let nodes: Vec<JobNode> = jobs.iter().map(|(node, _)| node.clone()).collect();
    let mut expected: Vec<JobNode> = (0..5).map(|index| node(first.id, index)).collect();
    expected[2].parents.clone_from(&parents);
    assert_eq!(nodes, expected);
    assert_eq!((jobs[3].1.state, &jobs[4].1), (JobState::Waiting, &begun));
    let ids = vec![node(first.id, 3).id, node(first.id, 2).id];
    let specs = store.specs(ids).await.unwrap();
    assert_eq!(specs[0].1, spec(&node(first.id, 3)));
    assert_eq!(
        specs[1].1,
        spec(&node(first.id, 2)),
        "specifications stay as they were submitted"
    );

    // In one set with what comes after it, and as the live state does it.
    let end = JobStatus {
        message: "over".to_owned(),
        ..JobStatus::waiting(node(first.id, 5).id)
    };
    leader
        .commit(vec![extend(5..6, Vec::new()), Change::PutJob(end.clone())])
        .await;
    leader.check().await;
    let live = store.load().await.unwrap().live;
    let last = live.jobs.iter().find(|(job, _)| job.id == end.id);
    assert_eq!(last, Some(&(node(first.id, 5), end)));
}
