//! Leadership, commits, and what is loaded after them.

use std::collections::HashSet;
use std::sync::Arc;

use tombolo_core::build::{BuildState, JobState, TerminalState};
use tombolo_core::control::Change;
use tombolo_core::control::record::{JobStatus, Project};
use tombolo_core::id::{AttemptId, BuildId, Epoch, JobId};
use tombolo_core::label::Labels;
use tombolo_core::log::LogLine;
use tombolo_core::time::Timestamp;

use super::example::{
    HARD_TEXT, Leader, build, cache, cluster, digest, full_status, insert, invite, node, project, token,
};
use crate::{CommitError, Error, LogSegment, LogWrite, Sequence, Store};

pub async fn new_store_is_empty<S: Store>(store: &S) {
    Leader::new(store).await.check().await;
}

pub async fn every_value_comes_back<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let home = project(1);
    let first = build(10, home.id, u64::MAX >> 1);
    leader
        .commit(vec![
            Change::PutProject(home.clone()),
            Change::PutCluster(cluster("east")),
            Change::PutInvite(invite(2)),
            Change::PutToken(token(3, Some(home.id))),
            Change::PutToken(token(4, None)),
            insert(first.clone(), 3),
        ])
        .await;
    leader.check().await;
    let mut used = invite(2);
    used.used_by = Some(digest(9));
    let mut relabelled = cluster("east");
    relabelled.labels = Labels::default();
    let mut plain = build(10, home.id, 1);
    (plain.source, plain.submitted_by) = (None, String::new());
    leader
        .commit(vec![
            Change::PutProject(Project { last_build: 1, ..home }),
            Change::PutCluster(relabelled),
            Change::PutInvite(used),
            Change::PutBuild(plain),
            Change::PutJob(full_status(node(first.id, 1).id)),
        ])
        .await;
    leader.check().await;
    for state in open_states().chain(TerminalState::ALL.map(JobState::Terminal)) {
        let status = JobStatus {
            state,
            ..full_status(node(first.id, 2).id)
        };
        leader.commit(vec![Change::PutJob(status)]).await;
        leader.check().await;
    }
    leader
        .commit(vec![
            Change::DeleteCluster(cluster("east").name),
            Change::DeleteInvite(invite(2).id),
            Change::DeleteToken(token(4, None).id),
            // What is not there can be deleted too.
            Change::DeleteToken(token(99, None).id),
        ])
        .await;
    leader.check().await;
}

fn open_states() -> impl Iterator<Item = JobState> {
    use JobState::{Assigned, Preparing, Publishing, Queued, Running, Waiting};
    [Waiting, Queued, Assigned, Preparing, Running, Publishing].into_iter()
}

pub async fn changes_of_one_set_build_on_each_other<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let home = project(1);
    let (one, two) = (build(10, home.id, 1), build(11, home.id, 2));
    let step = |job: JobId, state| {
        let status = JobStatus {
            state,
            ..full_status(job)
        };
        Change::PutJob(status)
    };
    let mut over = one.clone();
    over.state = BuildState::Terminal(TerminalState::Finished);
    leader
        .commit(vec![
            Change::PutProject(home.clone()),
            insert(one.clone(), 2),
            step(node(one.id, 0).id, JobState::Queued),
            step(node(one.id, 0).id, JobState::Assigned),
            Change::PutProject(Project {
                last_build: 2,
                ..home.clone()
            }),
            insert(two.clone(), 2),
            step(node(two.id, 1).id, JobState::Queued),
            step(node(one.id, 0).id, JobState::Running),
            Change::PutBuild(over),
        ])
        .await;
    leader.check().await;
    leader
        .commit(vec![
            Change::PutProject(project(2)),
            insert(build(12, project(2).id, 1), 1),
            step(node(two.id, 0).id, JobState::Queued),
            Change::DeleteProject(project(2).id),
            step(node(two.id, 0).id, JobState::Assigned),
        ])
        .await;
    leader.check().await;
}

