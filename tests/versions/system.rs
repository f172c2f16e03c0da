//! A master and two clusters, each of a version of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// How long anything here may take: a guard against hanging, not a measure.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a thing that is waited for is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Whose program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Previous,
    Present,
}

impl Version {
    fn program(self) -> PathBuf {
        match self {
            Self::Previous => {
                let program = std::env::var_os("TOMBOLO_PREVIOUS");
                PathBuf::from(
                    program.expect("TOMBOLO_PREVIOUS is the earlier program; `cargo xtask versions` makes it"),
                )
            }
            Self::Present => PathBuf::from(env!("CARGO_BIN_EXE_tombolo")),
        }
    }
}

/// What a user's command printed.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) code: i32,
    pub(crate) output: String,
    #[expect(dead_code, reason = "shown where something else was expected")]
    pub(crate) error: String,
}

impl Printed {
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

impl From<Output> for Printed {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// All of it, ended with this value.
pub(crate) struct System {
    folder: tempfile::TempDir,
    parts: BTreeMap<&'static str, Child>,
}

impl System {
    /// A master of one version, and the clusters `east` and `west` whose agents are of another one.
    pub(crate) fn start(master: Version, agents: Version) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let parts = BTreeMap::new();
        let mut system = Self { folder, parts };
        let [for_agents, for_users] = free_ports();
        let url = format!("https://localhost:{for_users}");
        let for_agents = format!("127.0.0.1:{for_agents}");
        system.configure(
            "master",
            &json!({
                "data_folder": system.path("master"), "public_url": url,
                "agents": {"listen": for_agents, "addresses": [for_agents]}, "users": {"listen": format!("127.0.0.1:{for_users}")},
            }),
        );
        system.start_part("master", master);
        let file = |name: &str| system.path(name).display().to_string();
        let (token, trust) = (file("master/admin.token"), file("master/trust.pem"));
        let login = ["login", &url, "--token-file", &token, "--certificate-authority", &trust];
        system.wait_for("the master", || {
            (system.tombolo(master, &login).code == 0).then_some(())
        });
        for (cluster, label) in [("east", "AWS"), ("west", "GCP")] {
            let invite = system.tombolo(master, &["cluster", "invite", cluster, "-l", label, "-o", "json"]);
            let invite = invite.succeeded().json()["invite"]
                .as_str()
                .expect("an invite")
                .to_owned();
            let store = system.path(&format!("{cluster}-store"));
            let configuration = json!({
                "data_folder": system.path(cluster), "store": {"local": {"path": store}}, "slots": 8,
            });
            system.configure(cluster, &configuration);
            system.start_invited(cluster, agents, Some(&invite));
        }
        system.wait_for_clusters();
        system
    }

    fn configure(&self, part: &str, configuration: &Value) {
        let text = toml::to_string(configuration).expect("it is TOML");
        fs::write(self.path(&format!("{part}.toml")), text).expect("the folder is writable");
    }

