//! Records to write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tombolo_core::access::{Right, Role};
use tombolo_core::attempt::{OutputReference, Revision, RouteKind, TransferReceipt};
use tombolo_core::build::extensions::{Extensions, InputRule, OnDisconnect, PhaseLimits, Preference};
use tombolo_core::build::hook::Hook;
use tombolo_core::build::repository::Repository;
use tombolo_core::build::retry::{Backoff, Retry};
use tombolo_core::build::{BuildState, Dependency, JobKind, JobSpec, JobState, StateSet, TerminalState};
use tombolo_core::cache::{Cache, CacheKey};
use tombolo_core::capability::Capability;
use tombolo_core::control::record::{
    Build, Cluster, Course, End, Invite, JobNode, JobStatus, Loss, Project, Replaced, Token, Try, Unbegun,
};
use tombolo_core::control::{Change, LiveState};
use tombolo_core::digest::Digest;
use tombolo_core::id::{BuildId, Epoch, InviteId, JobId, ProjectId, TokenId};
use tombolo_core::label::{Labels, Operator, Requirement, Selector};
use tombolo_core::name::{ClusterName, JobName, ProjectName};
use tombolo_core::placement::{Availability, Choice, Comparison, Score, Wishes};
use tombolo_core::resources::Resources;
use tombolo_core::retention::Policy;
use tombolo_core::route::{Cost, Costs};
use tombolo_core::share::{Limits, Share};
use tombolo_core::time::Timestamp;
use tombolo_core::volume::{VolumeKind, VolumeSet};

use crate::{CommitError, LeaderEpoch, Sequence, Store};

/// A text with everything that databases stumble over.
pub(super) const HARD_TEXT: &str =
    "nul \0, quote ' \" `, percent %_, backslash \\, line\r\n, é 漢 🏝 \u{202e}, \u{fffd}";

pub(super) fn digest(seed: u128) -> Digest {
    let mut bytes = [0xa5; 32];
    bytes[..16].copy_from_slice(&seed.to_le_bytes());
    Digest::new(bytes)
}

pub(super) fn cluster_name(name: &str) -> ClusterName {
    ClusterName::new(name).unwrap()
}

pub(super) fn labels() -> Labels {
    let text = serde_json::json!({ "GCP": "", "region": "eu", "odd": HARD_TEXT }).to_string();
    serde_json::from_str(&text).unwrap()
}

pub(super) fn project(seed: u128) -> Project {
    Project {
        id: ProjectId::from_u128(seed),
        name: ProjectName::new(&format!("project-{seed}")).unwrap(),
        created_at: Timestamp(1_700_000_000_000),
        last_build: 0,
        workspace: Some(cluster_name("west")),
        retention: Some(Policy {
            builds: Some(3),
            days: None,
            bytes: Some(u64::MAX),
        }),
        share: Share {
            weight: 3,
            limits: Limits {
                jobs: Some(u32::MAX),
                cpu_milli: None,
                memory_bytes: Some(u64::MAX),
            },
            build_limits: Limits::default(),
            clusters: Selector::parse("region in (eu, us), !spot").unwrap(),
        },
    }
}

pub(super) fn cluster(name: &str) -> Cluster {
    Cluster {
        name: cluster_name(name),
        labels: labels(),
        key: digest(7),
        joined_at: Timestamp(0),
        availability: Availability::Draining,
        is_handing_over: true,
    }
}

pub(super) fn invite(seed: u128) -> Invite {
    Invite {
        id: InviteId::from_u128(seed),
        secret: digest(seed),
        cluster: cluster_name("east"),
        labels: Labels::default(),
        expires_at: Timestamp(u64::MAX),
        used_by: None,
        pin: (!seed.is_multiple_of(2)).then(|| digest(seed)),
    }
}

