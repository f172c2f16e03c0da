//! Puts the agent together and runs it.

mod kubernetes;

use std::fs::{File, TryLockError};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tombolo_core::label::Labels;
use tombolo_core::resources::Resources;
use tombolo_core::session::agent::Settings as SessionSettings;
use tombolo_core::session::{Capability, Hello};
use tombolo_core::volume::VolumeId;
use tombolo_identity::member::Member;
use tombolo_identity::transport::{Connections, Proxy, connect_lazy};
use tombolo_runtime::memory;
use tombolo_runtime::shutdown::TaskGroup;
use tombolo_transfer::peer::{ChunkService, Dialler, Door, Links};
use tombolo_transfer::store::{Owner, Patience, StoreLocation};
use tombolo_transfer::{Bandwidth, ChunkStore, Puller, pull};
use tonic::transport::Channel;

use self::kubernetes::Kubernetes;
use crate::attempts::{self, Attempts, Found, Inputs, Surroundings};
use crate::configuration::{Checked, Configuration, Store};
use crate::exec::{self, Enter, Entrance};
use crate::executor::Executor;
use crate::executor::kubernetes::Limits;
use crate::executor::process::{self, ProcessExecutor};
use crate::join::{self, Membership};
use crate::link::{Ends, Leave, Link, Master, renew};
use crate::network::Network;
use crate::prefetch::{Prefetcher, Prefetching};
use crate::seam::{INSTRUCTIONS_WAITING, NOTICES_WAITING, Notice};
use crate::secrets;
use crate::shipper::Shipper;
use crate::supervisor::SandboxPaths;
use crate::sweeping::Sweeper;
use crate::tunnels::{OFFERS_WAITING, Server};
use crate::volumes::Volumes;

/// How long an agent that is to join tries to reach the master before it gives up. Whoever started it starts it again.
const JOIN_PATIENCE: Duration = Duration::from_secs(120);
/// How long the tasks have to end when the process is to stop. Commands are not among them: these go on.
const GRACE: Duration = Duration::from_secs(10);
/// How long the handover may take: the master's answer, and telling the supervisors.
const LEAVE_MAX: Duration = Duration::from_secs(10);
/// How long the log of an attempt that may be forgotten is waited for: as long as a master may be away.
const LOG_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How many pods there are at once, where nothing is said about slots: what fits is for the cluster's capacity to say.
const PODS_AT_ONCE: u32 = 1000;

/// Runs the agent until `stopping` is cancelled. Commands that run then go on, and the next agent finds them.
///
/// # Errors
/// If the agent cannot start (configuration, joining, its store), or a part of it fails.
pub async fn run(configuration: Configuration, stopping: CancellationToken) -> anyhow::Result<()> {
    let checked = configuration.validate()?;
    let _lock = lock(&configuration.data_folder)?;
    let identity_folder = configuration.data_folder.join("identity");
    let proxy = Proxy::from_environment();
    let request = join::Request {
        folder: &identity_folder,
        master: &checked.master,
        invite: checked.invite.as_ref(),
        proxy: &proxy,
        patience: JOIN_PATIENCE,
    };
    let membership = tokio::select! {
        membership = join::open(request) => membership?,
        () = stopping.cancelled() => return Ok(()),
    };
    let store = tokio::select! {
        store = open_store(&configuration, &membership) => store?,
        () = stopping.cancelled() => return Ok(()),
    };
    tracing::info!(cluster = %membership.cluster, store = store.place(), "started");
    let parts = Parts {
        checked,
        membership,
        door: configuration.peer.as_ref().map(|peer| Door::new(&peer.advertise)),
        configuration,
        proxy,
        store,
        leave: Leave::default(),
    };
    let mut group = TaskGroup::new(CancellationToken::new());
    group.spawn("leaving", leaving(stopping, parts.leave.clone(), group.token()));
    parts.start(&identity_folder, &mut group).await?;
    Ok(group.run(GRACE).await?)
}

/// Ends the tasks when the process is to end, once the master counts on another one to take its place.
async fn leaving(stopping: CancellationToken, leave: Leave, stop: CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        () = stopping.cancelled() => {}
        () = stop.cancelled() => return Ok(()),
    }
    leave.asked.cancel();
    tokio::select! {
        () = leave.done.cancelled() => {}
        () = stop.cancelled() => {}
        () = tokio::time::sleep(LEAVE_MAX) => {}
    }
    stop.cancel();
    Ok(())
}

/// Two agents with one identity would throw each other out for ever.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let context = || format!("cannot use the data folder {}", folder.display());
    std::fs::create_dir_all(folder).with_context(context)?;
    let lock = File::create(folder.join("lock")).with_context(context)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => anyhow::bail!("another agent uses the data folder {}", folder.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(context),
    }
}

