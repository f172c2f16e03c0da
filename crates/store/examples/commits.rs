//! How fast the implementations commit, side by side: `cargo run --release --example commits -- postgres://user@host/database`
//! (an empty database). Each commit takes 1,000 jobs of a build one step further.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tombolo_core::attempt::Revision;
use tombolo_core::build::{BuildState, JobKind, JobSpec, JobState};
use tombolo_core::capability::CapabilitySet;
use tombolo_core::control::Change;
use tombolo_core::control::record::{Build, JobNode, JobStatus, Project};
use tombolo_core::id::{BuildId, Epoch, JobId, ProjectId};
use tombolo_core::label::Selector;
use tombolo_core::name::{ClusterName, JobName, ProjectName};
use tombolo_core::resources::Resources;
use tombolo_core::share::Share;
use tombolo_core::time::Timestamp;
use tombolo_core::volume::VolumeSet;
use tombolo_store::postgres::Location;
use tombolo_store::sqlite::Execution;
use tombolo_store::{LeaderEpoch, Postgres, Sequence, Sqlite, Store};

const JOBS: u32 = 1_000;
const COMMITS: u64 = 200;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let url = std::env::args().nth(1).ok_or("give the URL of an empty database")?;
    let folder = tempfile::tempdir()?;
    let sqlite = Sqlite::open(&folder.path().join("master.db"), Execution::Threads)?;
    let postgres = Postgres::open(&Location::new(url), Duration::from_secs(10)).await?;
    let (sqlite, postgres) = (Bench::begin(&sqlite).await?, Bench::begin(&postgres).await?);
    for jobs in [JOBS, 100, 1] {
        for (name, seconds) in [
            ("sqlite", sqlite.run(jobs).await?),
            ("postgres", postgres.run(jobs).await?),
        ] {
            let commits = 1.0 / seconds;
            let steps = commits * f64::from(jobs);
            writeln!(
                std::io::stdout(),
                "{name:9} {jobs:5} steps a commit: {:7.2} ms, {commits:7.0} commits/s, {steps:8.0} steps/s",
                seconds * 1e3
            )?;
        }
    }
    Ok(())
}

struct Bench<'a, S> {
    store: &'a S,
    epoch: LeaderEpoch,
    last: std::cell::Cell<u64>,
}

impl<'a, S: Store> Bench<'a, S> {
    async fn begin(store: &'a S) -> Outcome<Self> {
        let epoch = store.acquire().await?;
        let last = std::cell::Cell::new(0);
        let bench = Self { store, epoch, last };
        bench.commit(build()?).await?;
        Ok(bench)
    }

    async fn commit(&self, changes: Vec<Change>) -> Outcome {
        self.last.set(self.last.get() + 1);
        let sequence = Sequence(self.last.get());
        Ok(self.store.commit(self.epoch, sequence, Arc::new(changes)).await?)
    }

    /// Seconds for one commit.
    async fn run(&self, jobs: u32) -> Outcome<f64> {
        let mut spent = Duration::ZERO;
        for round in 0..COMMITS {
            let changes = (0..jobs).map(|job| step(job, round)).collect::<Outcome<Vec<_>>>()?;
            let began = Instant::now();
            self.commit(changes).await?;
            spent += began.elapsed();
        }
        Ok(spent.as_secs_f64() / COMMITS as f64)
    }
}

fn id(job: u32) -> JobId {
    JobId::from_u128(u128::from(job) + 1)
}

fn step(job: u32, round: u64) -> Outcome<Change> {
    let states = [
        JobState::Queued,
        JobState::Assigned,
        JobState::Preparing,
        JobState::Running,
    ];
    let place = usize::try_from(round % 4)?;
    Ok(Change::PutJob(JobStatus {
        state: states[place],
        epoch: Epoch(1),
        cluster: Some(ClusterName::new("east")?),
        queued_at: Some(Timestamp(round)),
        ..JobStatus::waiting(id(job))
    }))
}

fn build() -> Outcome<Vec<Change>> {
    let project = Project {
        id: ProjectId::from_u128(1),
        name: ProjectName::new("bench")?,
        created_at: Timestamp(0),
        last_build: 1,
        workspace: None,
        retention: None,
        share: Share::default(),
    };
    let build = Build {
        id: BuildId::from_u128(1),
        project: project.id,
        number: 1,
        state: BuildState::Running,
        created_at: Timestamp(0),
        ended_at: None,
        submitted_by: String::new(),
        source: None,
        revision: Revision::default(),
        restarts: 0,
        released_at: None,
    };
    let (mut nodes, mut specs) = (Vec::new(), Vec::new());
    for index in 0..JOBS {
        let spec = spec(index)?;
        nodes.push(JobNode {
            id: id(index),
            build: build.id,
            index,
            name: spec.name.clone(),
            parents: Vec::new(),
            selector: spec.selector.clone(),
            prefer: None,
            priority: 0,
            resources: spec.resources,
            timeout: spec.timeout,
            volumes: VolumeSet::default(),
            cache: false,
            kind: spec.kind,
            needs: spec.needs,
            extensions: None,
            generated_by: None,
        });
        specs.push(spec);
    }
    Ok(vec![
        Change::PutProject(project),
        Change::InsertBuild { build, nodes, specs },
    ])
}

fn spec(index: u32) -> Outcome<JobSpec> {
    Ok(JobSpec {
        name: JobName::new(&format!("job-{index}"))?,
        kind: JobKind::Run,
        needs: CapabilitySet::default(),
        passes_on: Default::default(),
        confined_to: Default::default(),
        repository: None,
        extensions: None,
        source: false,
        image: "busybox".to_owned(),
        command: None,
        environment: BTreeMap::new(),
        secrets: Default::default(),
        timeout: Duration::from_secs(60),
        resources: Resources::default(),
        dependencies: Vec::new(),
        selector: Selector::default(),
        prefer: None,
        priority: 0,
        volumes: VolumeSet::default(),
        cache: false,
        pod: None,
    })
}
