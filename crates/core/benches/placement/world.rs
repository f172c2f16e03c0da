//! Clusters and jobs in great number, by the commands that a master gives: nothing is put in by another way.

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo_core::attempt::{Outcome, OutputReference, Phase, Revision};
use tombolo_core::build::array::{Array, MAX_COUNT};
use tombolo_core::build::extensions::Extensions;
use tombolo_core::build::{BuildDefinition, Dependency, JobKind, JobSpec, StateSet, TerminalState};
use tombolo_core::capability::CapabilitySet;
use tombolo_core::control::record::Invite;
use tombolo_core::control::{Command, Control, Effects, Settings, Submission};
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, BuildId, InviteId, JobId, ProjectId, SessionId};
use tombolo_core::label::{Labels, Selector};
use tombolo_core::name::{ClusterName, JobName, ProjectName};
use tombolo_core::resources::Resources;
use tombolo_core::session::{Capability, Hello, Nodes, Order, Survey};
use tombolo_core::time::{Moment, Now, Timestamp};
use tombolo_core::volume::VolumeSet;

/// How many jobs wait.
pub(crate) const JOBS: usize = BUILDS * JOBS_PER_BUILD;
const PROJECTS: u128 = 100;
/// How many arrays wait, and how many indexes they have together.
const ARRAYS: usize = 10;
pub(crate) const INDEXES: usize = ARRAYS * MAX_COUNT as usize;
const BUILDS: usize = 10_000;
/// The jobs of a build that wait for a cluster.
const JOBS_PER_BUILD: usize = 100;
/// Those of them that have an input, from a job that has ended before.
const WITH_INPUT: usize = JOBS_PER_BUILD / 10;
/// How many different selectors there are, each of which suits one in this many clusters.
const LABEL_CLASSES: usize = 32;
const GIGABYTE: u64 = 1_000_000_000;

/// How many clusters there are, and how many jobs each has room for.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) clusters: usize,
    pub(crate) slots: u32,
}

/// The control plane, and what its agents know.
pub(crate) struct World {
    control: Control,
    shape: Shape,
    now: Now,
    next_id: u128,
    /// The attempts that were given out and have not ended.
    given: Vec<(ClusterName, AttemptId)>,
}

fn cluster(number: usize) -> ClusterName {
    ClusterName::new(&format!("cluster-{number:05}")).unwrap()
}

impl World {
    /// All clusters are connected, but have no processors.
    pub(crate) fn new(shape: Shape) -> Self {
        let mut world = Self {
            control: Control::new(Settings::default()),
            shape,
            now: Now {
                wall: Timestamp(1_000_000),
                steady: Moment(Duration::from_secs(1000)),
            },
            next_id: 1_000_000,
            given: Vec::new(),
        };
        for number in 0..PROJECTS {
            let (id, name) = (ProjectId::from_u128(number), format!("project-{number}"));
            let name = ProjectName::new(&name).unwrap();
            world.apply(Command::CreateProject { id, name });
        }
        for number in 0..shape.clusters {
            world.join(number);
        }
        world
    }

    fn fresh(&mut self) -> u128 {
        self.next_id += 1;
        self.next_id
    }

    fn apply(&mut self, command: Command) -> Effects {
        let effects = self.control.apply(self.now, command);
        assert!(effects.reply.is_ok(), "{:?}", effects.reply);
        for (cluster, order) in &effects.orders {
            if let Order::Assign(attempt) = order {
                self.given.push((cluster.clone(), *attempt));
            }
        }
        effects
    }

    fn join(&mut self, number: usize) {
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(&self.fresh().to_be_bytes());
        let secret = Digest::new(secret);
        let (class, zone) = (number % LABEL_CLASSES, number % 3);
        let labels = [
            format!("pool=p{class}"),
            format!("zone=z{zone}"),
            "provider=example".to_owned(),
        ];
        let invite = Invite {
            id: InviteId::from_u128(self.fresh()),
            secret,
            cluster: cluster(number),
            labels: Labels::parse(labels).unwrap(),
            expires_at: Timestamp(self.now.wall.0 + 60_000),
            used_by: None,
            pin: None,
        };
        self.apply(Command::Invite(invite));
        let key = Digest::new([1; 32]);
        self.apply(Command::Join { secret, key });
        let hello = Hello {
            version: "1".to_owned(),
            capacity: Resources {
                cpu_milli: 0,
                memory_bytes: u64::from(self.shape.slots) << 30,
            },
            slots: self.shape.slots,
            capabilities: vec![Capability::Volumes],
            facts: Labels::parse(["os=linux"]).unwrap(),
            peer_address: None,
            volumes: Vec::new(),
            attempts: Vec::new(),
        };
        self.apply(Command::Connect {
            cluster: cluster(number),
            session: SessionId(1),
            hello: Box::new(hello),
        });
    }

    /// Submits all builds. The job that others have their input from needs no processor, and ends at once; the others wait for room.
    pub(crate) fn queue_jobs(&mut self) {
        for number in 0..BUILDS {
            let jobs: Vec<JobSpec> = (0..=JOBS_PER_BUILD).map(|index| spec(number, index)).collect();
            let ids = jobs.iter().map(|_| JobId::from_u128(self.fresh())).collect();
            let submission = self.submission(number, jobs, ids);
            self.apply(Command::Submit(Box::new(submission)));
            let given = std::mem::take(&mut self.given);
            assert_eq!(given.len(), 1, "only the first job of each build finds room");
            self.end(given);
        }
    }

