//! Outputs that their jobs keep for some days only.

use tombolo_core::attempt::OutputReference;
use tombolo_core::build::array::Array;
use tombolo_core::build::extensions::Extensions;
use tombolo_core::build::{BuildState, TerminalState};
use tombolo_core::control::Change;
use tombolo_core::control::record::Build;
use tombolo_core::time::Timestamp;

use super::example::{Leader, build, cluster_name, digest, full_status, node, project, spec};
use crate::Store;

pub async fn outputs_are_kept_as_their_jobs_say<S: Store>(store: &S) {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let mut leader = Leader::new(store).await;
    let home = project(1);
    let running = build(10, home.id, 1);
    let keeps = |index: u32, keep_days, array: Option<Array>| {
        let mut node = node(running.id, index);
        let says = Extensions {
            output_keep_days: keep_days,
            array,
            ..Extensions::default()
        };
        node.extensions = says.boxed();
        node
    };
    let array = Array {
        count: 5,
        parallel: None,
    };
    let nodes = [
        keeps(0, Some(2), Some(array)),
        keeps(1, Some(3), None),
        keeps(2, None, None),
    ];
    let leaves = |job, seed| {
        let mut status = full_status(job);
        status.loss = None;
        status.cluster = Some(cluster_name("east"));
        status.output = status.output.map(|output| OutputReference {
            manifest: digest(seed),
            bytes: 1 << seed,
            ..output
        });
        status
    };
    let ids = [nodes[1].id, nodes[2].id, nodes[0].id.of_index(4)];
    let statuses: Vec<_> = ids.into_iter().zip(1..).map(|(id, seed)| leaves(id, seed)).collect();
    let insert = Change::InsertBuild {
        build: running.clone(),
        specs: nodes.iter().map(spec).collect(),
        nodes: nodes.to_vec(),
    };
    leader.commit(vec![Change::PutProject(home.clone()), insert]).await;
    leader.commit(statuses.into_iter().map(Change::PutJob).collect()).await;
    leader.check().await;
    let ask = async |now: u64| {
        let manifests = (1..=3).map(digest).collect();
        let wanted = store.are_wanted(cluster_name("east"), home.id, manifests, Timestamp(now));
        let kept = store.kept_builds(home.id, None, 10, Timestamp(now)).await.unwrap();
        (wanted.await.unwrap(), kept[0].bytes)
    };
    assert_eq!(ask(u64::MAX >> 1).await, (vec![true; 3], 14), "its build runs");
    let over = Build {
        state: BuildState::Terminal(TerminalState::Finished),
        ended_at: Some(Timestamp(5)),
        ..running
    };
    leader.commit(vec![Change::PutBuild(over)]).await;
    for (now, wanted, bytes) in [
        (5, [true; 3], 14),
        (4 + 2 * DAY, [true; 3], 14),
        (5 + 2 * DAY, [true, true, false], 6),
        (4 + 3 * DAY, [true, true, false], 6),
        (5 + 3 * DAY, [false, true, false], 4),
    ] {
        assert_eq!(ask(now).await, (wanted.to_vec(), bytes), "at {now}");
    }
}
