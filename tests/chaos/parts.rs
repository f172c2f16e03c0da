//! The real parts: Postgres, two masters, SeaweedFS, four agents, and a way of its own between any two of them. Two of the agents may be in Kubernetes
//! clusters.

mod agent;
mod disk;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::installation::{Installation, Setting};
use crate::judge::plan::{self, BUCKETS, CLUSTERS, KUBERNETES, SMALL_DISK};
use crate::kubernetes::{Cluster, Machine, Wishes};
use crate::process;
use crate::proxy::{Proxy, Weather};
use agent::{Agent, Body, Process};
use disk::Disk;

pub(crate) const MASTERS: usize = plan::MASTERS.len();
/// How long a leader leads without its database's word.
const LEADER_LEASE: Duration = Duration::from_secs(3);
/// How long agents may act without a master's, and how long their clusters are waited for. Memory is given back as charts have it.
const SETTINGS: [(&str, &str); 7] = [
    ("MIMALLOC_PURGE_DELAY", "0"),
    ("MIMALLOC_ALLOW_THP", "0"),
    ("TOMBOLO_MASTER_LEASES__LEASE", "6s"),
    ("TOMBOLO_MASTER_LEASES__HEARTBEAT", "2s"),
    ("TOMBOLO_MASTER_LEASES__LOST_AFTER", "8s"),
    ("TOMBOLO_MASTER_LEASES__HANDOVER", "15s"),
    ("TOMBOLO_MASTER_LEASES__MAX_REPLACEMENTS", "20"),
];
const SLOTS: u32 = 4;
/// Each has a label of its own, and one that it shares.
const LABELS: [[&str; 2]; 4] = [
    ["zone=north", "store=folder"],
    ["zone=east", "store=folder"],
    ["zone=west", "store=bucket"],
    ["zone=south", "store=bucket"],
];

/// All parts, ended with this value.
pub(crate) struct Parts {
    agents: Vec<Mutex<Agent>>,
    /// Those of [`KUBERNETES`], if they are what that says.
    clusters: Vec<Arc<Cluster>>,
    installation: Mutex<Installation>,
    bucket: Mutex<process::Server>,
    disk: Disk,
}

/// The labels of a cluster, by its number.
pub(crate) fn labels(cluster: usize) -> [&'static str; 2] {
    LABELS[cluster]
}

impl Parts {
    /// Starts all of them, and waits until the clusters are connected. Parts end with the thread that calls this.
    pub(crate) fn start(
        runtime: &tokio::runtime::Runtime,
        program: &Path,
        calendars: Option<PathBuf>,
        machine: Option<&Machine>,
    ) -> anyhow::Result<Self> {
        let variables = SETTINGS.map(|(name, value)| (name, value.to_owned())).to_vec();
        let setting = Setting {
            lease: LEADER_LEASE,
            variables,
            calendars,
        };
        let installation = Installation::start_with(program, MASTERS, setting);
        installation.wait_for_role(1, "standby");
        println!("two masters and their database run");
        let bucket = runtime.block_on(process::Server::start(answers));
        println!("SeaweedFS runs");
        let disk = installation.path(&format!("{SMALL_DISK}-store"));
        let disk = Disk::hold(&disk)?;
        let mut parts = Self {
            agents: Vec::new(),
            clusters: Vec::new(),
            installation: Mutex::new(installation),
            bucket: Mutex::new(bucket),
            disk,
        };
        for (index, name) in CLUSTERS.into_iter().enumerate() {
            let agent = match machine.filter(|_| KUBERNETES.contains(&name)) {
                None => parts.process(runtime, index, name, machine)?,
                Some(machine) => parts.pod(runtime, index, name, machine)?,
            };
            parts.agents.push(Mutex::new(agent));
        }
        parts.with(|installation| installation.wait_for_clusters(CLUSTERS.len()));
        println!("{} clusters are connected", CLUSTERS.len());
        Ok(parts)
    }

    /// The ways of an agent, from an address of this machine to the masters, and from another one to its store.
    fn ways(
        &self,
        runtime: &tokio::runtime::Runtime,
        name: &str,
        (here, store_here): (Ipv4Addr, Ipv4Addr),
    ) -> anyhow::Result<(Vec<Proxy>, Option<Proxy>)> {
        let mut links = Vec::new();
        for master in 0..MASTERS {
            let port = self.with(|installation| installation.port_for_agents(master));
            links.push(runtime.block_on(Proxy::at(here, port))?);
        }
        let bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = bucket.address.port();
        let store = match BUCKETS.contains(&name) {
            true => Some(runtime.block_on(Proxy::at(store_here, bucket))?),
            false => None,
        };
        Ok((links, store))
    }