pub(super) fn cache(project: ProjectId, branch: &str, cluster: &str, seed: u128) -> Cache {
    Cache {
        key: CacheKey {
            project,
            job: JobName::new("group/build").unwrap(),
            branch: branch.to_owned(),
            cluster: cluster_name(cluster),
        },
        content: OutputReference {
            manifest: digest(seed),
            bytes: u64::MAX,
            files: u64::MAX,
        },
        build: 7,
        saved_at: Timestamp(1),
        used_at: Timestamp(u64::MAX),
    }
}

pub(super) fn token(seed: u128, project: Option<ProjectId>) -> Token {
    Token {
        id: TokenId::from_u128(seed),
        name: HARD_TEXT.to_owned(),
        secret: digest(seed),
        right: Right {
            role: Role::Developer,
            project,
        },
        created_at: Timestamp(1),
        expires_at: None,
    }
}

pub(super) fn build(seed: u128, project: ProjectId, number: u64) -> Build {
    Build {
        id: BuildId::from_u128(seed),
        project,
        number,
        state: BuildState::Running,
        created_at: Timestamp(5),
        ended_at: None,
        submitted_by: HARD_TEXT.to_owned(),
        source: Some(digest(seed)),
        revision: Revision {
            branch: Some(HARD_TEXT.to_owned()),
            commit: None,
            tag: Some(String::new()),
        },
        restarts: 3,
        released_at: None,
    }
}

/// A job of the build at an index, after the one before it.
pub(super) fn node(build: BuildId, index: u32) -> JobNode {
    JobNode {
        id: JobId::from_u128(build.uuid().as_u128() << 32 | u128::from(index)),
        build,
        index,
        name: JobName::new(&format!("group/job-{index}")).unwrap(),
        parents: index
            .checked_sub(1)
            .map(|parent| (parent, StateSet::ALL))
            .into_iter()
            .collect(),
        selector: Selector {
            requirements: vec![
                Requirement {
                    key: "GCP".to_owned(),
                    operator: Operator::Exists,
                    by_project: false,
                },
                Requirement {
                    key: HARD_TEXT.to_owned(),
                    operator: Operator::NotIn(vec![HARD_TEXT.to_owned(), String::new()]),
                    by_project: true,
                },
                Requirement {
                    key: "gpu".to_owned(),
                    operator: Operator::Above(i64::MIN),
                    by_project: false,
                },
            ]
            .into(),
        },
        prefer: Some(cluster_name("west")),
        priority: -100,
        volumes: VolumeSet::of(&[VolumeKind::Shared]),
        cache: index.is_multiple_of(2),
        resources: Resources {
            cpu_milli: u64::MAX,
            memory_bytes: u64::MAX - 1,
        },
        timeout: Duration::from_millis(3_600_001),
        kind: JobKind::ALL[index as usize % JobKind::ALL.len()],
        generated_by: index.checked_sub(3),
        needs: Capability::ALL.into_iter().take(index as usize).collect(),
        extensions: (index % 2 == 1).then(|| Box::new(extensions())),
    }
}

pub(super) fn spec(node: &JobNode) -> JobSpec {
    JobSpec {
        name: node.name.clone(),
        image: HARD_TEXT.to_owned(),
        command: Some(vec![HARD_TEXT.to_owned(), String::new()]),
        environment: BTreeMap::from([("NAME".to_owned(), HARD_TEXT.to_owned())]),
        secrets: Default::default(),
        timeout: node.timeout,
        resources: node.resources,
        dependencies: vec![Dependency {
            job: JobName::new("parent").unwrap(),
            on: StateSet::of(&[TerminalState::Finished]),
        }],
        selector: node.selector.clone(),
        prefer: node.prefer.clone(),
        priority: node.priority,
        volumes: VolumeSet::of(&[VolumeKind::Shared]),
        cache: node.cache,
        pod: Some(Box::default()),
        kind: node.kind,
        source: node.cache,
        needs: node.needs,
        passes_on: [HARD_TEXT.to_owned()].into(),
        confined_to: Selector::parse("region in (eu, us), !shared").unwrap().by_project(),
        repository: Some(Box::new(Repository {
            url: HARD_TEXT.to_owned(),
            commit: HARD_TEXT.to_owned(),
            branch: Some(HARD_TEXT.to_owned()),
            file: None,
            username: Some(String::new()),
        })),
        extensions: node.extensions.clone(),
    }
}

