//! A driver and what is around it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tombolo_core::attempt::{Assignment, Outcome, OutputReference, Phase, Revision};
use tombolo_core::build::{BuildDefinition, Dependency, JobSpec, StateSet, TerminalState};
use tombolo_core::control::record::{Build, Invite, Project};
use tombolo_core::control::{Command, Reply, Submission};
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, BuildId, InviteId, JobId, ProjectId, SessionId};
use tombolo_core::label::{Labels, Selector};
use tombolo_core::name::{ClusterName, JobName, ProjectName};
use tombolo_core::resources::Resources;
use tombolo_core::session::{AttemptReport, Hello, OrderFrame};
use tombolo_core::time::{Moment, Now, Timestamp};
use tombolo_store::faulty::Faulty;
use tombolo_store::sqlite::Execution;
use tombolo_store::{Sqlite, Store};

use super::super::{ApplyError, Driver, Error, Grants, Handle, Options, Reports};
use crate::clock::Clock;

pub(crate) const PROJECT: ProjectId = ProjectId::from_u128(1);

/// The runtime's time, which a test may pause.
#[derive(Debug)]
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> Now {
        let elapsed = self.0.elapsed();
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap();
        Now {
            wall: Timestamp(1_000_000 + milliseconds),
            steady: Moment(Duration::from_secs(1000) + elapsed),
        }
    }
}

/// Grants that say what they grant.
struct PlainGrants;

impl Grants for PlainGrants {
    fn grant(&self, reader: &ClusterName, project: ProjectId, manifest: Digest, _: Timestamp) -> Option<Vec<u8>> {
        Some(format!("{reader} may read {} of {project}", manifest.short()).into_bytes())
    }
}

pub(crate) struct World {
    pub(crate) handle: Handle,
    pub(crate) store: Faulty<Sqlite>,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), Error>>,
}

impl World {
    /// A driver with one project.
    pub(crate) async fn new() -> Self {
        let store = Faulty::new(Sqlite::in_memory(Execution::Inline).unwrap());
        let world = Self::on(store).await;
        let name = ProjectName::new("home").unwrap();
        let command = Command::CreateProject { id: PROJECT, name };
        world.handle.apply(command).await.unwrap();
        world
    }

    /// A driver on what is stored.
    pub(crate) async fn on(store: Faulty<Sqlite>) -> Self {
        let (handle, driver) = Self::driver(&store).await;
        let stop = CancellationToken::new();
        let task = tokio::spawn(driver.run(stop.clone()));
        Self {
            handle,
            store,
            stop,
            task,
        }
    }

    /// A driver that takes no turn by itself.
    pub(crate) async fn unstarted() -> (Handle, Driver<Faulty<Sqlite>>) {
        Self::driver(&Faulty::new(Sqlite::in_memory(Execution::Inline).unwrap())).await
    }

    async fn driver(store: &Faulty<Sqlite>) -> (Handle, Driver<Faulty<Sqlite>>) {
        Self::driver_that(store, Reports::default()).await
    }

    /// One that tells how it stands.
    pub(crate) async fn driver_that(store: &Faulty<Sqlite>, reports: Reports) -> (Handle, Driver<Faulty<Sqlite>>) {
        let options = Options {
            public_url: "https://tombolo.example".to_owned(),
            reports,
            ..Options::default()
        };
        let clock = Arc::new(RuntimeClock(Instant::now()));
        let started = Driver::start(Arc::new(store.clone()), options, clock, Arc::new(PlainGrants)).await;
        started.unwrap()
    }

    /// Ends the driver, and begins another one on the same store.
    pub(crate) async fn restart(self) -> Self {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        Self::on(self.store).await
    }

    pub(crate) async fn create_project(&self, seed: u128) -> Result<Reply, ApplyError> {
        let id = ProjectId::from_u128(seed);
        let name = ProjectName::new(&format!("project-{seed}")).unwrap();
        self.handle.apply(Command::CreateProject { id, name }).await
    }

    pub(crate) async fn stored_projects(&self) -> Vec<Project> {
        self.store.load().await.unwrap().live.projects
    }

    /// What is in memory is what is stored.
    pub(crate) async fn check(&self) {
        let projects = self.handle.query(|control| {
            let mut projects: Vec<Project> = control.projects().cloned().collect();
            projects.sort_by_key(|project| project.id);
            projects
        });
        assert_eq!(projects.await.unwrap(), self.stored_projects().await);
        let builds = self
            .handle
            .query(|control| control.builds().cloned().collect::<Vec<Build>>());
        assert_eq!(builds.await.unwrap(), self.store.load().await.unwrap().live.builds);
    }

    /// Makes a cluster a member.
    pub(crate) async fn join(&self, name: &str) {
        let secret = Digest::new([name.len() as u8; 32]);
        let invite = Invite {
            id: InviteId::from_u128(name.len() as u128),
            secret,
            cluster: cluster(name),
            labels: Labels::default(),
            expires_at: Timestamp(u64::MAX),
            used_by: None,
            pin: None,
        };
        self.handle.apply(Command::Invite(invite)).await.unwrap();
        let key = Digest::new([7; 32]);
        self.handle.apply(Command::Join { secret, key }).await.unwrap();
    }

