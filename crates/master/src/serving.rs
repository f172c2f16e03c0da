//! What a leader does: the driver, both ports, and what goes on beside them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tombolo_core::session;
use tombolo_identity::tls::ClientCertificate;
use tombolo_identity::transport::{self, Acceptor, Connections};
use tombolo_runtime::shutdown::TaskGroup;
use tombolo_transfer::peer::ChunkService;
use tombolo_transfer::store::{ChunkStore, Owner, Patience, StoreLocation};
use tombolo_transfer::tunnel::{self, Switchboard};

use crate::Database;
use crate::backup::Maker;
use crate::bootstrap;
use crate::certificates::Certificates;
use crate::definitions::Definitions;
use crate::driver::{self, Driver, Handle};
use crate::exec::Exec;
use crate::grants::Grants;
use crate::grpc;
use crate::leadership::{Mandate, Role};
use crate::logs::Logs;
use crate::outputs::Outputs;
use crate::outputs::loopback::Loopback;
use crate::pace::Pace;
use crate::rest::{self, Application, Capacity, Invitation};
use crate::retention::Retention;
use crate::run::{Base, Error, Ports};
use crate::secrets::Secrets;
use crate::sources::{Sources, Sweeper};
use crate::tasks::{Tasks, tasks};
use crate::triggers::Triggers;

/// How long streams have to end by themselves before their connections are closed.
const STREAM_GRACE: Duration = Duration::from_secs(2);

/// Starts what a leader does. When this returns, both ports take connections. The tasks end when the mandate's `stopping` is cancelled.
pub(crate) async fn lead(
    base: Arc<Base>,
    store: Database,
    ports: &Ports,
    mandate: Mandate,
) -> Result<TaskGroup, Error> {
    let store = Arc::new(store);
    let (configuration, clock) = (&base.configuration, base.clock.clone());
    let secrets = Secrets::open(&configuration.secrets, &base.folder, store.clone()).await?;
    let sources = Sources::new(open_sources(&base).await?, clock.clone());
    let grants = Grants::new(base.foundation.clone());
    let options = driver::Options {
        control: configuration.control_settings(&base.checked),
        public_url: base.checked.public_url.clone(),
        costs: base.checked.costs.clone(),
        reports: {
            let roles = mandate.roles.clone();
            driver::Reports::to(move |report| Role::hear(&roles, report))
        },
    };
    let signer = Arc::new(grants.clone());
    let mut group = TaskGroup::new(mandate.stopping.clone());
    let starting = Box::pin(Driver::start(store.clone(), options, clock.clone(), signer));
    let Some(started) = mandate.stopping.run_until_cancelled(starting).await else {
        // Nothing has begun.
        return Ok(group);
    };
    let (handle, driver) = started?;
    let driving = mandate.clone();
    group.spawn("driver", async move {
        let driven = driver.run(driving.stopping).await;
        // From here on nothing is changed that others would have to wait for.
        driving.over.cancel();
        Ok(driven?)
    });
    bootstrap::first_token(&base.folder, &handle, clock.now().wall).await?;
    secrets.renew(&handle).await;
    let policy = configuration.retention.policy();
    let retention = Retention::new(handle.clone(), store.clone(), clock.clone(), policy);
    let definitions = Definitions::new(sources.clone());
    let triggers = Triggers::new(handle.clone(), store.clone(), definitions, clock.clone());
    let parts = Parts {
        base,
        mandate,
        store,
        secrets,
        sources,
        handle,
        grants,
        retention,
        triggers,
        certificates: Certificates::default(),
    };
    parts.serve(ports, &mut group)?;
    Ok(group)
}

async fn open_sources(base: &Base) -> Result<ChunkStore, Error> {
    let local = || StoreLocation::local(base.folder.sources());
    let location = base.configuration.sources.clone().unwrap_or_else(local);
    let owner = Owner {
        trust_domain: base.checked.domain.to_string(),
        member: "master".to_owned(),
    };
    Ok(ChunkStore::open(&location, &owner, Patience::default()).await?)
}

/// What the servers are made of.
struct Parts {
    base: Arc<Base>,
    mandate: Mandate,
    store: Arc<Database>,
    secrets: Secrets,
    sources: Sources,
    handle: Handle,
    grants: Grants,
    retention: Retention,
    triggers: Triggers,
    certificates: Certificates,
}

