//! The master as a program of its own, with one database or the other.

use std::fs::{self, File};
use std::path::PathBuf;
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
        });
        if let Some((server, database)) = server {
            server.sql("postgres", &format!("CREATE DATABASE {database}"));
            let password = folder.path().join("password");
            fs::write(&password, PASSWORD)?;
            configuration["database"] = json!({"url": server.tcp_url(database), "password": {"file": password}});
        }
        let path = folder.path().join("master.toml");
        fs::write(&path, toml::to_string(&configuration)?)?;
        let log = File::create(folder.path().join("master.log"))?;
        let child = Command::new(PROGRAM)
            .args(["master", "--config"])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {PROGRAM}"))?;
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

impl Drop for Master {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