    fn command(&self, part: &str, version: Version) -> Command {
        let what = if part == "master" { "master" } else { "agent" };
        let mut command = Command::new(version.program());
        command
            .args([what, "--end-with-parent", "--config"])
            .arg(self.path(&format!("{part}.toml")))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Starts a part that does not run.
    pub(crate) fn start_part(&mut self, part: &'static str, version: Version) {
        self.start_invited(part, version, None);
    }

    fn start_invited(&mut self, part: &'static str, version: Version, invite: Option<&str>) {
        let log = self.path(&format!("{part}.log"));
        let log = File::options().create(true).append(true).open(log);
        let log = log.expect("the folder is writable");
        let mut command = self.command(part, version);
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        command.envs(invite.map(|invite| ("TOMBOLO_AGENT_INVITE", invite)));
        self.parts.insert(part, command.spawn().expect("the program runs"));
    }

    /// Ends a part as an upgrade does.
    #[track_caller]
    pub(crate) fn stop(&mut self, part: &str) {
        let mut child = self.parts.remove(part).expect("it runs");
        kill_process(Pid::from_child(&child), Signal::TERM).expect("it lives");
        let status = self.wait_for("the end of a part", || child.try_wait().expect("it is a child"));
        assert!(status.success(), "{part} ended with {status}");
    }

    /// Another version takes the place of a part.
    #[track_caller]
    pub(crate) fn replace(&mut self, part: &'static str, version: Version) {
        self.stop(part);
        self.start_part(part, version);
    }

    /// What a master says that ends by itself.
    #[track_caller]
    pub(crate) fn try_master(&self, version: Version) -> String {
        let output = self.command("master", version).output().expect("the program runs");
        assert!(!output.status.success(), "it does not refuse");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub(crate) fn copy_folder(&self, from: &str, to: &str) {
        let to = self.path(to);
        if to.exists() {
            fs::remove_dir_all(&to).expect("the folder is writable");
        }
        copy(&self.path(from), &to);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a user's command.
    pub(crate) fn tombolo(&self, version: Version, arguments: &[&str]) -> Printed {
        let mut command = Command::new(version.program());
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TOMBOLO_CONFIG", self.path("cli.toml"))
            .env_remove("TOMBOLO_TOKEN")
            .stdin(Stdio::null());
        command.output().expect("the program runs").into()
    }

    #[track_caller]
    pub(crate) fn submit(&self, file: &str) -> u64 {
        self.submit_by(Version::Present, file)
    }

    #[track_caller]
    pub(crate) fn submit_by(&self, version: Version, file: &str) -> u64 {
        let path = self.path("tombolo.yaml");
        fs::write(&path, file).expect("the folder is writable");
        let run = ["run", &path.display().to_string(), "-o", "name"];
        let printed = self.tombolo(version, &run).succeeded();
        printed.output.trim().parse().expect("a number")
    }

    fn build(&self, number: u64) -> Option<Value> {
        let printed = self.tombolo(Version::Present, &["jobs", &number.to_string(), "-o", "json"]);
        (printed.code == 0).then(|| printed.json())
    }

    #[track_caller]
    pub(crate) fn finish(&self, number: u64) -> Value {
        self.wait_for("the build to end", || {
            self.build(number).filter(|build| build["state"] != "running")
        })
    }

    #[track_caller]
    pub(crate) fn wait_for_state(&self, number: u64, name: &str, state: &str) {
        self.wait_for(&format!("{name} to be {state}"), || {
            (job(&self.build(number)?, name)["state"] == state).then_some(())
        });
    }

    #[track_caller]
    pub(crate) fn log(&self, number: u64, job: &str) -> String {
        let logs = ["logs", &number.to_string(), job, "--follow"];
        self.tombolo(Version::Present, &logs).succeeded().output
    }

    #[track_caller]
    pub(crate) fn wait_for_clusters(&self) {
        self.wait_for("the clusters", || {
            let list = self.tombolo(Version::Present, &["cluster", "list", "-o", "json"]);
            let list = (list.code == 0).then(|| list.json())?;
            let connected = |cluster: &&Value| cluster["connected"] == true;
            (list["clusters"].as_array()?.iter().filter(connected).count() == 2).then_some(())
        });
    }

    #[track_caller]
    fn wait_for<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(answer) = ask() {
                return answer;
            }
            thread::sleep(LOOK_AGAIN);
        }
        let end = |part: &str| {
            let log = fs::read_to_string(self.path(&format!("{part}.log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!("--- {part}\n{}\n", lines[lines.len().saturating_sub(20)..].join("\n"))
        };
        let logs: String = ["master", "east", "west"].into_iter().map(end).collect();
        panic!("waited in vain for {what}\n{logs}");
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // The agents first: they have jobs to end.
        for part in ["east", "west", "master"] {
            let Some(mut child) = self.parts.remove(part) else {
                continue;
            };
            // One that has ended already is as good.
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
            let deadline = Instant::now() + Duration::from_secs(15);
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(LOOK_AGAIN);
            }
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// One job of a build as JSON.
#[track_caller]
pub(crate) fn job(build: &Value, name: &str) -> Value {
    let mut jobs = build["jobs"].as_array().expect("a list of jobs").iter();
    let found = jobs.find(|job| job["name"] == name);
    found.unwrap_or_else(|| panic!("no job {name} in {build}")).clone()
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.expect("`cp` runs").success(), "the folder is copied");
}

fn free_ports() -> [u16; 2] {
    let listen = || TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    let (first, second) = (listen(), listen());
    [port(&first), port(&second)]
}
