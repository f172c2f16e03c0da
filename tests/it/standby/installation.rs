//! Several masters on one Postgres server, with a way to it of their own each, and agents that know them all.

#![allow(dead_code, reason = "not every program that includes this file needs all of it")]
#![allow(clippy::panic, clippy::expect_used, reason = "a test that cannot go on says why")]

#[path = "installation/roles.rs"] // other programs include this file from elsewhere
mod roles;
#[path = "installation/trouble.rs"]
mod trouble;

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tombolo_core::time::Timestamp;
use tombolo_identity::authority::Authority;
use tombolo_identity::key::PrivateKey;
use tombolo_identity::member::TrustDomain;

use super::cable::Cable;
use super::server::{PASSWORD, Server};

/// How long anything here may take: a guard against hanging, not a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How often a thing that is waited for is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Some masters, their database and their agents, ended with this value.
pub(crate) struct Installation {
    setting: Setting,
    program: PathBuf,
    folder: tempfile::TempDir,
    pub(crate) server: Server,
    masters: Vec<Master>,
    agents: Vec<Child>,
}

/// What is said of all parts of an installation.
#[derive(Default)]
pub(crate) struct Setting {
    /// Of the leader.
    pub(crate) lease: Duration,
    /// Variables of all parts.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// What gives each part a calendar of its own, which it reads from the file `NAME.clock`.
    pub(crate) calendars: Option<PathBuf>,
}

/// One master, running or not.
struct Master {
    ports: Ports,
    cable: Cable,
    child: Option<Child>,
    /// It was told to go.
    going: Option<Child>,
}

#[derive(Clone, Copy)]
struct Ports {
    agents: u16,
    users: u16,
    health: u16,
}

/// What a user's command printed.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) code: i32,
    pub(crate) output: String,
    pub(crate) error: String,
}

impl Installation {
    /// So many masters of `program`, the first of which leads.
    pub(crate) fn start(program: &Path, masters: usize, lease: Duration) -> Self {
        let setting = Setting {
            lease,
            ..Setting::default()
        };
        Self::start_with(program, masters, setting)
    }

    /// The same, with more to say of them.
    pub(crate) fn start_with(program: &Path, masters: usize, setting: Setting) -> Self {
        let server = Server::start(&["shared_buffers=256MB", "max_wal_size=4GB"]);
        server.sql("postgres", "CREATE DATABASE builds");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut installation = Self {
            program: program.to_owned(),
            setting,
            masters: Vec::new(),
            agents: Vec::new(),
            server,
            folder,
        };
        installation.make_keys();
        for _ in 0..masters {
            let ports = Ports {
                agents: free_port(),
                users: free_port(),
                health: free_port(),
            };
            let cable = Cable::to(installation.server.port());
            installation.masters.push(Master {
                ports,
                cable,
                child: None,
                going: None,
            });
        }
        for index in 0..masters {
            installation.start_master(index);
            if index == 0 {
                installation.wait_for_role(0, "leader");
            }
        }
        for index in 0..masters {
            installation.login(index);
        }
        installation
    }

