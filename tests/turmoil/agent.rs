//! A cluster: its machine, and the real agent that comes and goes there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tombolo_agent::attempts::{self, Attempts, Found, Inputs, Surroundings};
use tombolo_agent::executor::Executor;
use tombolo_agent::link::{self, Ends, Leave, Link};
use tombolo_agent::network::Network as Ways;
use tombolo_agent::prefetch::Prefetcher;
use tombolo_agent::seam::{INSTRUCTIONS_WAITING, Instruction, NOTICES_WAITING, Notice};
use tombolo_agent::secrets;
use tombolo_agent::shipper::Shipper;
use tombolo_agent::tunnels::OFFERS_WAITING;
use tombolo_agent::volumes::Volumes;
use tombolo_core::attempt::Phase;
use tombolo_core::label::Labels;
use tombolo_core::name::ClusterName;
use tombolo_core::resources::Resources;
use tombolo_core::session::Hello;
use tombolo_core::session::agent::Settings;
use tombolo_identity::member::Member;
use tombolo_identity::transport::connect_lazy;
use tombolo_tests::history::Fact;
use tombolo_transfer::peer::Links;
use tombolo_transfer::{ChunkStore, Puller, pull};

use crate::chronicle::Chronicle;
use crate::network::Network;
use crate::node::Node;
use crate::pipe::lock;

/// How long the log of an attempt that may be forgotten is waited for, as the program does.
const LOG_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How long the handover may take, as in the program.
const LEAVE_MAX: Duration = Duration::from_secs(10);

/// A cluster. Clones are one.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) machine: Arc<Machine>,
    process: Arc<Mutex<Option<Process>>>,
    dead: Arc<AtomicBool>,
}

/// What outlives the agent's process.
pub(crate) struct Machine {
    pub(crate) index: usize,
    pub(crate) name: ClusterName,
    pub(crate) labels: Labels,
    pub(crate) slots: u32,
    pub(crate) capacity: Resources,
    pub(crate) folder: PathBuf,
    pub(crate) master: link::Master,
    pub(crate) store: ChunkStore,
    pub(crate) node: Node,
    pub(crate) network: Network,
    pub(crate) chronicle: Chronicle,
}

struct Process {
    leave: Leave,
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Agent {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine: Arc::new(machine),
            process: Arc::default(),
            dead: Arc::default(),
        }
    }

    /// It never comes back.
    pub(crate) fn bury(&self) {
        self.crash(false);
        self.machine.node.crash();
        self.dead.store(true, Ordering::Relaxed);
        self.machine.chronicle.fact(Fact::Buried(self.machine.name.clone()));
    }

    /// Starts a process, if there is none, and there ever will be.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        let mut process = lock(&self.process);
        if process.is_none() && !self.dead.load(Ordering::Relaxed) {
            *process = Some(self.machine.start()?);
        }
        Ok(())
    }

    /// The process ends in the middle of whatever it is at; what runs under supervisors goes on. The master hears of it, or not.
    pub(crate) fn crash(&self, told: bool) {
        drop(lock(&self.process).take());
        self.machine.network.agent_gone(self.machine.index, told);
    }

    /// Nothing is left on the disk. There is no process.
    pub(crate) fn wipe(&self) {
        for folder in [self.machine.attempts(), self.machine.volumes()] {
            let removed = fs::remove_dir_all(&folder);
            assert!(removed.is_ok() || !folder.exists(), "{removed:?}");
        }
        self.machine.node.wipe();
        self.machine.chronicle.fact(Fact::Wiped(self.machine.name.clone()));
    }

    /// The process is told to end, and another one takes its place.
    pub(crate) async fn replace(&self) -> anyhow::Result<()> {
        let Some((leave, stop)) = lock(&self.process)
            .as_ref()
            .map(|process| (process.leave.clone(), process.stop.clone()))
        else {
            return Ok(());
        };
        leave.asked.cancel();
        let _ = tokio::time::timeout(LEAVE_MAX, leave.done.cancelled()).await;
        stop.cancel();
        let process = lock(&self.process).take_if(|process| process.stop.is_cancelled());
        if let Some(mut process) = process {
            while let Some(ended) = process.tasks.join_next().await {
                ended??;
            }
            self.machine.network.agent_gone(self.machine.index, true);
            self.start()?;
        }
        Ok(())
    }

    /// What is still on the disk.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        if self.dead.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let name = &self.machine.name;
        let mut found = Vec::new();
        for folder in [self.machine.attempts(), self.machine.volumes()] {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                found.push(format!("{} is still on {name}", entry.file_name().display()));
            }
        }
        found.sort();
        found
    }
}

impl Machine {
    fn attempts(&self) -> PathBuf {
        self.folder.join("attempts")
    }

    fn volumes(&self) -> PathBuf {
        self.folder.join("volumes")
    }

    fn hello(&self, volumes: &Volumes) -> Hello {
        Hello {
            version: "turmoil".to_owned(),
            capacity: self.capacity,
            slots: self.slots,
            capabilities: self.node.capabilities(),
            facts: Labels::default(),
            peer_address: None,
            attempts: Vec::new(),
            volumes: volumes.held(),
        }
    }