pub async fn random_changes_come_back<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let mut random = Random(0x5eed);
    let mut next = 1;
    for _ in 0..150 {
        let mut changes = Vec::new();
        let mut expected = leader.model.clone();
        for _ in 0..random.below(6) {
            next += 1;
            let change = random_change(&mut random, &expected, next);
            expected.apply(&change);
            changes.push(change);
        }
        leader.commit(changes).await;
        leader.check().await;
    }
    assert!(
        leader.model.jobs.len() > 20,
        "the changes add up to something: {}",
        leader.model.jobs.len()
    );
}

fn random_change(random: &mut Random, live: &tombolo_core::control::LiveState, next: u128) -> Change {
    let fresh = Change::PutProject(project(next));
    match random.below(12) {
        0 => fresh,
        9 => random.pick(&live.projects).map_or(fresh, |home| {
            let branch = ["main", HARD_TEXT, ""][random.below(3)];
            Change::PutCache(cache(home.id, branch, ["east", "west"][random.below(2)], next))
        }),
        10 => random
            .pick(&live.caches)
            .map_or(fresh, |cache| Change::DeleteCache(cache.key.clone())),
        1 => Change::PutCluster(cluster(["east", "west", "north"][random.below(3)])),
        2 => Change::PutInvite(invite(next)),
        3 => random
            .pick(&live.projects)
            .map_or(fresh, |home| Change::PutToken(token(next, Some(home.id)))),
        4..6 => random.pick(&live.projects).map_or(fresh, |home| {
            let number = u64::try_from(next).unwrap();
            insert(
                build(next, home.id, number),
                u32::try_from(random.below(9)).unwrap() + 1,
            )
        }),
        6..9 => random.pick(&live.jobs).map_or(fresh, |(node, _)| {
            let state = open_states().nth(random.below(6)).unwrap();
            Change::PutJob(JobStatus {
                state,
                ..full_status(node.id)
            })
        }),
        _ if random.below(4) == 0 => random
            .pick(&live.projects)
            .map_or(fresh, |home| Change::DeleteProject(home.id)),
        _ => random.pick(&live.builds).map_or(fresh, |build| {
            let mut build = build.clone();
            build.restarts += 1;
            if random.below(3) == 0 {
                (build.state, build.ended_at) = (BuildState::Terminal(TerminalState::Error), Some(Timestamp(8)));
            }
            Change::PutBuild(build)
        }),
    }
}

pub async fn rejected_set_leaves_nothing<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let home = project(1);
    let first = build(10, home.id, 1);
    leader
        .commit(vec![Change::PutProject(home.clone()), insert(first.clone(), 2)])
        .await;
    let mut same_name = project(2);
    same_name.name = home.name.clone();
    let mut mismatch = insert(build(11, home.id, 2), 2);
    if let Change::InsertBuild { specs, .. } = &mut mismatch {
        specs.pop();
    }
    let mut same_secret = token(5, None);
    same_secret.secret = token(6, None).secret;
    let poison: Vec<(&str, Vec<Change>)> = vec![
        ("a project's name twice", vec![Change::PutProject(same_name)]),
        ("a build's number twice", vec![insert(build(11, home.id, 1), 1)]),
        ("a build's id twice", vec![insert(build(10, home.id, 2), 1)]),
        (
            "a build without a project",
            vec![insert(build(11, project(9).id, 1), 1)],
        ),
        ("jobs without specifications", vec![mismatch]),
        (
            "a token's secret twice",
            vec![Change::PutToken(token(6, None)), Change::PutToken(same_secret)],
        ),
        (
            "a token of no project",
            vec![Change::PutToken(token(6, Some(project(9).id)))],
        ),
        (
            "a status of no job",
            vec![Change::PutJob(full_status(JobId::from_u128(404)))],
        ),
        ("a change of no build", vec![Change::PutBuild(build(404, home.id, 9))]),
    ];
    for (what, poison) in poison {
        let mut changes = vec![
            Change::PutProject(project(3)),
            insert(build(12, home.id, 3), 2),
            Change::PutJob(full_status(node(first.id, 0).id)),
        ];
        changes.extend(poison);
        changes.push(Change::PutCluster(cluster("east")));
        let result = leader.try_commit(changes).await;
        assert!(matches!(result, Err(CommitError::Rejected(_))), "{what}: {result:?}");
        leader.check().await;
        assert_eq!(store.committed(leader.epoch).await, Ok(leader.sequence), "{what}");
        assert_eq!(store.build(build(12, home.id, 3).id).await, Ok(None), "{what}");
    }
    // The number of a commit that was rejected is free.
    leader.commit(vec![Change::PutProject(project(3))]).await;
    leader.check().await;
}

