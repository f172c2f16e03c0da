//! The master as a program of its own, with one database or the other, and agents as such.

#![allow(dead_code, reason = "not every benchmark that includes this file needs all of it")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::{Certificate, Client};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::measure::Process;
use crate::postgres::{PASSWORD, Server};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tombolo");
/// How long anything here may take: a guard against hanging, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A master, ended with this value.
pub(crate) struct Master {
    folder: tempfile::TempDir,
    child: Child,
    url: String,
}

/// Starts a part of the system, which writes its log beside its configuration.
fn spawn(part: &str, configuration: &Path, invite: Option<&str>) -> anyhow::Result<Child> {
    let log = configuration.with_extension("log");
    let log = File::options().create(true).append(true).open(log)?;
    Command::new(PROGRAM)
        .args([part, "--end-with-parent", "--config"])
        .arg(configuration)
        .envs(invite.map(|invite| ("TOMBOLO_AGENT_INVITE", invite)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot run {PROGRAM}"))
}

impl Master {
    /// With a new database of this server, or with a file.
    pub(crate) fn start(server: Option<(&Server, &str)>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let [agents, users] = free_ports()?;
        let url = format!("https://localhost:{users}");
        let (agents, users) = (format!("127.0.0.1:{agents}"), format!("127.0.0.1:{users}"));
        let mut configuration = json!({
            "data_folder": folder.path().join("master"), "public_url": url,
            "agents": {"listen": agents, "addresses": [agents]}, "users": {"listen": users},
            "limits": {"invites_per_minute": 1_000_000, "joins_per_minute": 1_000_000},
        });
        if let Some((server, database)) = server {
            server.sql("postgres", &format!("CREATE DATABASE {database}"));
            let password = folder.path().join("password");
            fs::write(&password, PASSWORD)?;
            configuration["database"] = json!({"url": server.tcp_url(database), "password": {"file": password}});
        }
        let path = folder.path().join("master.toml");
        fs::write(&path, toml::to_string(&configuration)?)?;
        let child = spawn("master", &path, None)?;
        let master = Self { folder, child, url };
        let file = |name: &str| master.path(name).display().to_string();
        let (token, trust) = (file("master/admin.token"), file("master/trust.pem"));
        let login = [
            "login",
            &master.url,
            "--token-file",
            &token,
            "--certificate-authority",
            &trust,
        ];
        master.wait_for("the master", || master.tombolo(&login).ok())?;
        master.tombolo(&["project", "create", "bench"])?;
        Ok(master)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn process(&self) -> Process {
        Process::of(&self.child)
    }

    /// Where users reach it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where builds are submitted.
    pub(crate) fn builds(&self) -> String {
        format!("{}/api/v1/projects/bench/builds", self.url)
    }

    /// Who may submit them.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let trust = fs::read(self.path("master/trust.pem"))?;
        let token = fs::read_to_string(self.path("master/admin.token"))?;
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("authorization", format!("Bearer {}", token.trim()).parse()?);
        let client = Client::builder().no_proxy().default_headers(headers);
        let client = client.tls_certs_merge(Certificate::from_pem_bundle(&trust)?);
        Ok(client.build()?)
    }

    pub(crate) fn invite(&self, cluster: &str) -> anyhow::Result<String> {
        let invite = self.json(&["cluster", "invite", cluster])?;
        Ok(invite["invite"].as_str().context("an invite")?.to_owned())
    }

    /// Ends the program as a crash does, and starts it again: returns when it was killed.
    pub(crate) fn crash(&mut self) -> anyhow::Result<Instant> {
        let began = self.stop_at_once()?;
        self.start_again()?;
        Ok(began)
    }

    /// Ends the program as a crash does. Returns when it was killed.
    pub(crate) fn stop_at_once(&mut self) -> anyhow::Result<Instant> {
        let began = Instant::now();
        self.child.kill()?;
        self.child.wait()?;
        Ok(began)
    }

    pub(crate) fn start_again(&mut self) -> anyhow::Result<()> {
        self.child = spawn("master", &self.path("master.toml"), None)?;
        Ok(())
    }

    /// A cluster whose jobs are processes, so many at once.
    pub(crate) fn start_agent(&self, name: &str, slots: u32) -> anyhow::Result<Agent> {
        let invite = self.invite(name)?;
        let store = json!({"local": {"path": self.path(&format!("{name}-store"))}});
        // What the jobs of benches ask for is not what they use.
        let capacity = json!({"cpu_milli": 1_000_000, "memory_bytes": 1_u64 << 40});
        let configuration = json!({
            "data_folder": self.path(name), "store": store, "slots": slots, "capacity": capacity,
        });
        let path = self.path(&format!("{name}.toml"));
        fs::write(&path, toml::to_string(&configuration)?)?;
        let child = spawn("agent", &path, Some(&invite))?;
        Ok(Agent(child))
    }

    /// The same, without a program for each.
    pub(crate) async fn invite_by(&self, client: &Client, cluster: &str) -> anyhow::Result<String> {
        let request = client.post(format!("{}/api/v1/invites", self.url));
        let body = json!({"name": cluster}).to_string();
        let request = request.header("content-type", "application/json").body(body);
        let answer = request.send().await?.error_for_status()?.bytes().await?;
        let invite: Value = serde_json::from_slice(&answer)?;
        Ok(invite["invite"].as_str().context("an invite")?.to_owned())
    }

    pub(crate) fn wait_for_clusters(&self, count: usize) -> anyhow::Result<()> {
        self.wait_for("the clusters", || {
            let list = self.json(&["cluster", "list"]).ok()?;
            let connected = |cluster: &&Value| cluster["connected"] == true;
            (list["clusters"].as_array()?.iter().filter(connected).count() == count).then_some(())
        })
    }

    fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let text = self.tombolo(&[arguments, &["-o", "json"]].concat())?;
        Ok(serde_json::from_str(&text)?)
    }

    fn tombolo(&self, arguments: &[&str]) -> anyhow::Result<String> {
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

    fn wait_for<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask() {
                return Ok(answer);
            }
            let log = || fs::read_to_string(self.path("master.log")).unwrap_or_default();
            ensure!(Instant::now() < deadline, "waited in vain for {what}:\n{}", log());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn free_ports() -> anyhow::Result<[u16; 2]> {
    let listen = || std::net::TcpListener::bind(("127.0.0.1", 0));
    let (first, second) = (listen()?, listen()?);
    Ok([first.local_addr()?.port(), second.local_addr()?.port()])
}

/// The agent of a cluster, ended with this value.
pub(crate) struct Agent(Child);

impl Agent {
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(Pid::from_child(&self.0), signal)?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
    let deadline = Instant::now() + Duration::from_secs(10);
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}