async fn open_store(configuration: &Configuration, membership: &Membership) -> anyhow::Result<ChunkStore> {
    let owner = Owner {
        trust_domain: membership.identity.trust().domain().to_string(),
        member: membership.cluster.to_string(),
    };
    let patience = Patience {
        operation: configuration.store_deadline,
        ..Patience::default()
    };
    let Store { location, access } = &configuration.store;
    ChunkStore::open_direct(location, access, &owner, patience)
        .await
        .context("the cluster's store cannot be used")
}

/// What the agent is made of.
struct Parts {
    configuration: Configuration,
    checked: Checked,
    membership: Membership,
    proxy: Proxy,
    /// Where other clusters dial this one, if they can.
    door: Option<Door>,
    store: ChunkStore,
    /// How the end of this process is told to the master.
    leave: Leave,
}

impl Parts {
    /// Starts all tasks.
    async fn start(mut self, identity_folder: &Path, group: &mut TaskGroup) -> anyhow::Result<()> {
        let Some(settings) = self.checked.kubernetes.take() else {
            let facts = Labels::from_pairs([("arch", std::env::consts::ARCH), ("os", std::env::consts::OS)])?;
            let executor = self.processes();
            self.start_with(executor, facts, identity_folder, group).await?;
            return Ok(());
        };
        let kubernetes = Kubernetes::open(
            settings,
            Limits {
                stop_grace: self.configuration.stop_grace,
                log_limit_bytes: self.configuration.log_limit_bytes,
            },
            self.membership.cluster.clone(),
            &self.membership.identity,
            &self.configuration.data_folder,
            self.store.clone(),
        )
        .await?;
        let mut facts = Labels::default();
        if let Some(capacity) = &kubernetes.capacity {
            self.checked.capacity = capacity.total;
            facts.clone_from(&capacity.facts);
        } else if !self.configuration.capacity.is_given() {
            // What this process may use says nothing of what there is for pods: the cluster's own scheduler knows.
            self.checked.capacity = Resources::UNKNOWN;
        }
        if self.configuration.slots.is_none() {
            self.checked.slots = PODS_AT_ONCE;
        }
        let executor = kubernetes.executor.clone();
        let (identity, attempts) = (self.membership.identity.clone(), self.attempts_folder());
        let notices = self.start_with(executor, facts, identity_folder, group).await?;
        kubernetes.start(&identity, attempts, notices, group).await
    }

    fn attempts_folder(&self) -> PathBuf {
        self.configuration.data_folder.join("attempts")
    }

    fn volumes_folder(&self) -> PathBuf {
        self.configuration.data_folder.join("volumes")
    }

    /// Starts all tasks that every agent has. What is sent there is told to the master.
    async fn start_with<E: Executor + Clone>(
        self,
        executor: E,
        facts: Labels,
        identity_folder: &Path,
        group: &mut TaskGroup,
    ) -> anyhow::Result<mpsc::Sender<Notice>> {
        let bulk = self.bulk()?;
        let master = Master {
            identity: self.membership.identity.clone(),
            addresses: self.membership.addresses.clone(),
            proxy: self.proxy.clone(),
        };
        let settings = attempts::Settings {
            folder: self.attempts_folder(),
            slots: self.checked.slots as usize,
            log_patience: LOG_PATIENCE,
        };
        let found = Found::look(&settings, &executor)?;

        let (notices, notices_out) = mpsc::channel(NOTICES_WAITING);
        let (instructions, instructions_out) = mpsc::channel(INSTRUCTIONS_WAITING);
        let (offers, offers_out) = mpsc::channel(OFFERS_WAITING);
        let ends = Ends {
            notices: notices_out,
            instructions,
            offers,
        };
        let volumes =
            Volumes::open(&self.volumes_folder(), notices.clone()).context("cannot read what volumes there are")?;
        let hello = self.hello(executor.capabilities(), facts, volumes.held());
        let link = Link::new(master.clone(), SessionSettings::default(), hello, found.reports(), ends);
        let link = link.with_exclusive(found.exclusive()).with_leave(self.leave.clone());

        let entrance = Entrance::new(executor.clone(), settings.folder.clone());
        let shipper = Shipper::new();
        let keeper = executor.clone();
        let (inputs, prefetcher, prefetching) = self.inputs(bulk.clone());
        let surroundings = Surroundings {
            executor,
            inputs,
            shipper: shipper.clone(),
            secrets: Arc::new(secrets::Master::new(bulk.clone())),
            volumes: volumes.clone(),
            notices: notices.clone(),
        };
        let attempts = Attempts::resume(settings, found, surroundings);
        let stop = group.token();
        group.spawn(
            "attempts",
            attempts.run(ReceiverStream::new(instructions_out), stop.clone()),
        );
        group.spawn("link", link.run(stop.clone()));
        group.spawn("volumes", volumes.look_after(keeper, stop.clone()));
        group.spawn("prefetching", endless(prefetching.run(notices.clone(), stop.clone())));
        group.spawn("logs", {
            let (bulk, stop) = (bulk.clone(), stop.clone());
            endless(async move { shipper.run(bulk, stop).await })
        });
        group.spawn("renewal", {
            let (folder, stop) = (identity_folder.to_owned(), stop.clone());
            endless(async move { renew(master, &folder, stop).await })
        });
        group.spawn("memory", endless(memory::give_back_when_idle(stop.clone())));
        let server = Arc::new(self.server(entrance));
        let sweeper = self.sweeper(bulk.clone(), &server, prefetcher);
        group.spawn("sweeps", endless(sweeper.run(stop.clone())));
        group.spawn("tunnels", {
            let (server, stop) = (Arc::clone(&server), stop.clone());
            endless(async move { server.serve_tunnels(bulk, offers_out, stop).await })
        });
        self.serve_peers(server, group).await?;
        Ok(notices)
    }

