//! One cluster's attempts, and whoever tells them what to do.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tombolo_agent::attempts::{Attempts, Found, Inputs, Settings, Surroundings};
use tombolo_agent::executor::process::{self, Images, ProcessExecutor};
use tombolo_agent::folder::AttemptFolder;
use tombolo_agent::link::Granted;
use tombolo_agent::network::Network;
use tombolo_agent::prefetch::Prefetcher;
use tombolo_agent::seam::{Instruction, Notice};
use tombolo_agent::secrets::{self, Source, Values};
use tombolo_agent::shipper::Shipper;
use tombolo_agent::spool::Reader;
use tombolo_agent::supervisor::SandboxPaths;
use tombolo_agent::volumes::Volumes;
use tombolo_core::attempt::{Assignment, BuildContext, Outcome, Phase, Revision};
use tombolo_core::build::JobSpec;
use tombolo_core::id::{AttemptId, BuildId, Epoch, JobId, ProjectId};
use tombolo_core::label::Labels;
use tombolo_core::name::{ClusterName, JobName, ProjectName};
use tombolo_core::route::Cost;
use tombolo_core::session::AttemptReport;
use tombolo_core::time::Timestamp;
use tombolo_core::volume::VolumeId;
use tombolo_identity::authority::Authority;
use tombolo_identity::member::{Member, TrustDomain};
use tombolo_identity::tls::Identity;
use tombolo_identity::transport::{Address, Proxy, connect_lazy};
use tombolo_transfer::peer::Links;
use tombolo_transfer::store::{Owner, Patience};
use tombolo_transfer::{ChunkStore, Puller, StoreLocation, pull};

/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The values of secrets, or why they are denied; none while nobody can say.
#[derive(Clone, Default)]
pub struct Known(pub Arc<Mutex<Option<Result<Values, String>>>>);

impl Source for Known {
    fn of(&self, _: AttemptId) -> BoxFuture<'_, Result<Values, secrets::Error>> {
        let answer = self.0.lock().unwrap().clone();
        let answer = match answer {
            None => Err(secrets::Error::Unavailable("not now".to_owned())),
            Some(Ok(values)) => Ok(values),
            Some(Err(reason)) => Err(secrets::Error::Denied(reason)),
        };
        std::future::ready(answer).boxed()
    }
}

/// A cluster on the disk; agents come and go.
pub struct Cluster {
    root: tempfile::TempDir,
    pub images: Images,
    pub slots: usize,
    pub store: ChunkStore,
    /// What the master says of secrets.
    pub secrets: Known,
}

