//! The master: the real driver, its services for agents, and the logs, on one database that outlives them.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use object_store::memory::InMemory;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tombolo_core::session;
use tombolo_core::time::Timestamp;
use tombolo_identity::tls::ClientCertificate;
use tombolo_identity::transport::{Connections, accept};
use tombolo_master::bootstrap::{DataFolder, Foundation};
use tombolo_master::certificates::Certificates;
use tombolo_master::clock::{Clock, SystemClock};
use tombolo_master::configuration::{Checked, Configuration};
use tombolo_master::definitions::Definitions;
use tombolo_master::driver::{self, Driver, Handle};
use tombolo_master::grants::Grants;
use tombolo_master::leadership::Tenure;
use tombolo_master::logs::Logs;
use tombolo_master::pace::Pace;
use tombolo_master::secrets::Secrets;
use tombolo_master::sources::Sources;
use tombolo_master::tasks::tasks;
use tombolo_master::{Database, grpc};
use tombolo_store::Sqlite;
use tombolo_store::faulty::Faulty;
use tombolo_store::sqlite::Execution;
use tombolo_transfer::ChunkStore;
use tombolo_transfer::peer::ChunkService;
use tombolo_transfer::store::{Owner, Patience};
use tombolo_transfer::tunnel::{self, Switchboard};

use crate::chronicle::Chronicle;
use crate::network::Network;
use crate::pipe::{End, lock};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes that go on at once.
const HANDSHAKES: usize = 64;
/// How long it takes until a master that has ended by itself is started again.
const RESTART: Duration = Duration::from_secs(1);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What outlives the process.
struct Ground {
    configuration: Configuration,
    checked: Checked,
    folder: DataFolder,
    foundation: Arc<Foundation>,
    sqlite: Sqlite,
    database: Faulty<Sqlite>,
    sources: ChunkStore,
    network: Network,
    chronicle: Chronicle,
}

/// Clones are one.
#[derive(Clone)]
pub(crate) struct Master {
    ground: Arc<Ground>,
    process: Arc<Mutex<Option<AbortHandle>>>,
    handle: Arc<Mutex<Option<Handle>>>,
}

impl Master {
    /// A master that was not started yet, with its folder in `root`.
    pub(crate) async fn new(root: &Path, network: Network, chronicle: Chronicle) -> Result<Self, Failure> {
        let configuration = Configuration::in_folder(root.join("master"));
        let checked = configuration.validate()?;
        let folder = DataFolder::open(&configuration.data_folder)?;
        // Certificates are checked by the machine's calendar.
        let today = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let foundation = Foundation::open(&configuration, &checked, &folder, Timestamp(today.try_into()?))?;
        let sqlite = Sqlite::in_memory(Execution::Inline)?;
        let owner = Owner {
            trust_domain: checked.domain.to_string(),
            member: "master".to_owned(),
        };
        let ground = Ground {
            sources: store("the master's sources", &owner).await?,
            database: Faulty::new(sqlite.clone()),
            foundation: Arc::new(foundation),
            configuration,
            checked,
            folder,
            sqlite,
            network,
            chronicle,
        };
        Ok(Self {
            ground: Arc::new(ground),
            process: Arc::default(),
            handle: Arc::default(),
        })
    }

    pub(crate) fn foundation(&self) -> &Foundation {
        &self.ground.foundation
    }

    /// Where faults of the database are planned.
    pub(crate) fn faults(&self) -> &Faulty<Sqlite> {
        &self.ground.database
    }

    /// The database without any faults.
    pub(crate) fn database(&self) -> &Sqlite {
        &self.ground.sqlite
    }

    /// The way to the driver, if there is one.
    pub(crate) fn handle(&self) -> Option<Handle> {
        lock(&self.handle).clone()
    }

    pub(crate) fn start(&self) {
        let mut process = lock(&self.process);
        if process.is_none() {
            let master = self.clone();
            *process = Some(tokio::spawn(master.live()).abort_handle());
        }
    }

    /// The process ends, in the middle of whatever it is at. Agents hear of it, or not.
    pub(crate) fn crash(&self, told: bool) {
        if let Some(process) = lock(&self.process).take() {
            process.abort();
        }
        *lock(&self.handle) = None;
        self.ground.network.master_gone(told);
    }

