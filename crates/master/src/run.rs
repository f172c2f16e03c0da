//! Puts the master together and runs it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tombolo_identity::tls::{self, ClientCertificate};
use tombolo_runtime::configuration::Faults;
use tombolo_runtime::shutdown::{self, TaskGroup};
use tombolo_store::postgres::Addresses;
use tombolo_transfer::store;

use crate::bootstrap::{self, DataFolder, Foundation};
use crate::clock::{Clock, SystemClock};
use crate::configuration::{Checked, Configuration};
use crate::database::{self, Database};
use crate::driver;
use crate::leadership::{self, Campaign, Door, Front, Mandate, Role};
use crate::outputs::loopback;
use crate::secrets;
use crate::serving;

/// How long the tasks have to end when the process is to stop.
const GRACE: Duration = Duration::from_secs(20);

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

    /// With one more task.
    fn with(mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) -> Self {
        self.group.spawn(name, task);
        self
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

/// Starts a master: when this returns, both ports take connections. It ends when `stopping` is cancelled. One that is one of several
/// leads, or passes connections on to the one that does.
pub async fn start(configuration: Configuration, stopping: CancellationToken) -> Result<Running, Error> {
    let base = Arc::new(Base::open(configuration)?);
    match base.configuration.leadership.addresses() {
        None => start_alone(base, stopping).await,
        Some(own) => start_among_others(base, own, stopping).await,
    }
}

async fn start_alone(base: Arc<Base>, stopping: CancellationToken) -> Result<Running, Error> {
    // Whoever is connected is answered soon: a master that waits for its turn takes no connections.
    let store = Database::open(
        &base.configuration.database,
        &base.foundation.authority.pins(),
        &base.folder,
    )
    .await?;
    let ports = Ports::open(&base.configuration).await?;
    // Probes and callers are answered from the beginning: what is waited for after a restoration may take minutes.
    let (role, roles) = watch::channel(Role::Taking);
    let mandate = Mandate::unlimited(base.clock.clone(), stopping.clone(), role.clone());
    let mut beside = TaskGroup::new(stopping.clone());
    base.stand_before(&ports, &roles, &stopping, &mut beside)?;
    base.serve_beside(roles, stopping, &mut beside).await?;
    let group = serving::lead(base.clone(), store, &ports, mandate).await?;
    role.send_replace(Role::Leader);
    Ok(base
        .running(&ports, group)
        .with("beside", async move { Ok(beside.run(GRACE).await?) }))
}

async fn start_among_others(base: Arc<Base>, own: Addresses, stopping: CancellationToken) -> Result<Running, Error> {
    let candidate = database::candidate(&base.configuration, &base.foundation.authority.pins())?;
    let ports = Ports::open(&base.configuration).await?;
    let mut group = TaskGroup::new(stopping.clone());
    let (sender, roles) = watch::channel(Role::Standby(None));
    base.stand_before(&ports, &roles, &stopping, &mut group)?;
    base.serve_beside(roles, stopping.clone(), &mut group).await?;
    let campaign = Campaign {
        candidate: Arc::new(candidate),
        clock: base.clock.clone(),
        lease: base.configuration.leadership.lease,
        own,
        roles: sender,
        stopping,
    };
    let running = base.running(&ports, group);
    let lead = move |store, mandate| {
        let (base, ports) = (base.clone(), ports.clone());
        async move { serving::lead(base, Database::Postgres(store), &ports, mandate).await }
    };
    Ok(running.with("leadership", async move { Ok(campaign.run(lead).await?) }))
}

/// What a master is, whether it leads or not.
pub(crate) struct Base {
    pub(crate) configuration: Configuration,
    pub(crate) checked: Checked,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) folder: DataFolder,
    pub(crate) foundation: Arc<Foundation>,
}

impl Base {
    fn open(configuration: Configuration) -> Result<Self, Error> {
        let checked = configuration.validate()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let folder = DataFolder::open(&configuration.data_folder)?;
        let foundation = Foundation::open(&configuration, &checked, &folder, clock.now().wall)?;
        Ok(Self {
            configuration,
            checked,
            clock,
            folder,
            foundation: Arc::new(foundation),
        })
    }

    /// Answers at both ports while the master does not lead.
    fn stand_before(
        &self,
        ports: &Ports,
        roles: &watch::Receiver<Role>,
        stopping: &CancellationToken,
        group: &mut TaskGroup,
    ) -> Result<(), Error> {
        let for_users = TlsAcceptor::from(self.foundation.website.server_config()?);
        let for_agents = TlsAcceptor::from(self.foundation.identity.server_config(ClientCertificate::Optional)?);
        let (agents, users) = (&self.configuration.agents, &self.configuration.users);
        for (door, port, connections) in [
            (Door::Agents(for_agents), ports.agents.clone(), agents.connections),
            (Door::Users(for_users), ports.users.clone(), users.connections),
        ] {
            let front = Front {
                door,
                port,
                roles: roles.clone(),
                connections,
                stopping: stopping.clone(),
            };
            group.spawn("front", front.run());
        }
        Ok(())
    }

    /// What goes on whatever the master is at the moment.
    async fn serve_beside(
        &self,
        roles: watch::Receiver<Role>,
        stopping: CancellationToken,
        group: &mut TaskGroup,
    ) -> Result<(), Error> {
        let renewing = renew(self.foundation.clone(), self.clock.clone(), stopping.clone());
        group.spawn("renewal", renewing);
        if let Some(address) = self.configuration.health.listen {
            let key = "health.listen";
            let failed = |reason| Error::Listen { key, address, reason };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            group.spawn("health", async move {
                leadership::health::serve(listener, roles, stopping).await;
                Ok(())
            });
        }
        Ok(())
    }

    fn running(&self, ports: &Ports, group: TaskGroup) -> Running {
        Running {
            agents: ports.agents_address,
            users: ports.users_address,
            admin_token: self.folder.admin_token(),
            trust: self.folder.trust(),
            group,
        }
    }
}

/// Both ports. They are bound before anything else starts, so that a second master on the same machine fails at once, and stay so
/// whatever the master is: each role listens at them in its time.
#[derive(Clone)]
pub(crate) struct Ports {
    agents: Arc<std::net::TcpListener>,
    pub(crate) agents_address: SocketAddr,
    users: Arc<std::net::TcpListener>,
    pub(crate) users_address: SocketAddr,
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

    /// Listeners at both, for agents and for users.
    pub(crate) fn listeners(&self) -> Result<(TcpListener, TcpListener), Error> {
        let failed = |key, address| move |reason| Error::Listen { key, address, reason };
        let agents = leadership::listener(&self.agents).map_err(failed("agents.listen", self.agents_address))?;
        let users = leadership::listener(&self.users).map_err(failed("users.listen", self.users_address))?;
        Ok((agents, users))
    }
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<(Arc<std::net::TcpListener>, SocketAddr), Error> {
    let open = async {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        io::Result::Ok((Arc::new(listener.into_std()?), bound))
    };
    open.await.map_err(|reason| Error::Listen { key, address, reason })
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
