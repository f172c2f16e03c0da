//! The folder of `tombolo dev`: what was chosen at the first start, so that the next one goes on where it was.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// What was chosen at the first start.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The master's port for agents.
    pub(crate) agent_port: u16,
    /// The master's port for users.
    pub(crate) user_port: u16,
    /// The port at which each agent takes peers, by the order of the clusters.
    pub(crate) peer_ports: [u16; 2],
    /// The S3 endpoint.
    pub s3: S3Settings,
}

/// The S3 endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct S3Settings {
    /// Its port.
    pub(crate) port: u16,
    /// The name of its only access key.
    pub(crate) access_key_id: String,
    /// The access key.
    pub(crate) secret_access_key: String,
}

/// The folder, locked for this process.
pub(crate) struct State {
    folder: PathBuf,
    /// What was chosen.
    pub(crate) settings: Settings,
    _lock: File,
}

impl State {
    /// Opens the folder, or makes it.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let context = || format!("cannot use the folder {}", folder.display());
        fs::create_dir_all(folder).with_context(context)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).with_context(context)?;
        let folder = folder.canonicalize().with_context(context)?;
        let lock = File::create(folder.join("lock")).with_context(context)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "another `tombolo dev` uses {}: end it, or choose another `--state`",
                folder.display()
            );
        }
        let file = folder.join("dev.toml");
        let settings = if file.exists() {
            let text = fs::read_to_string(&file)?;
            toml::from_str(&text).with_context(|| format!("{} is not valid", file.display()))?
        } else {
            let settings = Settings::choose()?;
            write(&file, &toml::to_string(&settings)?)?;
            settings
        };
        Ok(Self {
            folder,
            settings,
            _lock: lock,
        })
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }
}

impl Settings {
    fn choose() -> anyhow::Result<Self> {
        // All are held until all are chosen, so that no two are the same.
        let usual = [7443, 8443, 0, 0, 0];
        let listeners =
            usual.map(|port| TcpListener::bind(("127.0.0.1", port)).or_else(|_| TcpListener::bind("127.0.0.1:0")));
        let mut ports = [0; 5];
        for (port, listener) in ports.iter_mut().zip(listeners) {
            *port = listener.context("no port is free")?.local_addr()?.port();
        }
        let [agent_port, user_port, east, west, s3] = ports;
        let key = || format!("{:032x}", rand::random::<u128>());
        Ok(Self {
            agent_port,
            user_port,
            peer_ports: [east, west],
            s3: S3Settings {
                port: s3,
                access_key_id: key(),
                secret_access_key: key(),
            },
        })
    }
}

/// Writes a file that only the user can read.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let context = || format!("cannot write {}", path.display());
    fs::write(path, text).with_context(context)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(context)
}