pub async fn leadership_fences<S: Store>(store: &S) {
    let mut old = Leader::new(store).await;
    let home = project(1);
    let first = build(10, home.id, 1);
    old.commit(vec![Change::PutProject(home.clone()), insert(first.clone(), 1)])
        .await;
    let attempt = AttemptId {
        job: node(first.id, 0).id,
        epoch: Epoch(1),
    };
    let lines = [LogLine {
        number: 0,
        at: Timestamp(0),
        text: b"late".to_vec(),
    }];
    let write = LogWrite {
        attempt,
        segment: LogSegment::encode(&lines),
    };

    let mut new = Leader::new(store).await;
    assert!(new.epoch > old.epoch, "{} after {}", new.epoch, old.epoch);
    new.model = old.model.clone();
    new.check().await;
    let late = old.try_commit(vec![Change::PutProject(project(2))]).await;
    assert_eq!(late, Err(CommitError::Deposed));
    assert_eq!(
        store.append_log(old.epoch, vec![write.clone()]).await,
        Err(Error::Deposed)
    );
    assert_eq!(store.committed(old.epoch).await, Err(Error::Deposed));
    new.check().await;
    assert_eq!(store.read_log(attempt, 0, 10).await, Ok(Vec::new()));

    new.commit(vec![Change::PutProject(project(3))]).await;
    new.check().await;
    assert_eq!(store.append_log(new.epoch, vec![write]).await, Ok(()));
    assert_eq!(store.read_log(attempt, 0, 10).await, Ok(lines.to_vec()));
}

pub async fn sequence_is_read_back<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    assert_eq!(store.committed(leader.epoch).await, Ok(Sequence(0)));
    for seed in 1..5 {
        leader.commit(vec![Change::PutProject(project(seed))]).await;
        assert_eq!(store.committed(leader.epoch).await, Ok(leader.sequence));
    }
    for again in [leader.sequence, Sequence(1)] {
        let changes = Arc::new(vec![Change::PutProject(project(50))]);
        let result = store.commit(leader.epoch, again, changes).await;
        assert!(matches!(result, Err(CommitError::Rejected(_))), "{again:?}: {result:?}");
    }
    leader.check().await;
    let next = Leader::new(store).await;
    assert_eq!(store.committed(next.epoch).await, Ok(Sequence(0)));
}

pub async fn large_build<S: Store>(store: &S) {
    const JOBS: u32 = 100_000;
    let mut leader = Leader::new(store).await;
    let home = project(1);
    let first = build(10, home.id, 1);
    leader
        .commit(vec![Change::PutProject(home), insert(first.clone(), JOBS)])
        .await;
    let live = store.load().await.unwrap().live;
    let distinct: HashSet<JobId> = live.jobs.iter().map(|(node, _)| node.id).collect();
    assert_eq!((live.jobs.len(), distinct.len()), (JOBS as usize, JOBS as usize));
    let place = JOBS as usize / 2;
    assert_eq!(live.jobs[place].0, node(BuildId::from_u128(10), JOBS / 2));
    let page = store.jobs(first.id, JOBS - 10, 100).await.unwrap();
    assert_eq!(page.len(), 10);
}

/// A small generator of numbers: the same ones in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() {
            None
        } else {
            from.get(self.below(from.len()))
        }
    }
}
