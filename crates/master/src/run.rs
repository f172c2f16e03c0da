//! Puts the master together and runs it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tombolo_core::session;
use tombolo_identity::tls::{self, ClientCertificate};
use tombolo_identity::transport::{self, Acceptor, Connections};
use tombolo_runtime::shutdown::{self, TaskGroup};
use tombolo_transfer::peer::ChunkService;
use tombolo_transfer::store::{self, ChunkStore, Owner, Patience, StoreLocation};
use tombolo_transfer::tunnel::{self, Switchboard};

use crate::bootstrap::{self, DataFolder, Foundation};
use crate::clock::{Clock, SystemClock};
use crate::configuration::{Checked, Configuration};
use crate::database::{self, Database};
use crate::definitions::Definitions;
use crate::driver::{self, Driver, Handle};
use crate::exec::Exec;
use crate::grants::Grants;
use crate::grpc;
use crate::logs::Logs;
use crate::outputs::Outputs;
use crate::outputs::loopback::{self, Loopback};
use crate::rest::{self, Application, Capacity, Invitation};
use crate::retention::Retention;
use crate::secrets::{self, Secrets};
use crate::sources::{Sources, Sweeper};
use crate::tasks::{Tasks, tasks};
use crate::triggers::Triggers;
use tombolo_runtime::configuration::Faults;

/// How long the tasks have to end when the process is to stop.
const GRACE: Duration = Duration::from_secs(20);

/// How long streams have to end by themselves before their connections are closed.
const STREAM_GRACE: Duration = Duration::from_secs(2);

/// How often it is looked at whether the master's own certificates are to be renewed: also soon after a long sleep of the
/// machine, which a timer for the whole time would not notice.
const RENEWAL_CHECK: Duration = Duration::from_secs(60);

