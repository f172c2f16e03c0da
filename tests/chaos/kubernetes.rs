//! The Kubernetes clusters of `cargo xtask cluster`: what runs there of us, and what only this machine can do to them.

mod install;
mod journal;
mod processes;

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use rustix::process::Signal;

pub(crate) use install::Wishes;
use journal::Journal;

/// Where agents and jobs are.
const NAMESPACE: &str = "tombolo-chaos";
/// What tells the agent's pods from those of jobs.
const OF_AGENT: &str = "app.kubernetes.io/name=tombolo-agent";
/// What jobs make, whoever made it.
const OF_JOBS: &str = "app.kubernetes.io/managed-by=tombolo";
const KINDS_OF_JOBS: &str = "pods,secrets,configmaps,persistentvolumeclaims";
/// Where the agent keeps its attempts, in its own files.
const ATTEMPTS: &str = "var/lib/tombolo-agent/attempts";
/// How long an API server may take to answer.
const ANSWERED_WITHIN: &str = "--request-timeout=10s";

/// Where the clusters are, and the programs that use them.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// This machine's address, as all clusters see it.
    pub(crate) gateway: Ipv4Addr,
    state: PathBuf,
    tools: PathBuf,
    xtask: PathBuf,
}

/// A cluster with our agent.
pub(crate) struct Cluster {
    pub(crate) name: &'static str,
    machine: Machine,
    /// What was begun and is not waited for, and where it writes what it has to say.
    helpers: Mutex<Vec<Child>>,
    words: PathBuf,
    journal: Mutex<Journal>,
    /// The agent's process as it was last seen, and whether its end was our doing.
    known: Mutex<Option<u32>>,
    is_end_expected: AtomicBool,
}

impl Machine {
    /// As `cargo xtask chaos --kubernetes` says; none without it.
    pub(crate) fn of_environment() -> anyhow::Result<Option<Self>> {
        let Some(state) = std::env::var_os("TOMBOLO_CHAOS_KUBERNETES") else {
            return Ok(None);
        };
        let variable = |name: &str| {
            let value = std::env::var(name).ok();
            value.with_context(|| format!("{name} is not set\nhint: run `cargo xtask chaos --kubernetes`"))
        };
        Ok(Some(Self {
            gateway: variable("TOMBOLO_CHAOS_GATEWAY")?.parse()?,
            state: state.into(),
            tools: variable("TOMBOLO_E2E_TOOLS")?.into(),
            xtask: variable("TOMBOLO_E2E_XTASK")?.into(),
        }))
    }
}

impl Cluster {
    /// The words of its agent go to files in this folder.
    pub(crate) fn new(name: &'static str, machine: &Machine, folder: &Path) -> Self {
        let pods = machine.state.join(name).join("private/pod-logs");
        Self {
            name,
            machine: machine.clone(),
            helpers: Mutex::new(Vec::new()),
            words: folder.join(format!("{name}.helpers.log")),
            journal: Mutex::new(Journal::new(pods, folder.join(format!("{name}.log")))),
            known: Mutex::new(None),
            is_end_expected: AtomicBool::new(false),
        }
    }

    fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.machine.tools.join("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        command
    }

    fn kubeconfig(&self) -> PathBuf {
        self.machine.state.join(self.name).join("kubeconfig")
    }

    fn xtask(&self, verb: &str, component: &str) -> Command {
        let mut command = Command::new(&self.machine.xtask);
        command
            .args(["cluster", verb, self.name, component, "--state"])
            .arg(&self.machine.state);
        command
    }

    /// Begins something that is not waited for.
    fn begin(&self, command: &mut Command) -> anyhow::Result<()> {
        let words = File::options().create(true).append(true).open(&self.words)?;
        let child = command.stdin(Stdio::null()).stdout(words.try_clone()?).stderr(words);
        let child = child.spawn().with_context(|| format!("cannot run {command:?}"))?;
        let mut helpers = self.helpers.lock().unwrap_or_else(PoisonError::into_inner);
        helpers.retain_mut(|helper| matches!(helper.try_wait(), Ok(None)));
        helpers.push(child);
        Ok(())
    }

    /// The agent's process, if it runs.
    pub(crate) fn agent(&self) -> Option<u32> {
        processes::agent(self.name)
    }

    pub(crate) fn signal_agent(&self, signal: Signal) {
        if [Signal::KILL, Signal::TERM].contains(&signal) {
            self.is_end_expected.store(true, Ordering::Relaxed);
        }
        if let Some(agent) = self.agent() {
            processes::signal(agent, signal);
        }
    }

    /// Whether the agent began anew although nobody had ended it.
    pub(crate) fn agent_fell(&self) -> bool {
        let Some(now) = self.agent() else { return false };
        let before = self.known.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        before.is_some_and(|before| before != now) && !self.is_end_expected.swap(false, Ordering::Relaxed)
    }

    /// An agent that was killed often is kept waiting by its node. Whoever looks after it gives it a new pod.
    pub(crate) fn have_agent(&self) -> anyhow::Result<()> {
        match self.agent() {
            Some(_) => Ok(()),
            None => self.delete_agent(false),
        }
    }

