//! A master and two clusters, in a folder of their own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything here may take before the test fails: a guard against hanging, not a measure.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program under test: `TOMBOLO_PROGRAM`, else the one that was built with this test.
pub(crate) static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::var_os("TOMBOLO_PROGRAM").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_tombolo")), PathBuf::from)
});

/// The top of this repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A running system, ended with this value.
pub(crate) struct World {
    folder: tempfile::TempDir,
    dev: Child,
    setting: Setting,
}

/// How a world is started.
#[derive(Clone, Default)]
pub(crate) struct Setting {
    /// Its agents can reach each other.
    pub(crate) direct: bool,
    /// Settings of its parts.
    pub(crate) variables: Vec<(&'static str, &'static str)>,
    /// One of its folders is a disk of its own, of so many bytes.
    pub(crate) disk: Option<(&'static str, u64)>,
}

/// What a command of the user printed.
pub(crate) struct Printed {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) output: String,
    /// Standard error.
    pub(crate) error: String,
}

impl Printed {
    /// The output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// The same, if the command succeeded.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
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

impl std::fmt::Debug for Printed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "exit code {}\n--- output\n{}\n--- error\n{}",
            self.code, self.output, self.error
        )
    }
}

impl World {
    /// Starts a world whose agents cannot reach each other.
    pub(crate) fn start() -> Self {
        Self::start_with(false, &[])
    }

    /// Starts a world whose agents can reach each other.
    pub(crate) fn start_direct() -> Self {
        Self::start_with(true, &[])
    }

    /// Starts a world whose parts have settings of their own.
    pub(crate) fn start_set(variables: &[(&'static str, &'static str)]) -> Self {
        Self::start_with(false, variables)
    }

    pub(crate) fn start_with(direct: bool, variables: &[(&'static str, &'static str)]) -> Self {
        Self::start_as(Setting {
            direct,
            variables: variables.to_vec(),
            disk: None,
        })
    }