    async fn live(self) {
        loop {
            let ended = self.ground.run(&self.handle).await;
            *lock(&self.handle) = None;
            self.ground.network.master_gone(true);
            self.ground
                .chronicle
                .note(format_args!("the master ends by itself: {ended:?}"));
            tokio::time::sleep(RESTART).await;
        }
    }
}

/// A store in memory.
pub(crate) async fn store(place: &str, owner: &Owner) -> Result<ChunkStore, Failure> {
    let (objects, prefix) = (Arc::new(InMemory::new()), object_store::path::Path::default());
    Ok(ChunkStore::over(objects, place.to_owned(), prefix, owner, Patience::default()).await?)
}

impl Ground {
    /// Runs a master until it ends by itself.
    async fn run(&self, shown: &Mutex<Option<Handle>>) -> Result<(), Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let options = driver::Options {
            control: self.configuration.control_settings(&self.checked),
            public_url: self.checked.public_url.clone(),
            costs: self.checked.costs.clone(),
            ..driver::Options::default()
        };
        let grants = Arc::new(Grants::new(self.foundation.clone()));
        let started = Driver::start(Arc::new(self.database.clone()), options, clock.clone(), grants).await;
        let (handle, driver) = started?;
        let stopping = CancellationToken::new();
        let mut running = JoinSet::new();
        let ends = self.network.listen();
        self.serve(&handle, clock, &stopping, ends, &mut running).await?;
        let driving = stopping.clone();
        running.spawn(async move { driver.run(driving).await.map_err(Failure::from) });
        self.chronicle.note("the master runs");
        *lock(shown) = Some(handle);
        // The first that ends takes the others along.
        match running.join_next().await {
            Some(ended) => ended?,
            None => Ok(()),
        }
    }

    async fn serve(
        &self,
        handle: &Handle,
        clock: Arc<dyn Clock>,
        stopping: &CancellationToken,
        ends: mpsc::UnboundedReceiver<End>,
        running: &mut JoinSet<Result<(), Failure>>,
    ) -> Result<(), Failure> {
        let store = Arc::new(Database::Sqlite(self.sqlite.clone()));
        let (logs, flusher) = Logs::start(store.clone(), handle.clone());
        let (tasks, owner) = tasks();
        let leases = &self.configuration.leases;
        let offers = grpc::Offers::default();
        let services = grpc::Services {
            handle: handle.clone(),
            secrets: Secrets::open(&self.configuration.secrets, &self.folder, store.clone()).await?,
            store,
            logs,
            definitions: Definitions::new(Sources::new(self.sources.clone(), clock.clone())),
            foundation: self.foundation.clone(),
            certificates: Certificates::default(),
            tenure: Tenure::unlimited(clock.clone()),
            clock,
            offers: offers.clone(),
            tasks,
            session: session::master::Settings {
                heartbeat: leases.heartbeat,
                lease: leases.lease,
                handover: leases.handover,
                ..session::master::Settings::default()
            },
            joins: Pace::per_minute(NonZeroU32::MIN),
            stopping: stopping.clone(),
        };
        let identity = self.foundation.identity.clone();
        let config = identity.server_config(ClientCertificate::Optional)?;
        let connections = Connections::default();
        let incoming = UnboundedReceiverStream::new(ends)
            .map(move |end| {
                let (identity, config, connections) = (identity.clone(), config.clone(), connections.clone());
                async move { accept(end, &identity, config, HANDSHAKE, &connections).await }
            })
            .buffer_unordered(HANDSHAKES)
            .filter_map(|accepted| std::future::ready(accepted.ok().map(Ok)))
            .chain(tokio_stream::pending());
        let switchboard = Switchboard::new(offers, tunnel::Limits::default());
        let sources = ChunkService::new(self.sources.clone(), self.foundation.identity.clone());
        let (writing, owning) = (stopping.clone(), stopping.clone());
        running.spawn(async move {
            flusher.run(writing).await;
            Ok(())
        });
        running.spawn(async move {
            owner.run(owning).await;
            Ok(())
        });
        running.spawn(async move { Ok(grpc::serve(services, switchboard, sources, incoming).await?) });
        Ok(())
    }
}