/// One life of its agent.
pub struct Agent {
    instructions: mpsc::Sender<Instruction>,
    notices: mpsc::Receiver<Notice>,
    pub recovered: Vec<AttemptReport>,
    /// The volumes that its hello would name.
    pub held: Vec<VolumeId>,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    /// Of its own, so that it can die with everything that it does.
    runtime: Option<Runtime>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Cluster {
    pub async fn new() -> Self {
        // The second test of a process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = tempfile::tempdir().unwrap();
        let owner = Owner {
            trust_domain: "test.internal".to_owned(),
            member: "cluster/east".to_owned(),
        };
        let location = StoreLocation::local(root.path().join("store"));
        let store = ChunkStore::open(&location, &owner, Patience::default()).await.unwrap();
        Self {
            root,
            images: Images::Ignore,
            slots: 2,
            store,
            secrets: Known::default(),
        }
    }

    /// Starts an agent with a lease that lasts.
    pub fn start(&self) -> Agent {
        let agent = self.start_without_lease();
        agent.give_lease();
        agent
    }

    pub fn start_without_lease(&self) -> Agent {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let name = ClusterName::new("east").unwrap();
        let settings = Settings {
            folder: self.root.path().join("attempts"),
            slots: self.slots,
            log_patience: Duration::from_millis(100),
        };
        let executor = self.executor(&name);
        let found = Found::look(&settings, &executor).unwrap();
        let recovered = found.reports();
        let (instructions, orders) = mpsc::channel(256);
        let (sender, notices) = mpsc::channel(256);
        let volumes = Volumes::open(&self.root.path().join("volumes"), sender.clone()).unwrap();
        let held = volumes.held();
        let keeper = executor.clone();
        let (puller, network) = (self.puller(), Network::new(unreachable_master(), name));
        let (prefetcher, prefetching) = Prefetcher::new(puller.clone(), network.clone());
        let surroundings = Surroundings {
            executor,
            inputs: Inputs::new(puller, network, prefetcher),
            shipper: Shipper::new(),
            secrets: Arc::new(self.secrets.clone()),
            volumes: volumes.clone(),
            notices: sender.clone(),
        };
        let shutdown = CancellationToken::new();
        let attempts = Attempts::resume(settings, found, surroundings);
        tokio::spawn(prefetching.run(sender, shutdown.clone()));
        tokio::spawn(volumes.look_after(keeper, shutdown.clone()));
        let task = tokio::spawn(attempts.run(ReceiverStream::new(orders), shutdown.clone()));
        Agent {
            instructions,
            notices,
            recovered,
            held,
            shutdown,
            task,
            runtime: Some(runtime),
        }
    }

    fn executor(&self, name: &ClusterName) -> ProcessExecutor {
        let settings = process::Settings {
            cluster: name.clone(),
            supervisor: env!("CARGO_BIN_EXE_supervise-for-tests").into(),
            images: self.images,
            paths: SandboxPaths::Absolute,
            stop_grace: Duration::from_millis(300),
            log_limit_bytes: 64 * 1024 * 1024,
            volumes: self.root.path().join("volumes"),
        };
        ProcessExecutor::new(settings, self.store.clone())
    }

    fn puller(&self) -> Puller {
        let patience = pull::Patience {
            request: Duration::from_secs(5),
            stalled: Duration::from_millis(500),
        };
        Puller::new(self.store.clone(), patience)
    }

    pub fn folder(&self, attempt: AttemptId) -> AttemptFolder {
        AttemptFolder::new(self.root.path().join("attempts").join(attempt.to_string()))
    }

    pub fn scratch(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The log's lines.
    pub fn log(&self, attempt: AttemptId) -> Vec<String> {
        let Ok(mut reader) = Reader::open(&self.folder(attempt).log()) else {
            return Vec::new();
        };
        let lines = reader.read(usize::MAX).unwrap();
        lines
            .iter()
            .map(|line| String::from_utf8_lossy(&line.text).into_owned())
            .collect()
    }

    /// The log's lines, but for the system's own.
    pub fn printed(&self, attempt: AttemptId) -> Vec<String> {
        let mut lines = self.log(attempt);
        lines.retain(|line| !line.starts_with("tombolo: "));
        lines
    }

    pub async fn until_printed(&self, attempt: AttemptId, line: &str) {
        until(|| self.log(attempt).iter().any(|printed| printed == line)).await;
    }

    /// Runs one job to its end, with an agent of its own.
    pub async fn run(&self, assignment: &Assignment) -> Outcome {
        let mut agent = self.start();
        agent.assign(assignment).await;
        let outcome = agent.outcome(assignment.attempt).await;
        agent.stop().await;
        outcome
    }
}

fn unreachable_master() -> Links {
    let domain = TrustDomain::new("test.internal").unwrap();
    let now = Timestamp(tombolo_runtime::clock::now().wall_milliseconds);
    let authority = Authority::create(domain, now).unwrap();
    let member = Member::Cluster(ClusterName::new("east").unwrap());
    let credentials = authority.issue(&member, authority.trust(), now).unwrap();
    let identity = Identity::new(credentials).unwrap();
    let addresses = [Address::parse("127.0.0.1:1").unwrap()];
    let channel = connect_lazy(&addresses, identity.client(&Member::Master).unwrap(), &Proxy::none());
    Links::new(identity, channel, Proxy::none())
}

impl Agent {
    pub fn give_lease(&self) {
        self.lease(Duration::from_secs(1_000_000));
    }

    /// Gives a lease that is over.
    pub fn hold_back(&self) {
        self.lease(Duration::ZERO);
    }

    /// Lets a command that ends with the lease go on for so long.
    pub async fn hold(&self, attempt: AttemptId, length: Duration) {
        let until = tombolo_runtime::clock::now().steady + length;
        let lease = Granted { until, length };
        self.tell(Instruction::Hold { attempt, lease }).await;
    }

    /// Gives a lease that begins now.
    fn lease(&self, length: Duration) {
        let until = tombolo_runtime::clock::now().steady + length;
        let lease = Instruction::Lease(Granted { until, length });
        self.instructions.try_send(lease).unwrap();
    }

    pub async fn tell(&self, instruction: Instruction) {
        self.instructions.send(instruction).await.unwrap();
    }

    pub async fn assign(&self, assignment: &Assignment) {
        self.tell(Instruction::Start(Box::new(assignment.clone()))).await;
    }

    pub async fn cancel(&self, attempt: AttemptId) {
        let reason = tombolo_core::session::StopReason::Cancelled;
        self.tell(Instruction::Stop { attempt, reason }).await;
    }

    pub async fn notice(&mut self) -> Notice {
        tokio::time::timeout(PATIENCE, self.notices.recv())
            .await
            .expect("nothing was told")
            .expect("the attempts have ended")
    }

    /// The phases of an attempt up to one of the given rank.
    pub async fn phases_until(&mut self, wanted: AttemptId, rank: u8) -> Vec<Phase> {
        let mut phases = Vec::new();
        loop {
            if let Notice::Progressed { attempt, phase } = self.notice().await
                && attempt == wanted
            {
                let done = phase.rank() >= rank;
                phases.push(phase);
                if done {
                    return phases;
                }
            }
        }
    }

    pub async fn outcome(&mut self, attempt: AttemptId) -> Outcome {
        match self.phases_until(attempt, 4).await.pop() {
            Some(Phase::Ended(outcome)) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub async fn until_running(&mut self, attempt: AttemptId) {
        self.phases_until(attempt, 2).await;
    }

    pub async fn forget(&mut self, attempt: AttemptId) {
        self.tell(Instruction::Forget(attempt)).await;
        while self.notice().await != Notice::Forgotten(attempt) {}
    }

    pub async fn stop(mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }

    /// Without a word, at whatever point it is. Only calls into the system that are under way are waited for.
    pub async fn die(mut self) {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE))
            .await
            .unwrap();
    }
}

pub async fn until(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("it did not happen");
}

/// A job that runs a shell script.
pub fn script(text: &str) -> Assignment {
    job("job", Some(vec!["sh".to_owned(), "-c".to_owned(), text.to_owned()]))
}

pub fn job(name: &str, command: Option<Vec<String>>) -> Assignment {
    let random = || rand::random::<u128>();
    Assignment {
        attempt: AttemptId {
            job: JobId::from_u128(random()),
            epoch: Epoch(1),
        },
        build: BuildContext {
            project: ProjectId::from_u128(7),
            project_name: ProjectName::new("demo").unwrap(),
            build: BuildId::from_u128(random()),
            number: 42,
            restarts: 0,
            public_url: "https://tombolo.example".to_owned(),
            revision: Revision {
                branch: Some("main".to_owned()),
                commit: Some("abc123".to_owned()),
                tag: None,
            },
            outcome: None,
        },
        job: JobSpec {
            name: JobName::new(name).unwrap(),
            image: "debian:12".to_owned(),
            command,
            environment: std::collections::BTreeMap::default(),
            secrets: Default::default(),
            timeout: PATIENCE,
            resources: tombolo_core::resources::Resources::default(),
            dependencies: Vec::new(),
            selector: tombolo_core::label::Selector::default(),
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
        },
        source: None,
        inputs: Vec::new(),
        parents: Vec::new(),
        labels: Labels::from_pairs([("AWS", ""), ("region", "us")]).unwrap(),
        volumes_together: Default::default(),
        waiting_per_hour: Cost::default(),
        cache: None,
    }
}
