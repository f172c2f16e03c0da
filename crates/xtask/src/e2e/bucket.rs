//! An S3 server on this machine, at the address at which a cluster sees the machine.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How long it may take to start.
const STARTED_WITHIN: Duration = Duration::from_secs(90);
const CONFIGURATION: &str = r#"{"identities": [{"name": "tester",
    "credentials": [{"accessKey": "tester", "secretKey": "not-a-secret"}],
    "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}"#;

/// SeaweedFS, ended with this value.
pub(crate) struct Server {
    child: Child,
    host: String,
    port: u16,
    log: PathBuf,
}

impl Server {
    /// Starts it with nothing in it, with its files below `target`.
    pub(crate) fn start(program: &Path, host: &str, target: &Path) -> anyhow::Result<Self> {
        let folder = target.join("e2e/seaweedfs");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
        }
        let data = folder.join("data");
        fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
        let configuration = folder.join("s3.json");
        fs::write(&configuration, CONFIGURATION)?;
        let log = folder.join("log");
        let output = File::create(&log)?;
        let names = [
            "s3.port",
            "s3.port.grpc",
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
        ];
        let ports = free_ports(host, names.len())?;
        let mut command = Command::new(program);
        command
            .args([
                "server",
                "-s3",
                "-master.volumeSizeLimitMB=256",
                "-master.telemetry=false",
            ])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
            .args([format!("-ip={host}"), format!("-ip.bind={host}")])
            .arg(format!("-dir={}", data.display()))
            .arg(format!("-s3.config={}", configuration.display()))
            .args(names.iter().zip(&ports).map(|(name, port)| format!("-{name}={port}")))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let child = command
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let mut server = Self {
            child,
            host: host.to_owned(),
            port: ports[0],
            log,
        };
        server.wait()?;
        Ok(server)
    }

    /// Where clusters reach it.
    pub(crate) fn address(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while TcpStream::connect((self.host.as_str(), self.port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("SeaweedFS ended with {status}; see {}", self.log.display());
            }
            if began.elapsed() > STARTED_WITHIN {
                bail!("SeaweedFS does not answer; see {}", self.log.display());
            }
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_ports(host: &str, count: usize) -> anyhow::Result<Vec<u16>> {
    let context = || format!("cannot listen at {host}: is the cluster up?");
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind((host, 0)))
        .collect::<Result<_, _>>()
        .with_context(context)?;
    listeners
        .iter()
        .map(|listener| Ok(listener.local_addr().with_context(context)?.port()))
        .collect()
}
