//! A master and its clusters, as the program that was built with this runs them.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::measure::Process;
use crate::process::free_ports;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tombolo");
/// As the charts have it: what is free goes back at once, and no more is taken than is needed.
const ALLOCATOR: [(&str, &str); 2] = [("MIMALLOC_PURGE_DELAY", "0"), ("MIMALLOC_ALLOW_THP", "0")];
/// How long anything here may take: a guard against hanging, not a measure.
const PATIENCE: Duration = Duration::from_secs(180);

/// A cluster to be.
pub(crate) struct Cluster {
    pub(crate) name: &'static str,
    pub(crate) store: Value,
    /// Where it finds the master, if not where the master listens.
    pub(crate) master: Option<SocketAddr>,
    /// Where it takes peers, and where those find it.
    pub(crate) peer: Option<(SocketAddr, SocketAddr)>,
}

/// The ports of a master to be.
pub(crate) struct Ports {
    pub(crate) agents: SocketAddr,
    users: SocketAddr,
}

impl Ports {
    pub(crate) fn choose() -> Self {
        let ports = free_ports(2);
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            agents: local(ports[0]),
            users: local(ports[1]),
        }
    }
}

struct Part {
    name: &'static str,
    child: Child,
}

/// Everything, ended with this value.
pub(crate) struct World {
    folder: tempfile::TempDir,
    parts: Vec<Part>,
}

impl World {
    pub(crate) fn start(ports: &Ports, clusters: &[Cluster]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut world = Self {
            folder,
            parts: Vec::new(),
        };
        let (agents, users) = (ports.agents.to_string(), ports.users.to_string());
        let url = format!("https://localhost:{}", ports.users.port());
        let configuration = json!({
            "data_folder": world.path("master"), "public_url": url,
            "agents": {"listen": agents, "addresses": [agents]}, "users": {"listen": users},
        });
        world.part("master", "master", &configuration, &[])?;
        let token = world.path("master/admin.token").display().to_string();
        let trust = world.path("master/trust.pem").display().to_string();
        let login = ["login", &url, "--token-file", &token, "--certificate-authority", &trust];
        wait_for("the master", || world.tombolo(&login).ok())?;
        for cluster in clusters {
            world.join(cluster, &agents)?;
        }
        wait_for("the clusters", || {
            let list = world.json(&["cluster", "list"]).ok()?;
            let connected = |cluster: &&Value| cluster["connected"] == true;
            let count = list["clusters"].as_array()?.iter().filter(connected).count();
            (count == clusters.len()).then_some(())
        })?;
        Ok(world)
    }

    fn join(&mut self, cluster: &Cluster, master: &str) -> anyhow::Result<()> {
        let Cluster { name, store, .. } = cluster;
        let invite = self.json(&["cluster", "invite", name, "-l", &format!("at={name}")])?;
        let invite = invite["invite"].as_str().context("an invite")?.to_owned();
        let mut configuration = json!({
            "master": cluster.master.map_or_else(|| master.to_owned(), |address| address.to_string()),
            "data_folder": self.path(name), "store": store,
        });
        if let Some((listen, advertise)) = cluster.peer {
            configuration["peer"] = json!({"listen": listen.to_string(), "advertise": advertise.to_string()});
        }
        self.part(name, "agent", &configuration, &[("TOMBOLO_AGENT_INVITE", &invite)])
    }

    fn part(
        &mut self,
        name: &'static str,
        subcommand: &str,
        configuration: &Value,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let path = self.path(&format!("{name}.toml"));
        fs::write(&path, toml::to_string(configuration)?)?;
        let log = File::create(self.path(&format!("{name}.log")))?;
        let child = Command::new(PROGRAM)
            .arg(subcommand)
            .arg("--config")
            .arg(path)
            .envs(ALLOCATOR.iter().chain(environment).copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {PROGRAM}"))?;
        self.parts.push(Part { name, child });
        Ok(())
    }

    /// All of its processes.
    pub(crate) fn processes(&self) -> Vec<(&'static str, Process)> {
        self.parts
            .iter()
            .map(|part| (part.name, Process::of(&part.child)))
            .collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a user's command and returns what it prints.
    pub(crate) fn tombolo(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .env("TOMBOLO_CONFIG", self.path("cli.toml"))
            .env_remove("TOMBOLO_TOKEN")
            .stdin(Stdio::null())
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tombolo {}: {error}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same, as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let text = self.tombolo(&[arguments, &["-o", "json"]].concat())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Waits for a job to be in a state, and returns it.
    pub(crate) fn job(&self, project: &str, build: &str, job: &str, state: &str) -> anyhow::Result<Value> {
        let mut failed = None;
        let found = wait_for(&format!("the job {job} to be {state}"), || {
            let jobs = self.json(&["jobs", build, "-p", project]).ok()?;
            let job = jobs["jobs"]
                .as_array()?
                .iter()
                .find(|found| found["name"] == job)?
                .clone();
            let now = job["state"].as_str()?.to_owned();
            if ["failure", "error", "killed", "skipped"].contains(&now.as_str()) {
                failed = Some(job.to_string());
            }
            (now == state || failed.is_some()).then_some(job)
        })?;
        match failed {
            Some(job) => bail!("the job ended otherwise: {job}"),
            None => Ok(found),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Agents first: the master then knows that they have gone.
        for part in self.parts.iter_mut().rev() {
            let _ = kill_process(Pid::from_child(&part.child), Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        for part in &mut self.parts {
            while matches!(part.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(20));
            }
            let _ = part.child.kill();
            let _ = part.child.wait();
        }
    }
}

/// Asks again and again until there is an answer.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