    pub(crate) fn start_as(setting: Setting) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dev = start_dev(folder.path(), &setting);
        Self { folder, dev, setting }
    }

    /// Ends everything as Ctrl-C does, and starts it again on the same folder.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Starts everything again on the same folder, after [`Self::stop`].
    pub(crate) fn start_again(&mut self) {
        self.dev = start_dev(self.folder.path(), &self.setting);
    }

    /// Ends everything as Ctrl-C does.
    pub(crate) fn stop(&mut self) {
        let pid = Pid::from_child(&self.dev);
        kill_process(pid, Signal::INT).expect("`tombolo dev` lives");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.dev.try_wait().expect("a child can be waited for") {
                assert!(status.success(), "`tombolo dev` ended with {status}; {}", self.logs());
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("`tombolo dev` does not end");
    }

    /// A path in the world's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the world's folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("the folder is writable");
        path
    }

    /// Runs a user's command.
    pub(crate) fn tombolo(&self, arguments: &[&str]) -> Printed {
        self.tombolo_with(arguments, &[])
    }

    /// Runs a user's command with more variables.
    pub(crate) fn tombolo_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Printed {
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied());
        command.output().expect("the program runs").into()
    }

    /// A user's command that was not started, without input.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&*PROGRAM);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TOMBOLO_CONFIG", self.path("cli.toml"))
            .env_remove("TOMBOLO_TOKEN")
            .stdin(Stdio::null());
        command
    }

    /// Submits a job file and returns the build's number.
    #[track_caller]
    pub(crate) fn submit(&self, file: &str) -> u64 {
        let path = self.write("tombolo.yaml", file);
        let printed = self
            .tombolo(&["run", &path.display().to_string(), "-o", "name"])
            .succeeded();
        printed.output.trim().parse().expect("a number")
    }

    /// Waits until a build is over, and returns it.
    #[track_caller]
    pub(crate) fn finish(&self, build: u64) -> Value {
        self.finish_within(build, PATIENCE)
    }

    /// The same for one that takes its time.
    #[track_caller]
    pub(crate) fn finish_within(&self, build: u64, patience: Duration) -> Value {
        let build = build.to_string();
        self.wait_within(patience, "the build to end", || {
            let jobs = self.tombolo(&["jobs", &build, "-o", "json"]);
            (jobs.code == 0)
                .then(|| jobs.json())
                .filter(|jobs| jobs["state"] != "running")
        })
    }

    /// Submits a job file, waits until its build is over, and returns that.
    #[track_caller]
    pub(crate) fn run(&self, file: &str) -> Value {
        self.finish(self.submit(file))
    }

    /// Asks again and again until there is an answer.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, ask: impl FnMut() -> Option<T>) -> T {
        self.wait_within(PATIENCE, what, ask)
    }

    #[track_caller]
    fn wait_within<T>(&self, patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(answer) = ask() {
                return answer;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("waited in vain for {what}; {}", self.logs());
    }

    /// Waits until a job is in a state.
    #[track_caller]
    pub(crate) fn wait_for_state(&self, build: u64, job: &str, state: &str) -> Value {
        let number = build.to_string();
        self.wait_for(&format!("{job} to be {state}"), || {
            let jobs = self.tombolo(&["jobs", &number, "-o", "json"]);
            (jobs.code == 0)
                .then(|| self::job(&jobs.json(), job))
                .filter(|job| job["state"] == state)
        })
    }

    /// The log of a job, line by line.
    #[track_caller]
    pub(crate) fn log(&self, build: u64, job: &str) -> Vec<String> {
        let printed = self.tombolo(&["logs", &build.to_string(), job, "--follow"]).succeeded();
        printed.output.lines().map(str::to_owned).collect()
    }

    /// The process of a part: `master`, `east` or `west`.
    pub(crate) fn process(&self, part: &str) -> Option<Pid> {
        let configuration = self.path(&format!("{part}.toml")).canonicalize().ok()?;
        processes().find(|pid| command_line(*pid).contains(&format!("--config\0{}\0", configuration.display())))
    }

    /// Kills a part at once, with no chance to say goodbye; `tombolo dev` starts it again.
    #[track_caller]
    pub(crate) fn kill(&self, part: &str) {
        let pid = self.wait_for(&format!("{part} to live"), || self.process(part));
        kill_process(pid, Signal::KILL).expect("the part lives");
        self.wait_for(&format!("another {part}"), || {
            self.process(part).filter(|other| *other != pid)
        });
    }

    /// Kills a part at once, and for good: what starts it again finds no configuration that it could use.
    #[track_caller]
    pub(crate) fn bury(&self, part: &str) {
        let pid = self.wait_for(&format!("{part} to live"), || self.process(part));
        self.write(&format!("{part}.toml"), "buried = true\n");
        kill_process(pid, Signal::KILL).expect("the part lives");
    }

    /// Asks a part to end, and keeps it from being started again until its configuration is written again, which is returned.
    #[track_caller]
    pub(crate) fn dismiss(&self, part: &str) -> String {
        let pid = self.wait_for(&format!("{part} to live"), || self.process(part));
        let name = format!("{part}.toml");
        let configuration = fs::read_to_string(self.path(&name)).expect("it is there");
        self.write(&name, "dismissed = true\n");
        kill_process(pid, Signal::TERM).expect("the part lives");
        self.wait_for(&format!("{part} to end"), || {
            (self.process(part) != Some(pid)).then_some(())
        });
        configuration
    }

    /// The most memory that a part has held at once, in bytes.
    #[track_caller]
    pub(crate) fn peak_resident_bytes(&self, part: &str) -> u64 {
        let pid = self.process(part).unwrap_or_else(|| panic!("{part} does not live"));
        let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).expect("it lives");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("Linux says so");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// All processes that belong to this world, by their command line.
    pub(crate) fn processes(&self) -> Vec<String> {
        let folder = self.folder.path().display().to_string();
        processes()
            .map(command_line)
            .filter(|line| line.contains(&folder))
            .collect()
    }

    fn logs(&self) -> String {
        let mut text = String::from("the logs end with:");
        for part in ["master", "east", "west"] {
            let log = fs::read_to_string(self.path(&format!("logs/{part}.log"))).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            text.push_str(&format!(
                "\n--- {part}\n{}",
                lines[lines.len().saturating_sub(15)..].join("\n")
            ));
        }
        text
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if matches!(self.dev.try_wait(), Ok(None)) {
            if thread::panicking() {
                // What failed matters more than a clean end.
                let _ = kill_process(Pid::from_child(&self.dev), Signal::INT);
                thread::sleep(Duration::from_secs(2));
                drop(self.dev.kill());
                drop(self.dev.wait());
            } else {
                self.stop();
                assert_eq!(self.processes(), Vec::<String>::new(), "processes are left");
            }
        }
    }
}

/// One job of a build as JSON.
#[track_caller]
pub(crate) fn job(build: &Value, name: &str) -> Value {
    let jobs = build["jobs"].as_array().expect("a list of jobs");
    jobs.iter()
        .find(|job| job["name"] == name)
        .unwrap_or_else(|| panic!("no job {name} in {build}"))
        .clone()
}

/// The program, in a mount namespace of its own if one of its folders is to be a disk.
fn program(folder: &Path, disk: Option<(&str, u64)>) -> Command {
    let Some((name, bytes)) = disk else {
        return Command::new(&*PROGRAM);
    };
    let place = folder.join(name);
    fs::create_dir_all(&place).expect("the folder is writable");
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(r#"mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@""#)
        .args(["sh", &bytes.to_string()])
        .args([&place, &*PROGRAM]);
    command
}

fn start_dev(folder: &Path, setting: &Setting) -> Child {
    let mut command = program(folder, setting.disk);
    command
        .arg("dev")
        .arg("--state")
        .arg(folder)
        .env("TOMBOLO_CONFIG", folder.join("cli.toml"))
        .envs(setting.variables.iter().copied());
    if setting.direct {
        command.arg("--direct");
    }
    let mut dev = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let output = dev.stdout.take().expect("it is piped");
    let (sender, ready) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.starts_with("Ready") {
                let _ = sender.send(());
            }
        }
    });
    if ready.recv_timeout(PATIENCE).is_err() {
        drop(dev.kill());
        let master = fs::read_to_string(folder.join("logs/master.log")).unwrap_or_default();
        let east = fs::read_to_string(folder.join("logs/east.log")).unwrap_or_default();
        panic!("`tombolo dev` is not ready\n--- master\n{master}\n--- east\n{east}");
    }
    dev
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
}

fn command_line(pid: Pid) -> String {
    let bytes = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
