//! The containers of a pod, as processes in one folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::agent::{Agent, TOKEN};

/// How long a test waits for what must happen.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Pod {
    root: tempfile::TempDir,
    pub(crate) courier: Option<Container>,
    pub(crate) job: Option<Container>,
}

/// A process, and the most memory that it was seen to have.
pub(crate) struct Container {
    process: Child,
    pub(crate) peak_kilobytes: u64,
    /// The same with the processes that it has for steps.
    pub(crate) peak_with_steps_kilobytes: u64,
}

impl Container {
    fn start(command: &mut Command) -> Self {
        Self {
            process: command.stdin(Stdio::null()).spawn().unwrap(),
            peak_kilobytes: 0,
            peak_with_steps_kilobytes: 0,
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    fn look(&mut self) -> Option<ExitStatus> {
        let own = self.process.id();
        // Of this program only: the command's memory is its own.
        let steps = children(own).into_iter().filter(|child| is_ours(*child));
        let peak = peak_kilobytes(own);
        let all = peak + steps.map(peak_kilobytes).sum::<u64>();
        self.peak_kilobytes = self.peak_kilobytes.max(peak);
        self.peak_with_steps_kilobytes = self.peak_with_steps_kilobytes.max(all);
        self.process.try_wait().unwrap()
    }

    /// The exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.look() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "a container does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn children(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

fn is_ours(process: u32) -> bool {
    let program = fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default();
    program.ends_with("supervise-for-tests")
}

fn peak_kilobytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|line| line.split_whitespace().next()?.parse().ok());
    peak.unwrap_or(0)
}

impl Drop for Container {
    /// With all that it has started, as a container ends: what went on would hold the test run's own output open.
    fn drop(&mut self) {
        let mut all = Vec::new();
        // One that was waited for has no children, and its number may be another's by now.
        if matches!(self.process.try_wait(), Ok(None)) {
            all = children(self.process.id());
            let mut looked = 0;
            while let Some(process) = all.get(looked).copied() {
                all.extend(children(process));
                looked += 1;
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        for process in all {
            let kill = Command::new("kill")
                .args(["-9", &process.to_string()])
                .stderr(Stdio::null())
                .status();
            drop(kill);
        }
    }
}

impl Pod {
    /// A pod with its volumes, and nothing in them but the program.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["system", "sandbox", "cgroup"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        fs::set_permissions(root.path().join("sandbox"), fs::Permissions::from_mode(0o777)).unwrap();
        let pod = Self {
            root,
            courier: None,
            job: None,
        };
        assert!(pod.program("install").status().unwrap().success());
        pod
    }

    /// A pod whose containers run.
    pub(crate) fn start(agent: &Agent) -> Self {
        let mut pod = Self::new();
        pod.start_courier(agent, "east");
        pod.start_job();
        pod
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn program(&self, command: &str) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_supervise-for-tests"));
        program.arg(command).arg(self.root.path());
        program
    }

    pub(crate) fn start_courier(&mut self, agent: &Agent, cluster: &str) {
        self.start_courier_with(agent, cluster, TOKEN);
    }

    pub(crate) fn start_courier_with(&mut self, agent: &Agent, cluster: &str, shown: &str) {
        self.start_courier_of((agent.port, &agent.trust), cluster, shown);
    }

    /// With an agent at this port, of whom these certificates tell.
    pub(crate) fn start_courier_of(&mut self, (port, agents): (u16, &str), cluster: &str, shown: &str) {
        let (token, trust) = (self.path("token"), self.path("trust.pem"));
        fs::write(&token, format!("{shown}\n")).unwrap();
        fs::write(&trust, agents).unwrap();
        let mut program = self.program("courier");
        program
            .env_clear()
            .env("TOMBOLO_COURIER_AGENT", format!("127.0.0.1:{port}"))
            .env("TOMBOLO_COURIER_CLUSTER", cluster)
            .env("TOMBOLO_COURIER_TRUST", trust)
            .env("TOMBOLO_COURIER_TOKEN_FILE", token);
        self.courier = Some(Container::start(&mut program));
    }

    pub(crate) fn start_job(&mut self) {
        let mut program = self.program("pod");
        let output = fs::File::create(self.path("stdout")).unwrap();
        program
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("OF_THE_IMAGE", "yes")
            .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
            .stdout(output);
        self.job = Some(Container::start(&mut program));
    }

    /// Waits for both; their exit codes.
    pub(crate) async fn ended(&mut self) -> (Option<i32>, Option<i32>) {
        let (job, courier) = (self.job.as_mut().unwrap(), self.courier.as_mut().unwrap());
        tokio::join!(job.ended(), courier.ended())
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.path("stdout")).unwrap()
    }
}

pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