/// A build with as many jobs.
pub(super) fn insert(build: Build, jobs: u32) -> Change {
    let nodes: Vec<JobNode> = (0..jobs).map(|index| node(build.id, index)).collect();
    let specs = nodes.iter().map(spec).collect();
    Change::InsertBuild { build, nodes, specs }
}

fn receipt() -> TransferReceipt {
    TransferReceipt {
        parent: Some(JobName::new("a/b").unwrap()),
        cache: false,
        from: Some(cluster_name("east")),
        route: RouteKind::Relay,
        manifest: digest(4),
        bytes: u64::MAX,
        moved_bytes: 0,
        milliseconds: 12,
        routes: Vec::new(),
        prefetched: true,
        failure: Some("it was not there".to_owned()),
    }
}

/// How a job ended whose output is made again.
fn loss() -> Loss {
    Loss {
        reason: Some(HARD_TEXT.to_owned()),
        epoch: Epoch(3),
        end: Some(End {
            state: TerminalState::Finished,
            message: HARD_TEXT.to_owned(),
            exit_code: Some(0),
            cluster: Some(cluster_name("east")),
            started_at: Some(Timestamp(u64::MAX)),
            ended_at: Some(Timestamp(0)),
            inputs: vec![receipt()],
            log_lines: Some(u64::MAX),
        }),
    }
}

/// A job that has everything that a job can have, at the limits.
pub(super) fn full_status(id: JobId) -> JobStatus {
    let source = TransferReceipt {
        parent: None,
        cache: true,
        from: None,
        route: RouteKind::Master,
        ..receipt()
    };
    JobStatus {
        id,
        state: JobState::Terminal(TerminalState::Unstable),
        epoch: Epoch(u32::MAX),
        cluster: Some(cluster_name("east")),
        message: HARD_TEXT.to_owned(),
        exit_code: Some(i32::MIN),
        queued_at: Some(Timestamp(0)),
        started_at: Some(Timestamp(u64::MAX)),
        ended_at: Some(Timestamp(1)),
        cancel_requested: true,
        output: Some(OutputReference {
            manifest: digest(5),
            bytes: u64::MAX,
            files: u64::MAX,
        }),
        inputs: vec![receipt(), source],
        log_lines: Some(u64::MAX),
        replacements: u32::MAX,
        loss: Some(Box::new(loss())),
        course: Some(Box::new(course())),
    }
}

/// Everything that a job can say beyond InfraBox's fields.
fn extensions() -> Extensions {
    Extensions {
        retry: Some(Retry {
            count: Retry::MAX_COUNT,
            states: StateSet::of(&Retry::STATES),
            backoff: Backoff {
                initial: Duration::from_millis(1),
                factor_percent: 150,
                max: Duration::MAX,
            },
        }),
        limits: PhaseLimits {
            queue: Some(Duration::MAX),
            start: Some(Duration::from_millis(1)),
            transfer: None,
        },
        preferences: vec![Preference {
            selector: Selector::parse("region in (eu, us)").unwrap(),
            weight: u32::MAX,
        }],
        spread: Some(HARD_TEXT.to_owned()),
        same_as: Some(JobName::new("group/job-0").unwrap()),
        inputs: vec![InputRule {
            job: JobName::new("group/job-0").unwrap(),
            wanted: true,
            paths: vec![HARD_TEXT.to_owned()],
            folder: Some(HARD_TEXT.to_owned()),
            is_source: true,
            same_index: true,
        }],
        array: None,
        output_limit_bytes: Some(u64::MAX),
        output_keep_days: Some(u32::MAX),
        on_disconnect: OnDisconnect::Wait,
        exclusive: true,
        hook: Some(Hook::After),
    }
}

