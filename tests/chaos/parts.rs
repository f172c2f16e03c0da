//! The real parts: Postgres, two masters, SeaweedFS, four agents, and a way of its own between any two of them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::installation::{Installation, Setting};
use crate::judge::plan::{self, BUCKETS, CLUSTERS, SMALL_DISK};
use crate::process;
use crate::proxy::{Proxy, Weather};

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
/// The disk of one cluster's store, in bytes.
const DISK_BYTES: u64 = 768 << 20;
const SLOTS: u32 = 4;
/// Each has a label of its own, and one that it shares.
const LABELS: [[&str; 2]; 4] = [
    ["zone=north", "store=folder"],
    ["zone=east", "store=folder"],
    ["zone=west", "store=bucket"],
    ["zone=south", "store=bucket"],
];

/// An agent, running or not.
struct Agent {
    name: &'static str,
    configuration: Value,
    /// Its ways to the masters, and to its store.
    links: Vec<Proxy>,
    store: Option<Proxy>,
    /// What enters the place where its small disk is.
    within: Vec<String>,
    /// It was not told to end.
    is_wanted: bool,
    child: Option<Child>,
}

/// All parts, ended with this value.
pub(crate) struct Parts {
    agents: Vec<Mutex<Agent>>,
    installation: Mutex<Installation>,
    bucket: Mutex<process::Server>,
    /// Keeps the small disk.
    holder: Child,
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
        let holder = hold_disk(&disk)?;
        let mut parts = Self {
            agents: Vec::new(),
            installation: Mutex::new(installation),
            bucket: Mutex::new(bucket),
            holder,
        };
        for (index, name) in CLUSTERS.into_iter().enumerate() {
            let agent = parts.agent(runtime, index, name)?;
            parts.agents.push(Mutex::new(agent));
        }
        parts.with(|installation| installation.wait_for_clusters(CLUSTERS.len()));
        println!("{} clusters are connected", CLUSTERS.len());
        Ok(parts)
    }

    fn agent(&self, runtime: &tokio::runtime::Runtime, index: usize, name: &'static str) -> anyhow::Result<Agent> {
        let mut links = Vec::new();
        for master in 0..MASTERS {
            let port = self.with(|installation| installation.port_for_agents(master));
            links.push(runtime.block_on(Proxy::to(port))?);
        }
        let masters: Vec<String> = links.iter().map(|link| format!("127.0.0.1:{}", link.port())).collect();
        let bucket = self
            .bucket
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .address
            .port();
        let store = match BUCKETS.contains(&name) {
            true => Some(runtime.block_on(Proxy::to(bucket))?),
            false => None,
        };
        let folder = |name: String| self.with(|installation| installation.path(&name));
        let place = match &store {
            Some(way) => json!({"s3": {
                "endpoint": format!("http://127.0.0.1:{}", way.port()), "allow_http": true, "bucket": "bucket", "prefix": name,
                "access_key_id": process::ACCESS_KEY, "secret_access_key": {"value": process::SECRET_KEY},
            }}),
            None => json!({"local": {"path": folder(format!("{name}-store"))}}),
        };
        let configuration = json!({
            "data_folder": folder(name.to_owned()), "store": place, "master": masters.join(","), "slots": SLOTS,
            // What jobs ask for is not what they use.
            "capacity": {"cpu_milli": 64_000, "memory_bytes": 1_u64 << 36},
            "store_deadline": "30s", "stop_grace": "2s",
        });
        let within = match name == SMALL_DISK {
            true => ["nsenter", "--preserve-credentials", "--user", "--mount", "--target"]
                .map(str::to_owned)
                .into_iter()
                .chain([self.holder.id().to_string()])
                .collect(),
            false => Vec::new(),
        };
        let invite = self.with(|installation| installation.invite(name, &LABELS[index]));
        let mut agent = Agent {
            name,
            configuration,
            links,
            store,
            within,
            is_wanted: true,
            child: None,
        };
        self.with(|installation| agent.start(installation, Some(&invite)));
        Ok(agent)
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

    pub(crate) fn start_agent(&self, name: &str) -> anyhow::Result<()> {
        self.with_agent(name, |agent| {
            agent.is_wanted = true;
            self.with(|installation| agent.start(installation, None));
        })
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

    /// What takes all room on the small disk.
    fn filler(&self) -> String {
        let disk = self.with(|installation| installation.path(&format!("{SMALL_DISK}-store")));
        format!("/proc/{}/root{}/filler", self.holder.id(), disk.display())
    }

    /// Leaves no room on the small disk.
    pub(crate) fn fill_disk(&self) -> anyhow::Result<()> {
        let filler = self.filler();
        let zeros = std::fs::File::open("/dev/zero")?;
        let mut file = std::fs::File::create(&filler).with_context(|| format!("cannot make {filler}"))?;
        let written = std::io::copy(&mut std::io::Read::take(zeros, 2 * DISK_BYTES), &mut file);
        ensure!(written.is_err(), "the disk has more room than it is large");
        Ok(())
    }

    /// Makes room again.
    pub(crate) fn empty_disk(&self) -> anyhow::Result<()> {
        let filler = self.filler();
        std::fs::remove_file(&filler).with_context(|| format!("cannot remove {filler}"))
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
            let ended = self.with_agent(name, |agent| {
                let ended = agent.child.as_mut()?.try_wait().ok()??;
                agent.child = None;
                agent.is_wanted.then_some(ended)
            });
            if let Ok(Some(status)) = ended {
                fallen.push((name.to_owned(), status.to_string()));
                drop(self.start_agent(name));
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
            let process = self
                .with_agent(name, |agent| agent.child.as_ref().map(Child::id))
                .ok()??;
            Some(((*name).to_owned(), process))
        };
        (0..MASTERS)
            .filter_map(master)
            .chain(CLUSTERS.iter().filter_map(agent))
            .collect()
    }
}

impl Agent {
    fn start(&mut self, installation: &Installation, invite: Option<&str>) {
        let environment = invite.map(|invite| ("TOMBOLO_AGENT_INVITE", invite));
        let environment: Vec<_> = environment.into_iter().collect();
        let child = installation.spawn(&self.within, ("agent", self.name), &self.configuration, &environment);
        self.child = Some(child);
    }

    fn signal(&mut self, signal: Signal) {
        let Some(child) = &mut self.child else { return };
        // One that has ended already is started again all the same.
        let _ = kill_process(Pid::from_child(child), signal);
        if signal == Signal::KILL {
            drop(child.wait());
            self.child = None;
        }
        self.is_wanted = ![Signal::KILL, Signal::TERM].contains(&signal);
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for name in CLUSTERS {
            let _ = self.turn_link(name, Weather::Fine);
            let _ = self.turn_store(name, Weather::Fine);
            let _ = self.signal_agent(name, Signal::CONT);
            let _ = self.signal_agent(name, Signal::TERM);
        }
        let began = std::time::Instant::now();
        let lives = |agent: &Mutex<Agent>| {
            let mut agent = agent.lock().unwrap_or_else(PoisonError::into_inner);
            agent
                .child
                .as_mut()
                .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
        };
        while self.agents.iter().any(lives) && began.elapsed() < Duration::from_secs(15) {
            std::thread::sleep(Duration::from_millis(50));
        }
        for name in CLUSTERS {
            let _ = self.signal_agent(name, Signal::KILL);
        }
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// A small disk at a place that only those see who enter the namespaces of this process.
fn hold_disk(disk: &Path) -> anyhow::Result<Child> {
    std::fs::create_dir_all(disk)?;
    let mut holder = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(r#"mount -t tmpfs -o "size=$1" tmpfs "$2" && echo ready && exec cat"#)
        .args(["sh", &DISK_BYTES.to_string()])
        .arg(disk)
        // It ends with the one who holds the other end.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run `unshare`")?;
    let mut ready = [0; 6];
    let said = holder
        .stdout
        .as_mut()
        .map(|output| std::io::Read::read_exact(output, &mut ready));
    ensure!(
        matches!(said, Some(Ok(()))) && &ready == b"ready\n",
        "cannot make a small disk\nhint: user namespaces must be allowed on this machine"
    );
    Ok(holder)
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