/// Why the master did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Configuration(#[from] Faults),
    /// What is made at the first start.
    #[error(transparent)]
    Bootstrap(#[from] bootstrap::Error),
    /// The database.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// The secrets of projects.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// The driver.
    #[error(transparent)]
    Driver(#[from] driver::Error),
    /// The store of sources.
    #[error("the store for sources of builds cannot be used: {0}")]
    Sources(#[from] store::Error),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The way to the master's own switchboard.
    #[error("the master cannot reach itself: {0}")]
    Loopback(#[from] loopback::SetupError),
    /// A port.
    #[error("cannot listen at {address} (`{key}`): {reason}")]
    Listen {
        /// The setting.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// Why.
        reason: std::io::Error,
    },
    /// A task that failed.
    #[error(transparent)]
    Task(#[from] shutdown::Error),
}

/// A master that has started.
pub struct Running {
    agents: SocketAddr,
    users: SocketAddr,
    admin_token: PathBuf,
    trust: PathBuf,
    group: TaskGroup,
}

impl Running {
    /// Where it listens for agents.
    pub fn agents_address(&self) -> SocketAddr {
        self.agents
    }

    /// Where it listens for users.
    pub fn users_address(&self) -> SocketAddr {
        self.users
    }

    /// The file with the first admin's token.
    pub fn admin_token(&self) -> &std::path::Path {
        &self.admin_token
    }

    /// The file with what users have to trust.
    pub fn trust(&self) -> &std::path::Path {
        &self.trust
    }

    /// Waits for its end: after the token that it was started with was cancelled, or when a part of it failed.
    pub async fn wait(self) -> Result<(), Error> {
        Ok(self.group.run(GRACE).await?)
    }
}

/// Runs a master until `stopping` is cancelled.
pub async fn run(configuration: Configuration, stopping: CancellationToken) -> Result<(), Error> {
    start(configuration, stopping).await?.wait().await
}

/// Starts a master: when this returns, both ports take connections. It ends when `stopping` is cancelled.
pub async fn start(configuration: Configuration, stopping: CancellationToken) -> Result<Running, Error> {
    let checked = configuration.validate()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let folder = DataFolder::open(&configuration.data_folder)?;
    let now = clock.now().wall;
    let foundation = Arc::new(Foundation::open(&configuration, &checked, &folder, now)?);
    // Whoever is connected is answered soon: a master that waits for its turn takes no connections.
    let store = Arc::new(Database::open(&configuration.database, &folder).await?);
    let ports = Ports::open(&configuration).await?;
    let secrets = Secrets::open(&configuration.secrets, &folder, store.clone()).await?;
    let sources = Sources::new(open_sources(&configuration, &checked, &folder).await?, clock.clone());
    let grants = Grants::new(foundation.clone());
    let options = driver::Options {
        control: configuration.control_settings(&checked),
        public_url: checked.public_url.clone(),
        costs: checked.costs.clone(),
    };
    let signer = Arc::new(grants.clone());
    let (handle, driver) = Driver::start(store.clone(), options, clock.clone(), signer).await?;
    let mut group = TaskGroup::new(stopping.clone());
    let stop_driver = stopping.clone();
    group.spawn("driver", async move { Ok(driver.run(stop_driver).await?) });
    bootstrap::first_token(&folder, &handle, now).await?;
    secrets.renew(&handle).await;
    let policy = configuration.retention.policy();
    let retention = Retention::new(handle.clone(), store.clone(), clock.clone(), policy);
    let definitions = Definitions::new(sources.clone());
    let triggers = Triggers::new(handle.clone(), store.clone(), definitions, clock.clone());
    let parts = Parts {
        configuration,
        checked,
        foundation,
        clock,
        store,
        secrets,
        sources,
        handle,
        grants,
        retention,
        triggers,
        stopping,
    };
    let (agents, users) = (ports.agents_address, ports.users_address);
    parts.serve(ports, &mut group)?;
    Ok(Running {
        agents,
        users,
        admin_token: folder.admin_token(),
        trust: folder.trust(),
        group,
    })
}

/// Both ports. They are bound before anything else starts, so that a second master on the same machine fails at once.
struct Ports {
    agents: TcpListener,
    agents_address: SocketAddr,
    users: TcpListener,
    users_address: SocketAddr,
}

impl Ports {
    async fn open(configuration: &Configuration) -> Result<Self, Error> {
        let (agents, agents_address) = listen("agents.listen", configuration.agents.listen).await?;
        let (users, users_address) = listen("users.listen", configuration.users.listen).await?;
        Ok(Self {
            agents,
            agents_address,
            users,
            users_address,
        })
    }
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |reason| Error::Listen { key, address, reason };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn open_sources(
    configuration: &Configuration,
    checked: &Checked,
    folder: &DataFolder,
) -> Result<ChunkStore, Error> {
    let local = || StoreLocation::local(folder.sources());
    let location = configuration.sources.clone().unwrap_or_else(local);
    let owner = Owner {
        trust_domain: checked.domain.to_string(),
        member: "master".to_owned(),
    };
    Ok(ChunkStore::open(&location, &owner, Patience::default()).await?)
}

/// What the servers are made of.
struct Parts {
    configuration: Configuration,
    checked: Checked,
    foundation: Arc<Foundation>,
    clock: Arc<dyn Clock>,
    store: Arc<Database>,
    secrets: Secrets,
    sources: Sources,
    handle: Handle,
    grants: Grants,
    retention: Retention,
    triggers: Triggers,
    stopping: CancellationToken,
}

impl Parts {
    /// Starts all tasks.
    fn serve(self, ports: Ports, group: &mut TaskGroup) -> Result<(), Error> {
        let (agents, users) = (ports.agents_address, ports.users_address);
        let connections = Connections::default();
        let (logs, flusher) = Logs::start(self.store.clone(), self.handle.clone());
        let stopping = self.stopping.clone();
        group.spawn("logs", async move {
            flusher.run(stopping).await;
            Ok(())
        });
        let tasks = self.serve_agents(ports.agents, &connections, &logs, group)?;
        self.serve_users(ports.users, agents, connections.clone(), (logs, tasks), group)?;
        let every = self.configuration.retention.every;
        let location = &self.configuration.sources;
        let is_folder = location
            .as_ref()
            .is_none_or(|place| matches!(place, StoreLocation::Local(_)));
        let (sources, database) = (self.sources.clone(), self.store.clone());
        let sweeper = Sweeper::new(sources, database, self.handle.clone(), every, is_folder);
        let stopping = self.stopping.clone();
        group.spawn("sources", async move {
            sweeper.run(stopping).await;
            Ok(())
        });
        let (triggers, stopping) = (self.triggers.clone(), self.stopping.clone());
        group.spawn("triggers", async move {
            triggers.run(stopping).await;
            Ok(())
        });
        let (retention, stopping) = (self.retention.clone(), self.stopping.clone());
        group.spawn("retention", async move {
            retention.run(every, stopping).await;
            Ok(())
        });
        let renewing = renew(self.foundation.clone(), self.clock.clone(), self.stopping.clone());
        group.spawn("renewal", renewing);
        let stopping = self.stopping.clone();
        group.spawn("connections", async move {
            stopping.cancelled().await;
            tokio::time::sleep(STREAM_GRACE).await;
            let closed = connections.close_all();
            tracing::debug!(closed, "closed the connections of agents");
            Ok(())
        });
        tracing::info!(%agents, %users, public_url = self.checked.public_url, "the master runs");
        Ok(())
    }

    fn serve_agents(
        &self,
        listener: TcpListener,
        connections: &Connections,
        logs: &Logs,
        group: &mut TaskGroup,
    ) -> Result<Tasks, Error> {
        let (tasks, owner) = tasks();
        let stopping = self.stopping.clone();
        group.spawn("sessions", async move {
            owner.run(stopping).await;
            Ok(())
        });
        let leases = &self.configuration.leases;
        let offers = grpc::Offers::default();
        let services = grpc::Services {
            handle: self.handle.clone(),
            store: self.store.clone(),
            logs: logs.clone(),
            definitions: Definitions::new(self.sources.clone()),
            secrets: self.secrets.clone(),
            foundation: self.foundation.clone(),
            clock: self.clock.clone(),
            offers: offers.clone(),
            tasks: tasks.clone(),
            session: session::master::Settings {
                heartbeat: leases.heartbeat,
                lease: leases.lease,
                ..session::master::Settings::default()
            },
            stopping: self.stopping.clone(),
        };
        let identity = &self.foundation.identity;
        let limits = transport::Limits {
            connections: self.configuration.agents.connections,
            ..transport::Limits::default()
        };
        let strangers_join = ClientCertificate::Optional;
        let incoming = Acceptor::new(listener, identity, strangers_join, limits, connections.clone())?;
        let switchboard = Switchboard::new(offers, tunnel::Limits::default());
        let sources = ChunkService::new(self.sources.store().clone(), identity.clone());
        group.spawn("agents", async move {
            Ok(grpc::serve(services, switchboard, sources, incoming).await?)
        });
        Ok(tasks)
    }

    fn serve_users(
        &self,
        listener: TcpListener,
        agents: SocketAddr,
        connections: Connections,
        (logs, tasks): (Logs, Tasks),
        group: &mut TaskGroup,
    ) -> Result<(), Error> {
        let identity = &self.foundation.identity;
        let loopback = Loopback::new(identity, agents, self.grants.clone(), self.clock.clone())?;
        let exec = Exec::new(
            self.configuration.exec_settings(),
            loopback.links(),
            self.handle.clone(),
            tasks,
        );
        let application = Application {
            triggers: self.triggers.clone(),
            secrets: self.secrets.clone(),
            exec,
            handle: self.handle.clone(),
            store: self.store.clone(),
            logs,
            definitions: Definitions::new(self.sources.clone()),
            sources: self.sources.clone(),
            retention: self.retention.clone(),
            outputs: Outputs::new(Arc::new(loopback)),
            clock: self.clock.clone(),
            connections,
            invitation: self.invitation(agents),
            public_url: self.checked.public_url.clone(),
            stopping: self.stopping.clone(),
            capacity: Capacity::default(),
        };
        let router = rest::router(Arc::new(application));
        let tls = self.foundation.website.server_config()?;
        let limits = rest::ServerLimits {
            connections: self.configuration.users.connections,
            ..rest::ServerLimits::default()
        };
        let stopping = self.stopping.clone();
        group.spawn("users", async move {
            Ok(rest::serve(listener, tls, router, limits, stopping).await?)
        });
        Ok(())
    }

    fn invitation(&self, agents: SocketAddr) -> Invitation {
        let mut addresses = self.configuration.agents.addresses.clone();
        if addresses.is_empty() {
            addresses.push(format!("{}:{}", self.checked.public_host, agents.port()));
        }
        let pin = self.foundation.authority.pin();
        Invitation {
            addresses,
            domain: self.checked.domain.clone(),
            pin,
        }
    }
}

/// Renews the master's own certificates in time.
async fn renew(foundation: Arc<Foundation>, clock: Arc<dyn Clock>, stopping: CancellationToken) -> anyhow::Result<()> {
    loop {
        let now = clock.now().wall;
        if foundation.chain().renew_at() <= now {
            match foundation.renew(now) {
                Ok(()) => tracing::info!("renewed the master's own certificates"),
                // A third of their life is left for another try.
                Err(error) => tracing::error!(%error, "the master's own certificates were not renewed"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RENEWAL_CHECK) => {}
            () = stopping.cancelled() => return Ok(()),
        }
    }
}
