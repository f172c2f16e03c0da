//! One of the two Kubernetes clusters, as its administrator sees it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything here may take before the test fails: a guard against hanging, not a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Where master and agents are installed.
pub(crate) const NAMESPACE: &str = "tombolo-e2e";

/// The variable, which `cargo xtask e2e` sets.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask e2e`"))
}

/// The top of this repository.
pub(crate) fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are in the repository").to_owned()
}

/// What a command printed.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) line: String,
    pub(crate) code: i32,
    pub(crate) output: String,
    pub(crate) error: String,
}

impl Printed {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let line = format!("{command:?}");
        let output = command.stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run {line}: {error}"));
        Self {
            line,
            code: output.status.code().unwrap_or(-1),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same, if the command succeeded.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        let Self {
            line,
            code,
            output,
            error,
        } = &self;
        assert_eq!(*code, 0, "{line} ended with {code}\n{output}\n{error}");
        self
    }

    /// The output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

/// Asks again and again until there is an answer.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_or_show(what, ask, String::new)
}

/// The same; `show` says how things are if there is none in time.
#[track_caller]
pub(crate) fn wait_or_show<T>(what: &str, mut ask: impl FnMut() -> Option<T>, show: impl FnOnce() -> String) -> T {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(Duration::from_millis(200));
    }
    panic!("waited in vain for {what}\n{}", show());
}

/// One of the two.
pub(crate) struct Cluster {
    pub(crate) name: &'static str,
    kubeconfig: String,
    /// Tests that break it have it for themselves.
    lock: RwLock<()>,
}

impl Cluster {
    pub(crate) fn new(name: &'static str) -> Self {
        let kubeconfig = variable(&format!("TOMBOLO_E2E_{}_KUBECONFIG", name.to_uppercase()));
        let lock = RwLock::new(());
        Self { name, kubeconfig, lock }
    }

    /// As long as this lives, nobody breaks the cluster.
    pub(crate) fn whole(&self) -> RwLockReadGuard<'_, ()> {
        self.lock.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// As long as this lives, nobody else uses the cluster.
    pub(crate) fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.lock.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command that finds the tools and the cluster.
    pub(crate) fn command(&self, program: &str) -> Command {
        let tools = variable("TOMBOLO_E2E_TOOLS");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .env("PATH", format!("{tools}:{path}"))
            .env("KUBECONFIG", &self.kubeconfig)
            .current_dir(repository());
        command
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Printed {
        Printed::of(self.command("kubectl").args(arguments))
    }

    pub(crate) fn helm(&self, arguments: &[&str]) -> Printed {
        Printed::of(self.command("helm").args(arguments))
    }

    /// Makes objects, or makes them so.
    #[track_caller]
    pub(crate) fn apply(&self, objects: &Value) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("objects.json");
        std::fs::write(&path, objects.to_string()).expect("the folder is writable");
        self.kubectl(&["apply", "-f", &path.display().to_string()]).succeeded();
    }

    /// The address at which the node's ports are reached.
    #[track_caller]
    pub(crate) fn address(&self) -> String {
        let nodes = self.kubectl(&["get", "nodes", "-o", "json"]).succeeded().json();
        let addresses = nodes["items"][0]["status"]["addresses"]
            .as_array()
            .expect("a node")
            .clone();
        let internal = addresses.iter().find(|address| address["type"] == "InternalIP");
        internal
            .and_then(|address| address["address"].as_str())
            .expect("an address")
            .to_owned()
    }

    /// What there is of a job, by kind and name: `pod/tombolo-...`.
    #[track_caller]
    pub(crate) fn belongings(&self, job: &str) -> Vec<String> {
        let label = format!("tombolo.dev/job={job}");
        let kinds = "pods,secrets,configmaps,persistentvolumeclaims";
        let listed = self.kubectl(&["get", kinds, "--all-namespaces", "-l", &label, "-o", "name"]);
        listed.succeeded().output.lines().map(str::to_owned).collect()
    }

    /// The name of a job's pod and its namespace, once it is there.
    #[track_caller]
    pub(crate) fn pod_of(&self, job: &str) -> (String, String) {
        wait_for("a job's pod", || {
            let label = format!("tombolo.dev/job={job}");
            let pods = self.kubectl(&["get", "pods", "--all-namespaces", "-l", &label, "-o", "json"]);
            let pods = (pods.code == 0).then(|| pods.json())?;
            let metadata = &pods["items"].get(0)?["metadata"];
            Some((
                metadata["name"].as_str()?.to_owned(),
                metadata["namespace"].as_str()?.to_owned(),
            ))
        })
    }
}