    /// An agent whose jobs are processes of this machine.
    fn process(
        &self,
        runtime: &tokio::runtime::Runtime,
        index: usize,
        name: &'static str,
        machine: Option<&Machine>,
    ) -> anyhow::Result<Agent> {
        // Pods as well read from its bucket.
        let store_here = machine.map_or(Ipv4Addr::LOCALHOST, |machine| machine.gateway);
        let (links, store) = self.ways(runtime, name, (Ipv4Addr::LOCALHOST, store_here))?;
        let folder = |name: String| self.with(|installation| installation.path(&name));
        let place = match &store {
            Some(way) => place_in_bucket(way, name),
            None => json!({"local": {"path": folder(format!("{name}-store"))}}),
        };
        let mut configuration = json!({
            "data_folder": folder(name.to_owned()), "store": place, "master": addresses(&links), "slots": SLOTS,
            // What jobs ask for is not what they use.
            "capacity": {"cpu_milli": 64_000, "memory_bytes": 1_u64 << 36},
        });
        for (key, value) in deadlines().as_object().into_iter().flatten() {
            configuration[key] = value.clone();
        }
        let within = match name == SMALL_DISK {
            true => self.disk.entrance(),
            false => Vec::new(),
        };
        let invite = self.with(|installation| installation.invite(name, &LABELS[index]));
        let mut process = Process {
            configuration,
            within,
            is_wanted: true,
            child: None,
        };
        self.with(|installation| process.start(name, installation, Some(&invite)));
        Ok(Agent {
            name,
            links,
            store,
            body: Body::Process(process),
        })
    }

    /// An agent in a Kubernetes cluster, installed by its chart.
    fn pod(
        &mut self,
        runtime: &tokio::runtime::Runtime,
        index: usize,
        name: &'static str,
        machine: &Machine,
    ) -> anyhow::Result<Agent> {
        let (links, store) = self.ways(runtime, name, (machine.gateway, machine.gateway))?;
        let place = match &store {
            Some(way) => place_in_bucket(way, name),
            None => json!({"local": {"path": "/var/lib/tombolo-agent/store"}}),
        };
        let (invite, folder) =
            self.with(|installation| (installation.invite(name, &LABELS[index]), installation.path("")));
        let cluster = Arc::new(Cluster::new(name, machine, &folder));
        self.clusters.push(Arc::clone(&cluster));
        let wishes = Wishes {
            masters: &addresses(&links),
            invite: &invite,
            slots: SLOTS,
            store: &place,
            settings: &deadlines(),
        };
        cluster
            .install(&folder, &wishes)
            .with_context(|| format!("cannot install the agent of {name}"))?;
        println!("the agent of the Kubernetes cluster {name} is installed");
        Ok(Agent {
            name,
            links,
            store,
            body: Body::Pod(cluster),
        })
    }

    /// The Kubernetes clusters.
    pub(crate) fn clusters(&self) -> &[Arc<Cluster>] {
        &self.clusters
    }

    /// The Kubernetes cluster of this name.
    pub(crate) fn cluster(&self, name: &str) -> anyhow::Result<&Cluster> {
        let cluster = self.clusters.iter().find(|cluster| cluster.name == name);
        cluster
            .map(Arc::as_ref)
            .with_context(|| format!("{name} is no Kubernetes cluster"))
    }

    /// Uses the masters and their database.
    pub(crate) fn with<T>(&self, use_it: impl FnOnce(&mut Installation) -> T) -> T {
        let mut installation = self.installation.lock().unwrap_or_else(PoisonError::into_inner);
        use_it(&mut installation)
    }