    /// Submits arrays as large as they may be, one in each build.
    pub(crate) fn queue_arrays(&mut self) {
        for number in 0..ARRAYS {
            let extensions = Extensions {
                array: Some(Array {
                    count: MAX_COUNT,
                    parallel: None,
                }),
                ..Extensions::default()
            };
            let array = JobSpec {
                selector: Selector::default(),
                extensions: extensions.boxed(),
                dependencies: Vec::new(),
                ..spec(number, 1)
            };
            let id = JobId::from_u128(self.fresh() << 32);
            let submission = self.submission(number, vec![array], vec![id]);
            self.apply(Command::Submit(Box::new(submission)));
        }
    }

    fn submission(&mut self, number: usize, jobs: Vec<JobSpec>, ids: Vec<JobId>) -> Submission {
        Submission {
            id: BuildId::from_u128(self.fresh()),
            project: ProjectId::from_u128(number as u128 % PROJECTS),
            jobs: ids,
            definition: BuildDefinition { jobs },
            source: None,
            revision: Revision::default(),
            submitted_by: "bench".to_owned(),
            rerun: None,
        }
    }

    /// Gives all clusters processors, without a look at the queue: their leases end first, and begin anew when all have been told.
    pub(crate) fn make_room(&mut self) {
        let lease = self.control.settings().lease;
        self.now.steady = self.now.steady + lease + Duration::from_secs(1);
        self.apply(Command::Tick);
        let slots = self.shape.slots;
        let capacity = Resources {
            cpu_milli: u64::from(slots) * 1000,
            memory_bytes: u64::from(slots) << 30,
        };
        let survey = Survey {
            capacity,
            nodes: Nodes {
                count: 1,
                allocatable: capacity,
                largest: capacity,
            },
            facts: Labels::parse(["os=linux"]).unwrap(),
        };
        let session = SessionId(1);
        for number in 0..self.shape.clusters {
            self.apply(Command::Survey {
                cluster: cluster(number),
                session,
                survey: Box::new(survey.clone()),
            });
        }
        for number in 0..self.shape.clusters {
            let cluster = cluster(number);
            self.apply(Command::Heartbeat { cluster, session });
        }
        assert!(self.given.is_empty(), "nothing is placed yet");
        self.given.reserve(JOBS);
    }

    /// Places jobs until there is no room, and says how many.
    pub(crate) fn place_all(&mut self) -> u32 {
        while self.control.next_deadline() == Some(Moment::default()) {
            self.apply(Command::Tick);
        }
        u32::try_from(self.given.len()).unwrap()
    }

    /// So many attempts, from all clusters.
    pub(crate) fn ends(&mut self, count: usize) -> Vec<(ClusterName, AttemptId)> {
        let given = std::mem::take(&mut self.given);
        let each = given.len() / count;
        given.into_iter().step_by(each).take(count).collect()
    }

    /// Ends these attempts, and says how many others were given out instead.
    pub(crate) fn end(&mut self, attempts: Vec<(ClusterName, AttemptId)>) -> u32 {
        for (cluster, attempt) in attempts {
            let phase = Phase::Ended(finished());
            self.apply(Command::Report {
                cluster,
                session: SessionId(1),
                attempt,
                phase,
                generated: None,
            });
        }
        u32::try_from(self.given.len()).unwrap()
    }
}

/// The first job of a build leaves what some of the others need; it may run anywhere.
fn spec(build: usize, index: usize) -> JobSpec {
    let first = index == 0;
    let class = (build + index) % LABEL_CLASSES;
    let selector = match first {
        true => Selector::default(),
        false => Selector::parse(&format!("pool=p{class}, provider=example, !spot")).unwrap(),
    };
    let dependency = Dependency {
        job: JobName::new("prepare/sources").unwrap(),
        on: StateSet::of(&[TerminalState::Finished]),
    };
    let name = match first {
        true => "prepare/sources".to_owned(),
        false => format!("test/component-{index}"),
    };
    JobSpec {
        name: JobName::new(&name).unwrap(),
        kind: JobKind::Run,
        image: "image".to_owned(),
        command: None,
        environment: BTreeMap::new(),
        secrets: Default::default(),
        timeout: Duration::from_secs(60),
        resources: Resources {
            cpu_milli: if first { 0 } else { 1000 },
            memory_bytes: if first { 0 } else { 1 << 30 },
        },
        dependencies: (1..=WITH_INPUT)
            .contains(&index)
            .then_some(dependency)
            .into_iter()
            .collect(),
        selector,
        prefer: None,
        priority: 0,
        volumes: VolumeSet::default(),
        cache: false,
        needs: CapabilitySet::default(),
        passes_on: Default::default(),
        confined_to: Default::default(),
        repository: None,
        extensions: None,
        source: true,
        pod: None,
    }
}

fn finished() -> Outcome {
    Outcome {
        state: TerminalState::Finished,
        exit_code: Some(0),
        message: String::new(),
        started_at: Some(Timestamp(1_000_001)),
        ended_at: Timestamp(1_000_002),
        generated: None,
        output: Some(OutputReference {
            manifest: Digest::new([9; 32]),
            bytes: GIGABYTE,
            files: 1,
        }),
        cache: None,
        inputs: Vec::new(),
        lost_inputs: Vec::new(),
        lease_ended: false,
        lost: false,
        log_lines: 3,
    }
}