impl Parts {
    /// Starts all tasks.
    fn serve(self, ports: &Ports, group: &mut TaskGroup) -> Result<(), Error> {
        let (agents, users) = (ports.agents_address, ports.users_address);
        let (for_agents, for_users) = ports.listeners()?;
        let connections = Connections::default();
        let (logs, flusher) = Logs::start(self.store.clone(), self.handle.clone());
        let stopping = self.stopping();
        group.spawn("logs", async move {
            flusher.run(stopping).await;
            Ok(())
        });
        let tasks = self.serve_agents(for_agents, &connections, &logs, group)?;
        self.serve_users(for_users, agents, connections.clone(), (logs, tasks), group)?;
        let every = self.base.configuration.retention.every;
        let location = &self.base.configuration.sources;
        let is_folder = location
            .as_ref()
            .is_none_or(|place| matches!(place, StoreLocation::Local(_)));
        let (sources, database) = (self.sources.clone(), self.store.clone());
        let tenure = self.mandate.tenure.clone();
        let sweeper = Sweeper::new(sources, database, self.handle.clone(), tenure, every, is_folder);
        let stopping = self.stopping();
        group.spawn("sources", async move {
            sweeper.run(stopping).await;
            Ok(())
        });
        let (triggers, stopping) = (self.triggers.clone(), self.stopping());
        group.spawn("triggers", async move {
            triggers.run(stopping).await;
            Ok(())
        });
        let (retention, stopping) = (self.retention.clone(), self.stopping());
        group.spawn("retention", async move {
            retention.run(every, stopping).await;
            Ok(())
        });
        let (tenure, stopping) = (self.mandate.tenure.clone(), self.stopping());
        group.spawn("connections", async move {
            stopping.cancelled().await;
            if tenure.holds() {
                tokio::time::sleep(STREAM_GRACE).await;
            }
            let closed = connections.close_all();
            tracing::debug!(closed, "closed the connections of agents");
            Ok(())
        });
        tracing::info!(%agents, %users, public_url = self.base.checked.public_url, "the master runs");
        Ok(())
    }

    fn stopping(&self) -> CancellationToken {
        self.mandate.stopping.clone()
    }

    fn serve_agents(
        &self,
        listener: TcpListener,
        connections: &Connections,
        logs: &Logs,
        group: &mut TaskGroup,
    ) -> Result<Tasks, Error> {
        let (tasks, owner) = tasks();
        let stopping = self.stopping();
        group.spawn("sessions", async move {
            owner.run(stopping).await;
            Ok(())
        });
        let leases = &self.base.configuration.leases;
        let offers = grpc::Offers::default();
        let services = grpc::Services {
            handle: self.handle.clone(),
            store: self.store.clone(),
            logs: logs.clone(),
            definitions: Definitions::new(self.sources.clone()),
            secrets: self.secrets.clone(),
            foundation: self.base.foundation.clone(),
            certificates: self.certificates.clone(),
            clock: self.base.clock.clone(),
            offers: offers.clone(),
            tasks: tasks.clone(),
            session: session::master::Settings {
                heartbeat: leases.heartbeat,
                lease: leases.lease,
                handover: leases.handover,
                ..session::master::Settings::default()
            },
            joins: Pace::per_minute(self.base.configuration.limits.joins_per_minute),
            tenure: self.mandate.tenure.clone(),
            stopping: self.stopping(),
        };
        let identity = &self.base.foundation.identity;
        let limits = transport::Limits {
            connections: self.base.configuration.agents.connections,
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
        let identity = &self.base.foundation.identity;
        let loopback = Loopback::new(identity, agents, self.grants.clone(), self.base.clock.clone())?;
        let exec = Exec::new(
            self.base.configuration.exec_settings(),
            loopback.links(),
            self.handle.clone(),
            tasks,
        );
        let application = Application {
            backups: Maker::new(self.base.clone(), self.store.clone(), self.stopping()),
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
            clock: self.base.clock.clone(),
            connections,
            foundation: self.base.foundation.clone(),
            certificates: self.certificates.clone(),
            invitation: self.invitation(agents),
            public_url: self.base.checked.public_url.clone(),
            tenure: self.mandate.tenure.clone(),
            stopping: self.stopping(),
            capacity: Capacity::new(&self.base.configuration.limits),
        };
        let router = rest::router(Arc::new(application));
        let tls = self.base.foundation.website.server_config()?;
        let limits = rest::ServerLimits {
            connections: self.base.configuration.users.connections,
            ..rest::ServerLimits::default()
        };
        let stopping = self.stopping();
        group.spawn("users", async move {
            Ok(rest::serve(listener, tls, router, limits, stopping).await?)
        });
        Ok(())
    }

    fn invitation(&self, agents: SocketAddr) -> Invitation {
        let mut addresses = self.base.configuration.agents.addresses.clone();
        if addresses.is_empty() {
            addresses.push(format!("{}:{}", self.base.checked.public_host, agents.port()));
        }
        let pin = self.base.foundation.authority.pin();
        Invitation {
            addresses,
            domain: self.base.checked.domain.clone(),
            pin,
        }
    }
}