/// Why a cluster was chosen, with a number in it.
fn choice() -> Choice {
    let score = |preferred| Score::new(preferred, 0, Cost(0), &Costs::default());
    let mut comparison = Comparison::default();
    [7, 5].iter().for_each(|preferred| comparison.add(&score(*preferred)));
    comparison.choice(&cluster_name("west"), &score(7), &Wishes::default(), false)
}

/// An attempt that another one follows.
fn course() -> Course {
    Course {
        tries: vec![Try {
            epoch: Epoch(2),
            state: TerminalState::Error,
            message: HARD_TEXT.to_owned(),
            exit_code: Some(i32::MAX),
            cluster: Some(cluster_name("east")),
            started_at: None,
            ended_at: Some(Timestamp(u64::MAX)),
            log_lines: Some(u64::MAX),
        }],
        retry_at: Some(Timestamp(u64::MAX)),
        held_back: true,
        queued_since: Some(Timestamp(0)),
        unbegun: Some(Unbegun {
            state: TerminalState::Killed,
            message: HARD_TEXT.to_owned(),
            ended_at: Timestamp(u64::MAX),
        }),
        copies: vec![cluster_name("far"), cluster_name("farther")],
        place_lost: true,
        cluster_removed: true,
        choice: Some(choice()),
        replaced: vec![Replaced {
            epoch: Epoch(1),
            cluster: cluster_name("west"),
            reason: HARD_TEXT.to_owned(),
            at: Timestamp(u64::MAX),
            log_lines: Some(0),
        }],
    }
}

/// A leadership of a store, and what must be in it.
pub(super) struct Leader<'a, S> {
    pub(super) store: &'a S,
    pub(super) epoch: LeaderEpoch,
    pub(super) sequence: Sequence,
    pub(super) model: LiveState,
}

impl<'a, S: Store> Leader<'a, S> {
    pub(super) async fn new(store: &'a S) -> Self {
        Self {
            store,
            epoch: store.acquire().await.expect("the store is free"),
            sequence: Sequence(0),
            model: LiveState::default(),
        }
    }

    pub(super) async fn commit(&mut self, changes: Vec<Change>) {
        self.try_commit(changes).await.expect("the change set is sound");
    }

    pub(super) async fn try_commit(&mut self, changes: Vec<Change>) -> Result<(), CommitError> {
        let changes = Arc::new(changes);
        self.store
            .commit(self.epoch, self.sequence.next(), Arc::clone(&changes))
            .await?;
        self.sequence = self.sequence.next();
        changes.iter().for_each(|change| self.model.apply(change));
        Ok(())
    }

    /// The store has what was committed, all of it and nothing else.
    pub(super) async fn check(&self) {
        let snapshot = self.store.load().await.unwrap();
        assert_eq!(snapshot.sequence, self.sequence);
        assert_eq!(sorted(snapshot.live), sorted(self.model.clone()));
    }
}

fn sorted(mut live: LiveState) -> LiveState {
    live.projects.sort_by_key(|project| project.id);
    live.clusters.sort_by(|left, right| left.name.cmp(&right.name));
    live.invites.sort_by_key(|invite| invite.id);
    live.tokens.sort_by_key(|token| token.id);
    live.caches.sort_by(|left, right| left.key.cmp(&right.key));
    live.secrets
        .sort_by(|left, right| (left.project, &left.name).cmp(&(right.project, &right.name)));
    live.triggers
        .sort_by(|left, right| (left.project, &left.name).cmp(&(right.project, &right.name)));
    live.builds.sort_by_key(|build| build.id);
    live.jobs.sort_by_key(|(node, _)| (node.build, node.index));
    live.indexes.sort_by_key(|status| status.id);
    live
}
