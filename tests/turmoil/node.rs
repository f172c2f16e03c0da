//! A machine that runs commands, seen by its agent as an executor. What runs there outlives the agent's process, as supervisors do.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tombolo_agent::exec;
use tombolo_agent::executor::{Error, Executor, Material};
use tombolo_agent::folder::{AttemptFolder, read_record};
use tombolo_agent::link::Lease;
use tombolo_agent::secrets::Values;
use tombolo_agent::supervisor::{Exit, Started};
use tombolo_core::attempt::Assignment;
use tombolo_core::id::AttemptId;
use tombolo_core::name::ClusterName;
use tombolo_core::session::Capability;
use tombolo_core::volume::VolumeId;
use tombolo_tests::history::Fact;

use crate::chronicle::Chronicle;
use crate::pipe::lock;
use crate::running::NodeRunning;
use crate::scenario::draw_time;
use crate::supervisor::{Supervised, Supervisor, Wanted, is_exclusive};

/// How long it takes to make a sandbox, at the most, most of the time.
const STEP: Duration = Duration::from_millis(300);

/// Clones are one.
#[derive(Clone)]
pub(crate) struct Node {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: ClusterName,
    chronicle: Chronicle,
    command_time: Duration,
    /// Sandboxes take about as long as a lease, now and then.
    tense: bool,
    rng: Mutex<ChaCha8Rng>,
    commands: Mutex<BTreeMap<AttemptId, Command>>,
    volumes: Mutex<Vec<VolumeId>>,
}

/// A command and its supervisor.
struct Command {
    wanted: watch::Sender<Wanted>,
    seen: watch::Receiver<Supervised>,
    task: AbortHandle,
    exclusive: bool,
}

impl Node {
    pub(crate) fn new(
        cluster: ClusterName,
        chronicle: Chronicle,
        (command_time, tense): (Duration, bool),
        rng: ChaCha8Rng,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                cluster,
                chronicle,
                command_time,
                tense,
                rng: Mutex::new(rng),
                commands: Mutex::default(),
                volumes: Mutex::default(),
            }),
        }
    }

    /// The machine ends, and all that runs there.
    pub(crate) fn crash(&self) {
        let commands = std::mem::take(&mut *lock(&self.shared.commands));
        commands.values().for_each(|command| command.task.abort());
        self.shared
            .chronicle
            .fact(Fact::MachineDown(self.shared.cluster.clone()));
    }

    /// The volumes are gone with the disk.
    pub(crate) fn wipe(&self) {
        lock(&self.shared.volumes).clear();
    }

    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut ChaCha8Rng) -> T) -> T {
        draw(&mut lock(&self.shared.rng))
    }

    async fn step(&self) {
        let length = self.draw(|rng| {
            let longest = match self.shared.tense {
                false if rng.random_bool(0.05) => STEP * 20,
                true if rng.random_bool(0.3) => STEP * 60,
                _ => STEP,
            };
            draw_time(rng, longest)
        });
        tokio::time::sleep(length).await;
    }

    /// Starts a command under a supervisor.
    fn launch(&self, folder: &AttemptFolder, assignment: &Assignment, lease: Option<&Lease>) -> io::Result<()> {
        let shared = &self.shared;
        let (wanted, wishes) = watch::channel(Wanted {
            stop: false,
            lease: lease.and_then(Lease::granted),
        });
        let supervisor = self.draw(|rng| {
            let time = draw_time(rng, shared.command_time);
            Supervisor::new(
                folder.clone(),
                assignment.attempt,
                time,
                rng,
                wishes,
                shared.chronicle.clone(),
            )
        });
        let exclusive = is_exclusive(assignment);
        let (supervising, seen) = supervisor.begin(shared.cluster.clone(), assignment, exclusive)?;
        let task = tokio::spawn(supervising).abort_handle();
        let command = Command {
            wanted,
            seen,
            task,
            exclusive,
        };
        lock(&shared.commands).insert(assignment.attempt, command);
        Ok(())
    }

    fn attach(&self, attempt: AttemptId, lease: Option<Lease>) -> Option<NodeRunning> {
        let commands = lock(&self.shared.commands);
        let command = commands.get(&attempt)?;
        let (wanted, seen) = (command.wanted.clone(), command.seen.clone());
        Some(NodeRunning::attached(wanted, seen, lease))
    }
}

impl Executor for Node {
    type Running = NodeRunning;

    fn capabilities(&self) -> Vec<Capability> {
        vec![Capability::Volumes, Capability::Exclusive]
    }

    fn is_lost(&self, folder: &AttemptFolder, attempt: AttemptId) -> io::Result<bool> {
        let over = folder.ended().exists() || folder.exit().exists();
        let runs = lock(&self.shared.commands).contains_key(&attempt);
        Ok(!over && folder.started().exists() && !runs)
    }

    async fn prepare(&self, _: &AttemptFolder, _: &Assignment) -> Result<Vec<String>, Error> {
        self.step().await;
        Ok(vec!["the sandbox is simulated".to_owned()])
    }

    async fn make_volume(&self, volume: VolumeId, _: &Assignment) -> Result<(), Error> {
        self.step().await;
        let mut volumes = lock(&self.shared.volumes);
        if !volumes.contains(&volume) {
            volumes.push(volume);
        }
        Ok(())
    }

    async fn remove_volume(&self, volume: VolumeId) -> Result<(), Error> {
        self.step().await;
        lock(&self.shared.volumes).retain(|other| *other != volume);
        Ok(())
    }

    async fn find_volumes(&self) -> Result<Vec<VolumeId>, Error> {
        Ok(lock(&self.shared.volumes).clone())
    }

    async fn stage(&self, _: &AttemptFolder, _: &Assignment, _: &[Material]) -> Result<Vec<String>, Error> {
        self.step().await;
        Ok(Vec::new())
    }

    async fn start(
        &self,
        folder: &AttemptFolder,
        assignment: &Assignment,
        _: &Values,
        lease: Option<Lease>,
    ) -> Result<NodeRunning, Error> {
        let failed = |source| Error::System {
            action: "look at the folder of an attempt",
            source,
        };
        if let Some(exit) = read_record::<Exit>(&folder.exit()).map_err(failed)? {
            return Ok(NodeRunning::over(exit));
        }
        let attempt = assignment.attempt;
        if let Some(running) = self.attach(attempt, lease.clone()) {
            return Ok(running);
        }
        let started: Option<Started> = read_record(&folder.started()).map_err(failed)?;
        if started.is_some() {
            return Err(Error::Lost { said: None });
        }
        self.launch(folder, assignment, lease.as_ref()).map_err(failed)?;
        self.attach(attempt, lease).ok_or(Error::Lost { said: None })
    }

    async fn enter(&self, _: &AttemptFolder, _: AttemptId, _: exec::Request) -> Result<exec::Session, exec::Failure> {
        Err(exec::Failure {
            reason: exec::Reason::NotRunning,
            message: "nobody enters simulated commands".to_owned(),
        })
    }

    async fn clear(&self, _: &AttemptFolder, attempt: AttemptId) -> Result<(), Error> {
        let command = lock(&self.shared.commands).remove(&attempt);
        if let Some(command) = command {
            command.task.abort();
            let runs = command.seen.borrow().exit.is_none();
            if command.exclusive && runs {
                self.shared.chronicle.fact(Fact::CommandOver(attempt));
            }
        }
        Ok(())
    }
}