    /// What all masters must have in common.
    fn make_keys(&self) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = Timestamp(now.expect("it is later than 1970").as_millis() as u64);
        let domain = TrustDomain::new("tombolo.internal").expect("a valid domain");
        let authority = Authority::create(domain, now).expect("an authority");
        authority.save(&self.path("authority")).expect("the folder is writable");
        let grants = PrivateKey::generate().expect("a key");
        grants
            .save(&self.path("authority/grant.key.pem"))
            .expect("the folder is writable");
        // 32 bytes in base64.
        self.write("secrets.key", &format!("{}=\n", "A".repeat(43)));
        self.write("password", PASSWORD);
    }

    /// Starts a master that does not run, and waits until users reach it.
    pub(crate) fn start_master(&mut self, index: usize) {
        self.launch_master(index);
        let users = self.masters[index].ports.users;
        self.wait_for("a master to listen", || TcpStream::connect(("127.0.0.1", users)).ok());
    }

    /// Starts a master that does not run.
    pub(crate) fn launch_master(&mut self, index: usize) {
        let Ports { agents, users, health } = self.masters[index].ports;
        let at = |port: u16| format!("127.0.0.1:{port}");
        let all: Vec<String> = self.masters.iter().map(|master| at(master.ports.agents)).collect();
        let url = format!(
            "postgres://postgres@127.0.0.1:{}/builds",
            self.masters[index].cable.port()
        );
        let configuration = json!({
            "data_folder": self.path(&format!("master-{index}")),
            "public_url": format!("https://localhost:{users}"),
            "agents": {"listen": at(agents), "addresses": all},
            "users": {"listen": at(users)},
            "health": {"listen": at(health)},
            "leadership": {"agents": at(agents), "users": at(users), "lease": format!("{}s", self.setting.lease.as_secs())},
            "database": {"url": url, "password": {"file": self.path("password")}},
            "authority": {
                "certificate_file": self.path("authority/ca.pem"), "key_file": self.path("authority/ca.key.pem"),
                "grant_key_file": self.path("authority/grant.key.pem"),
            },
            "secrets": {"key_file": self.path("secrets.key")},
            "sources": {"local": {"path": self.path("sources")}},
        });
        let child = self.spawn(&[], ("master", &format!("master-{index}")), &configuration, &[]);
        self.masters[index].child = Some(child);
    }

    /// Starts a part of this name, by the program that `within` names if there is one.
    pub(crate) fn spawn(
        &self,
        within: &[String],
        (part, name): (&str, &str),
        configuration: &Value,
        environment: &[(&str, &str)],
    ) -> Child {
        let text = toml::to_string(configuration).expect("it is TOML");
        let configuration = self.write(&format!("{name}.toml"), &text);
        let log = self.path(&format!("{name}.log"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("the folder is writable");
        let program = self.program.as_os_str();
        let mut words = within.iter().map(std::ffi::OsStr::new).chain([program]);
        let mut command = Command::new(words.next().unwrap_or(program));
        command
            .args(words)
            .arg(part)
            .arg("--config")
            .arg(configuration)
            .arg("--end-with-parent");
        if let Some(calendars) = &self.setting.calendars {
            command
                .env("LD_PRELOAD", calendars)
                .env("FAKETIME_TIMESTAMP_FILE", self.write_clock(name, 0))
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("FAKETIME_CACHE_DURATION", "1");
        }
        command
            .envs(environment.iter().copied())
            .envs(self.setting.variables.iter().map(|(name, value)| (name, value)))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        command.spawn().expect("the program runs")
    }

    /// Lets a cluster join, whose jobs are processes.
    pub(crate) fn add_agent(&mut self, name: &str, label: &str) {
        let invite = self.invite(name, &[label]);
        let configuration = json!({
            "data_folder": self.path(name), "store": {"local": {"path": self.path(&format!("{name}-store"))}}, "slots": 4,
        });
        let agent = self.spawn(
            &[],
            ("agent", name),
            &configuration,
            &[("TOMBOLO_AGENT_INVITE", &invite)],
        );
        self.agents.push(agent);
        self.wait_for_clusters(self.agents.len());
    }

    pub(crate) fn invite(&self, name: &str, labels: &[&str]) -> String {
        let labels = labels.iter().flat_map(|label| ["-l", *label]);
        let words: Vec<&str> = ["cluster", "invite", name, "-o", "json"]
            .into_iter()
            .chain(labels)
            .collect();
        let invite = self.some_master(&words).json();
        invite["invite"].as_str().expect("an invite").to_owned()
    }

    pub(crate) fn wait_for_clusters(&self, count: usize) {
        self.wait_for("the clusters", || {
            let list = self.try_some_master(&["cluster", "list", "-o", "json"])?.json();
            (connected(&list) == count).then_some(())
        });
    }

    /// The same, as one of the masters says.
    pub(crate) fn wait_for_clusters_through(&self, master: usize, count: usize) {
        self.wait_for("the clusters", || {
            let printed = self.tombolo(master, &["cluster", "list", "-o", "json"]);
            (printed.code == 0 && connected(&printed.json()) == count).then_some(())
        });
    }

    /// Gives the user of each master a context of its own.
    fn login(&self, index: usize) {
        let url = self.url(index);
        let trust = self.path("authority/ca.pem").display().to_string();
        self.wait_for("a login", || {
            let token = (0..self.masters.len()).map(|index| self.path(&format!("master-{index}/admin.token")));
            let token = token.into_iter().find(|path| path.exists())?.display().to_string();
            let login = ["login", &url, "--token-file", &token, "--certificate-authority", &trust];
            (self.tombolo(index, &login).code == 0).then_some(())
        });
    }

    /// A user who may do everything, without a command between.
    pub(crate) fn client(&self) -> reqwest::Client {
        // As `rustls` wants it: one provider for the process. Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let trust = fs::read(self.path("authority/ca.pem")).expect("it was made");
        let trust = reqwest::Certificate::from_pem_bundle(&trust).expect("certificates");
        let token = fs::read_to_string(self.path("master-0/admin.token")).expect("the first master has led first");
        let token = format!("Bearer {}", token.trim())
            .parse()
            .expect("a token is a header's value");
        let headers = reqwest::header::HeaderMap::from_iter([(reqwest::header::AUTHORIZATION, token)]);
        let client = reqwest::Client::builder()
            .no_proxy()
            .default_headers(headers)
            .timeout(Duration::from_secs(30));
        client.tls_certs_merge(trust).build().expect("a client")
    }

    /// Where users reach a master.
    pub(crate) fn url(&self, index: usize) -> String {
        format!("https://localhost:{}", self.masters[index].ports.users)
    }

    /// Runs a user's command through one of the masters.
    pub(crate) fn tombolo(&self, index: usize, arguments: &[&str]) -> Printed {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TOMBOLO_CONFIG", self.path(&format!("cli-{index}.toml")))
            .env_remove("TOMBOLO_TOKEN")
            .stdin(Stdio::null());
        let output = command.output().expect("the program runs");
        Printed {
            code: output.status.code().unwrap_or(-1),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a user's command through whichever master runs.
    fn try_some_master(&self, arguments: &[&str]) -> Option<Printed> {
        let running = (0..self.masters.len()).filter(|index| self.masters[*index].child.is_some());
        let mut printed = running.map(|index| self.tombolo(index, arguments));
        printed.find(|printed| printed.code == 0)
    }

    #[track_caller]
    pub(crate) fn some_master(&self, arguments: &[&str]) -> Printed {
        self.wait_for("an answer", || self.try_some_master(arguments))
    }

    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        fs::write(&path, text).expect("the folder is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        path
    }

    /// Asks again and again until there is an answer.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(answer) = ask() {
                return answer;
            }
            thread::sleep(LOOK_AGAIN);
        }
        let names = (0..self.masters.len()).map(|index| format!("master-{index}"));
        let names = names.chain(["east".to_owned(), "west".to_owned()]);
        let logs = names.map(|name| {
            let log = self.log(&name);
            let lines: Vec<_> = log.lines().collect();
            format!("--- {name}\n{}\n", lines[lines.len().saturating_sub(25)..].join("\n"))
        });
        panic!("waited in vain for {what}\n{}", logs.collect::<String>());
    }
}

impl Printed {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let masters = self.masters.iter_mut();
        let masters = masters
            .flat_map(|master| [master.child.take(), master.going.take()])
            .flatten();
        // The agents first: they have jobs to end.
        for mut child in self.agents.drain(..).chain(masters) {
            let pid = Pid::from_child(&child);
            // One that has ended already is as good.
            let _ = kill_process(pid, Signal::CONT);
            let _ = kill_process(pid, Signal::TERM);
            let deadline = Instant::now() + Duration::from_secs(15);
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(LOOK_AGAIN);
            }
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn connected(list: &Value) -> usize {
    let clusters = list["clusters"].as_array().map_or(&[][..], Vec::as_slice);
    clusters.iter().filter(|cluster| cluster["connected"] == true).count()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