    fn with_agent<T>(&self, name: &str, use_it: impl FnOnce(&mut Agent) -> T) -> anyhow::Result<T> {
        let index = CLUSTERS.iter().position(|cluster| *cluster == name);
        let agent = index
            .and_then(|index| self.agents.get(index))
            .with_context(|| format!("there is no agent `{name}`"))?;
        Ok(use_it(&mut agent.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    pub(crate) fn start_agent_again(&self, name: &str) -> anyhow::Result<()> {
        self.with_agent(name, |agent| self.with(|installation| agent.start_again(installation)))?
    }

    /// Sends a signal to an agent. One that ends it is waited for.
    pub(crate) fn signal_agent(&self, name: &str, signal: Signal) -> anyhow::Result<()> {
        self.with_agent(name, |agent| agent.signal(signal))
    }

    /// Turns the weather between an agent and the masters.
    pub(crate) fn turn_link(&self, name: &str, weather: Weather) -> anyhow::Result<()> {
        self.with_agent(name, |agent| agent.links.iter().for_each(|link| link.turn(weather)))
    }

    /// Turns the weather between an agent and its store.
    pub(crate) fn turn_store(&self, name: &str, weather: Weather) -> anyhow::Result<()> {
        self.with_agent(name, |agent| agent.store.iter().for_each(|way| way.turn(weather)))
    }

    pub(crate) fn with_bucket(&self, use_it: impl FnOnce(&mut process::Server)) {
        use_it(&mut self.bucket.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) const fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Copies what parts have said of themselves.
    pub(crate) fn keep_logs(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        for name in ["master-0", "master-1"].iter().chain(&CLUSTERS) {
            std::fs::write(
                folder.join(format!("{name}.log")),
                self.with(|installation| installation.log(name)),
            )?;
        }
        for cluster in &self.clusters {
            let helpers = format!("{}.helpers", cluster.name);
            std::fs::write(
                folder.join(format!("{helpers}.log")),
                self.with(|installation| installation.log(&helpers)),
            )?;
            std::fs::write(folder.join(format!("{}.events.txt", cluster.name)), cluster.events())?;
        }
        Ok(())
    }

    /// Parts that have ended although nobody told them to, with how; they are started again.
    pub(crate) fn fallen(&self) -> Vec<(String, String)> {
        let mut fallen = Vec::new();
        for index in 0..MASTERS {
            if let Some(status) = self.with(|installation| installation.fallen(index)) {
                fallen.push((format!("master-{index}"), status.to_string()));
            }
        }
        for name in CLUSTERS {
            let fell = self.with_agent(name, |agent| self.with(|installation| agent.fallen(installation)));
            if let Ok(Some(status)) = fell {
                fallen.push((name.to_owned(), status));
            }
        }
        fallen
    }

    /// The processes of all parts that run.
    pub(crate) fn processes(&self) -> Vec<(String, u32)> {
        let master = |index| {
            let process = self.with(|installation| installation.process(index));
            process.map(|process| (format!("master-{index}"), process))
        };
        let agent = |name: &&'static str| {
            let process = self.with_agent(name, |agent| agent.id()).ok()??;
            Some(((*name).to_owned(), process))
        };
        (0..MASTERS)
            .filter_map(master)
            .chain(CLUSTERS.iter().filter_map(agent))
            .collect()
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for name in CLUSTERS {
            let _ = self.turn_link(name, Weather::Fine);
            let _ = self.turn_store(name, Weather::Fine);
        }
        // Pods end with their clusters.
        let signal = |signal| {
            for agent in &self.agents {
                if let Body::Process(process) = &mut agent.lock().unwrap_or_else(PoisonError::into_inner).body {
                    process.signal(signal);
                }
            }
        };
        signal(Signal::CONT);
        signal(Signal::TERM);
        let began = std::time::Instant::now();
        let lives = |agent: &Mutex<Agent>| match &mut agent.lock().unwrap_or_else(PoisonError::into_inner).body {
            Body::Process(process) => process.lives(),
            Body::Pod(_) => false,
        };
        while self.agents.iter().any(lives) && began.elapsed() < Duration::from_secs(15) {
            std::thread::sleep(Duration::from_millis(50));
        }
        signal(Signal::KILL);
    }
}

/// What is said of every agent.
fn deadlines() -> Value {
    json!({"store_deadline": "30s", "stop_grace": "2s"})
}

fn addresses(links: &[Proxy]) -> String {
    let links: Vec<String> = links.iter().map(|link| link.address().to_string()).collect();
    links.join(",")
}

fn place_in_bucket(way: &Proxy, prefix: &str) -> Value {
    json!({"s3": {
        "endpoint": format!("http://{}", way.address()), "allow_http": true, "bucket": "bucket", "prefix": prefix,
        "access_key_id": process::ACCESS_KEY, "secret_access_key": {"value": process::SECRET_KEY},
    }})
}

/// Whether the bucket takes what is written.
async fn answers(address: std::net::SocketAddr) -> Result<(), String> {
    let store = object_store::aws::AmazonS3Builder::new()
        .with_endpoint(format!("http://{address}"))
        .with_allow_http(true)
        .with_bucket_name("bucket")
        .with_access_key_id(process::ACCESS_KEY)
        .with_secret_access_key(process::SECRET_KEY)
        .build()
        .map_err(|error| error.to_string())?;
    let probe = "probe".into();
    let put = object_store::ObjectStoreExt::put(&store, &probe, "probe".into());
    let put = tokio::time::timeout(Duration::from_secs(5), put).await;
    put.map_err(|error| error.to_string())?
        .map(drop)
        .map_err(|error| error.to_string())
}