    /// Takes connections of other agents, if it is to.
    async fn serve_peers(&self, server: Arc<Server>, group: &mut TaskGroup) -> anyhow::Result<()> {
        let stop = group.token();
        if let (Some(peer), Some(door)) = (&self.configuration.peer, self.door.clone()) {
            let listener = TcpListener::bind(peer.listen)
                .await
                .with_context(|| format!("cannot listen for peers at {} (`peer.listen`)", peer.listen))?;
            group.spawn("peers", async move { server.serve_peers(listener, &door, stop).await });
        }
        Ok(())
    }

    /// A connection for large things, so that they cannot hold up a heartbeat.
    fn bulk(&self) -> anyhow::Result<Channel> {
        let tls = self.membership.identity.client(&Member::Master)?;
        Ok(connect_lazy(&self.membership.addresses, tls, &self.proxy))
    }

    fn processes(&self) -> ProcessExecutor {
        let settings = process::Settings {
            cluster: self.membership.cluster.clone(),
            supervisor: "/proc/self/exe".into(),
            images: self.configuration.images,
            paths: SandboxPaths::Absolute,
            stop_grace: self.configuration.stop_grace,
            log_limit_bytes: self.configuration.log_limit_bytes,
            volumes: self.volumes_folder(),
        };
        ProcessExecutor::new(settings, self.store.clone())
    }

    fn hello(&self, capabilities: Vec<Capability>, facts: Labels, volumes: Vec<VolumeId>) -> Hello {
        Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capacity: self.checked.capacity,
            slots: self.checked.slots,
            capabilities,
            facts,
            peer_address: self.configuration.peer.as_ref().map(|peer| peer.advertise.clone()),
            attempts: Vec::new(),
            volumes,
        }
    }

    fn inputs(&self, bulk: Channel) -> (Inputs, Prefetcher, Prefetching) {
        let links = Links::new(self.membership.identity.clone(), bulk, self.proxy.clone());
        let links = match &self.door {
            Some(door) => links.with_door(door.clone()),
            None => links,
        };
        let network = Network::new(links, self.membership.cluster.clone());
        let patience = pull::Patience {
            stalled: self.configuration.store_deadline,
            ..pull::Patience::default()
        };
        let bandwidth = Bandwidth::new(self.configuration.bandwidth.receive.and_then(NonZeroU64::new));
        let puller = Puller::new(self.store.clone(), patience).with_bandwidth(bandwidth);
        let (prefetcher, prefetching) = Prefetcher::new(puller.clone(), network.clone());
        let inputs = Inputs::new(puller, network, prefetcher.clone());
        (inputs, prefetcher, prefetching)
    }

    fn sweeper(&self, bulk: Channel, server: &Server, prefetcher: Prefetcher) -> Sweeper {
        let (store, folder) = (self.store.clone(), self.attempts_folder());
        let readers = (server.chunks.clone(), prefetcher);
        let is_folder = matches!(self.configuration.store.location, StoreLocation::Local(_));
        if self.configuration.sweep.is_hasty() && !is_folder {
            tracing::warn!(
                every = ?self.configuration.sweep.every,
                "`sweep.every` is shorter than 10m, in which a bucket may still carry out deletions of the sweep before"
            );
        }
        Sweeper::new(store, self.configuration.sweep, folder, bulk, readers)
    }

    fn server(&self, entrance: impl Enter) -> Server {
        let identity = self.membership.identity.clone();
        let connections = Connections::default();
        let dialler = Dialler::new(identity.clone(), self.proxy.clone(), connections.clone());
        let bandwidth = Bandwidth::new(self.configuration.bandwidth.send.and_then(NonZeroU64::new));
        Server {
            exec: exec::Service::new(entrance),
            chunks: ChunkService::with_dialler(self.store.clone(), identity.clone(), dialler, bandwidth),
            identity,
            connections,
        }
    }
}

/// A task that fails only by not ending when it should.
async fn endless(task: impl Future<Output = ()>) -> anyhow::Result<()> {
    task.await;
    Ok(())
}