    pub(crate) async fn submit(&self, seed: u128, definition: BuildDefinition) -> Result<Build, ApplyError> {
        let jobs = (0..definition.jobs.len() as u128).map(|index| job_id(seed, index));
        let submission = Submission {
            id: BuildId::from_u128(seed),
            project: PROJECT,
            jobs: jobs.collect(),
            definition,
            source: Some(Digest::new([0x50; 32])),
            revision: Revision {
                branch: Some("main".to_owned()),
                ..Revision::default()
            },
            submitted_by: "tester".to_owned(),
            rerun: None,
        };
        match self.handle.apply(Command::Submit(Box::new(submission))).await? {
            Reply::Build(build) => Ok(build),
            other => panic!("a submission is answered with {other:?}"),
        }
    }
}

pub(crate) fn job_id(build: u128, index: u128) -> JobId {
    JobId::from_u128(build << 32 | index)
}

pub(crate) fn cluster(name: &str) -> ClusterName {
    ClusterName::new(name).unwrap()
}

/// Jobs in a row, each after the one before.
pub(crate) fn chain(names: &[&str]) -> BuildDefinition {
    let mut jobs: Vec<JobSpec> = names.iter().map(|name| spec(name)).collect();
    for index in 1..jobs.len() {
        let job = jobs[index - 1].name.clone();
        let on = StateSet::of(&[TerminalState::Finished]);
        jobs[index].dependencies.push(Dependency { job, on });
    }
    BuildDefinition { jobs }
}

/// Jobs beside each other.
pub(crate) fn flat(count: usize) -> BuildDefinition {
    let jobs = (0..count).map(|index| spec(&format!("job-{index}")));
    BuildDefinition { jobs: jobs.collect() }
}

fn spec(name: &str) -> JobSpec {
    JobSpec {
        name: JobName::new(name).unwrap(),
        image: "image".to_owned(),
        command: Some(vec!["run".to_owned(), name.to_owned()]),
        environment: BTreeMap::from([("NAME".to_owned(), name.to_owned())]),
        secrets: Default::default(),
        timeout: Duration::from_secs(60),
        resources: Resources {
            cpu_milli: 1,
            memory_bytes: 1,
        },
        dependencies: Vec::new(),
        selector: Selector::default(),
        prefer: None,
        priority: 0,
        volumes: tombolo_core::volume::VolumeSet::default(),
        cache: false,
        pod: None,
        kind: Default::default(),
        source: true,
        needs: Default::default(),
        passes_on: Default::default(),
        confined_to: Default::default(),
        repository: None,
        extensions: None,
    }
}

/// An agent that is connected.
pub(crate) struct Agent {
    handle: Handle,
    cluster: ClusterName,
    pub(crate) session: SessionId,
    pub(crate) orders: mpsc::Receiver<OrderFrame>,
}

impl Agent {
    pub(crate) async fn connect(world: &World, name: &str, attempts: Vec<AttemptReport>) -> Self {
        Self::try_connect(world, name, attempts).await.unwrap()
    }

    pub(crate) async fn try_connect(
        world: &World,
        name: &str,
        attempts: Vec<AttemptReport>,
    ) -> Result<Self, ApplyError> {
        let hello = Hello {
            version: "test".to_owned(),
            capacity: Resources {
                cpu_milli: 100_000,
                memory_bytes: 100_000,
            },
            slots: 100,
            capabilities: Vec::new(),
            facts: Labels::default(),
            peer_address: Some(format!("{name}.example:7445")),
            volumes: Vec::new(),
            attempts,
        };
        let (handle, session) = (world.handle.clone(), world.handle.next_session());
        let orders = handle.connect(cluster(name), session, Box::new(hello)).await?;
        Ok(Self {
            handle,
            cluster: cluster(name),
            session,
            orders,
        })
    }

    /// The next order, which is an assignment.
    pub(crate) async fn assigned(&mut self) -> Assignment {
        match self.orders.recv().await {
            Some(OrderFrame::Assign(assignment)) => *assignment,
            other => panic!("an assignment was expected, not {other:?}"),
        }
    }

    pub(crate) async fn report(&self, attempt: AttemptId, phase: Phase) -> Result<Reply, ApplyError> {
        let command = Command::Report {
            generated: None,
            cluster: self.cluster.clone(),
            session: self.session,
            attempt,
            phase,
        };
        self.handle.apply(command).await
    }

    pub(crate) async fn heartbeat(&self) -> Result<Reply, ApplyError> {
        let command = Command::Heartbeat {
            cluster: self.cluster.clone(),
            session: self.session,
        };
        self.handle.apply(command).await
    }

    pub(crate) async fn finish(&self, attempt: AttemptId) {
        self.report(attempt, Phase::Ended(finished())).await.unwrap();
    }
}

pub(crate) fn finished() -> Outcome {
    Outcome {
        state: TerminalState::Finished,
        exit_code: Some(0),
        message: String::new(),
        started_at: Some(Timestamp(1)),
        ended_at: Timestamp(2),
        output: Some(OutputReference {
            manifest: Digest::new([0x0f; 32]),
            bytes: 10,
            files: 1,
        }),
        cache: None,
        inputs: Vec::new(),
        lost_inputs: Vec::new(),
        lease_ended: false,
        lost: false,
        log_lines: 3,
        generated: None,
    }
}