    /// Deletes the agent's pod, without a word to it if that is what is wanted.
    pub(crate) fn delete_agent(&self, at_once: bool) -> anyhow::Result<()> {
        self.is_end_expected.store(true, Ordering::Relaxed);
        let delete = [
            "delete",
            "pods",
            "--namespace",
            NAMESPACE,
            "-l",
            OF_AGENT,
            "--wait=false",
            ANSWERED_WITHIN,
        ];
        self.begin(self.kubectl(&delete).args(force(at_once)))
    }

    /// Deletes the pod of one of the jobs that run. Whether there is one.
    pub(crate) fn delete_job(&self, chance: u64, at_once: bool) -> anyhow::Result<bool> {
        let Some(pod) = self.supervisor(chance).and_then(processes::pod) else {
            return Ok(false);
        };
        let delete = [
            "delete",
            "pod",
            &pod,
            "--namespace",
            NAMESPACE,
            "--wait=false",
            ANSWERED_WITHIN,
        ];
        self.begin(self.kubectl(&delete).args(force(at_once)))?;
        Ok(true)
    }

    /// Kills the supervisor of one of the jobs that run. Whether there is one.
    pub(crate) fn kill_supervisor(&self, chance: u64) -> bool {
        let supervisor = self.supervisor(chance);
        if let Some(supervisor) = supervisor {
            processes::signal(supervisor, Signal::KILL);
        }
        supervisor.is_some()
    }

    fn supervisor(&self, chance: u64) -> Option<u32> {
        let all = processes::supervisors(self.name);
        let place = chance.checked_rem(all.len() as u64)?;
        all.get(usize::try_from(place).ok()?).copied()
    }

    /// Has a program of the cluster killed, stopped or go on: `kill`, `pause`, `resume`.
    pub(crate) fn have(&self, verb: &str, component: &str) -> anyhow::Result<()> {
        let output = self.xtask(verb, component).stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot {verb} {component}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "cannot {verb} {component} of {}: {said}",
            self.name
        );
        Ok(())
    }

    /// Starts programs again that were killed, one after the other, without waiting for them.
    pub(crate) fn start_again(&self, components: &[&str]) -> anyhow::Result<()> {
        let script = r#"xtask=$1 name=$2 state=$3; shift 3
            for component; do "$xtask" cluster start "$name" "$component" --state "$state" || exit 1; done"#;
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh"])
            .arg(&self.machine.xtask)
            .arg(self.name)
            .arg(&self.machine.state);
        self.begin(command.args(components))
    }

    /// Kills all that runs in pods, and all that keeps them: as if the node had lost its power.
    pub(crate) fn kill_node(&self) -> anyhow::Result<()> {
        self.is_end_expected.store(true, Ordering::Relaxed);
        self.have("kill", "kubelet")?;
        self.have("kill", "containerd")?;
        for process in processes::all(self.name, &self.machine.state.display().to_string()) {
            processes::signal(process, Signal::KILL);
        }
        Ok(())
    }

    /// Whether API server, node and agent are there.
    pub(crate) fn is_well(&self) -> bool {
        let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        let of_all = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}"#;
        let says_true = |arguments: &[&str]| self.ask(arguments).is_ok_and(|answer| answer == "True");
        says_true(&["get", "node", self.name, "--output", ready])
            && says_true(&[
                "get",
                "pods",
                "--namespace",
                NAMESPACE,
                "-l",
                OF_AGENT,
                "--output",
                of_all,
            ])
            && self.agent().is_some()
    }

    fn ask(&self, arguments: &[&str]) -> std::io::Result<String> {
        let output = self
            .kubectl(arguments)
            .arg(ANSWERED_WITHIN)
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(std::io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }

    /// What is there of jobs: in the cluster, and in the agent's files.
    pub(crate) fn left(&self) -> std::io::Result<Vec<String>> {
        let listed = self.ask(&[
            "get",
            KINDS_OF_JOBS,
            "--all-namespaces",
            "-l",
            OF_JOBS,
            "--output",
            "name",
        ])?;
        let mut left: Vec<String> = listed.lines().map(|what| format!("{}: {what}", self.name)).collect();
        let agent = self
            .agent()
            .ok_or_else(|| std::io::Error::other("its agent does not run"))?;
        for entry in std::fs::read_dir(format!("/proc/{agent}/root/{ATTEMPTS}"))? {
            left.push(format!("{}: the attempt {}", self.name, entry?.file_name().display()));
        }
        Ok(left)
    }

    /// Takes what its agent has said meanwhile.
    pub(crate) fn follow(&self) -> std::io::Result<()> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).follow()
    }

    /// What pods say at the end, for whoever looks at what went wrong.
    pub(crate) fn events(&self) -> String {
        let events = ["get", "events", "--namespace", NAMESPACE, "--sort-by=.lastTimestamp"];
        self.ask(&events).unwrap_or_else(|error| error.to_string())
    }
}

fn force(at_once: bool) -> &'static [&'static str] {
    match at_once {
        true => &["--force", "--grace-period=0"],
        false => &[],
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for component in ["apiserver", "kubelet", "containerd"] {
            let _ = self.have("resume", component);
        }
        for mut helper in self.helpers.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = helper.kill();
            let _ = helper.wait();
        }
    }
}