    /// What an agent is made of, as its program puts it together.
    fn start(&self) -> anyhow::Result<Process> {
        let settings = attempts::Settings {
            folder: self.attempts(),
            slots: self.slots as usize,
            log_patience: LOG_PATIENCE,
        };
        let found = Found::look(&settings, &self.node)?;
        self.note_found(&found);
        let (stop, leave) = (CancellationToken::new(), Leave::default());
        let mut tasks = JoinSet::new();
        let identity = &self.master.identity;
        let bulk = connect_lazy(
            &self.master.addresses,
            identity.client(&Member::Master)?,
            &self.master.proxy,
        );
        let (notices, said) = mpsc::channel(NOTICES_WAITING);
        let (heard, notices_out) = mpsc::channel(NOTICES_WAITING);
        let (instructions, ordered) = mpsc::channel(INSTRUCTIONS_WAITING);
        tasks.spawn(self.listener().notices(said, heard));
        let listener = self.listener();
        let taken = ReceiverStream::new(ordered).inspect(move |instruction| listener.taken(instruction));
        let (offers, _) = mpsc::channel(OFFERS_WAITING);
        let ends = Ends {
            notices: notices_out,
            instructions,
            offers,
        };
        let volumes = Volumes::open(&self.volumes(), notices.clone())?;
        let hello = self.hello(&volumes);
        let link = Link::new(self.master.clone(), Settings::default(), hello, found.reports(), ends);
        let link = link.with_exclusive(found.exclusive()).with_leave(leave.clone());
        let shipper = Shipper::new();
        let links = Links::new(identity.clone(), bulk.clone(), self.master.proxy.clone());
        let ways = Ways::new(links, self.name.clone());
        let puller = Puller::new(self.store.clone(), pull::Patience::default());
        let (prefetcher, prefetching) = Prefetcher::new(puller.clone(), ways.clone());
        let surroundings = Surroundings {
            executor: self.node.clone(),
            inputs: Inputs::new(puller, ways, prefetcher),
            shipper: shipper.clone(),
            secrets: Arc::new(secrets::Master::new(bulk.clone())),
            volumes: volumes.clone(),
            notices: notices.clone(),
        };
        let attempts = Attempts::resume(settings, found, surroundings);
        tasks.spawn(attempts.run(taken, stop.clone()));
        tasks.spawn(link.run(stop.clone()));
        tasks.spawn(volumes.look_after(self.node.clone(), stop.clone()));
        let told = stop.clone();
        tasks.spawn(async move {
            prefetching.run(notices, told).await;
            Ok(())
        });
        let told = stop.clone();
        tasks.spawn(async move {
            shipper.run(bulk, told).await;
            Ok(())
        });
        Ok(Process { leave, stop, tasks })
    }

    fn listener(&self) -> Listener {
        Listener {
            cluster: self.name.clone(),
            chronicle: self.chronicle.clone(),
        }
    }

    fn note_found(&self, found: &Found) {
        let cluster = self.name.clone();
        self.chronicle.fact(Fact::AgentStarted(cluster.clone()));
        for report in found.reports() {
            if let Phase::Ended(outcome) = report.phase {
                self.listener().ended(report.attempt, outcome);
            }
        }
        let attempts: BTreeSet<_> = found.attempts().collect();
        self.chronicle.fact(Fact::Greeted { cluster, attempts });
    }
}

/// Hears what the link and the attempts tell each other.
struct Listener {
    cluster: ClusterName,
    chronicle: Chronicle,
}

impl Listener {
    async fn notices(self, mut from: mpsc::Receiver<Notice>, to: mpsc::Sender<Notice>) -> anyhow::Result<()> {
        while let Some(notice) = from.recv().await {
            if let Notice::Progressed {
                attempt,
                phase: Phase::Ended(outcome),
            } = &notice
            {
                self.ended(*attempt, outcome.clone());
            }
            if to.send(notice).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn ended(&self, attempt: tombolo_core::id::AttemptId, outcome: tombolo_core::attempt::Outcome) {
        let cluster = self.cluster.clone();
        self.chronicle.fact(Fact::Ended {
            cluster,
            attempt,
            outcome,
        });
    }

    /// Hears of an instruction at the moment when the attempts have it: not while it waits for them.
    fn taken(&self, instruction: &Instruction) {
        let cluster = self.cluster.clone();
        match instruction {
            Instruction::Start(assignment) => {
                let attempt = assignment.attempt;
                self.chronicle.fact(Fact::StartOrdered { cluster, attempt });
            }
            Instruction::Stop { attempt, .. } | Instruction::Forget(attempt) => {
                let attempt = *attempt;
                self.chronicle.fact(Fact::EndOrdered { cluster, attempt });
            }
            _ => {}
        }
    }
}

/// The folder of a cluster.
pub(crate) fn folder(root: &Path, name: &ClusterName) -> PathBuf {
    root.join(name.as_str())
}
