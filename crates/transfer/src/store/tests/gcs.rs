//! An emulator of Google Cloud Storage as a process of its own, and before it what it lacks ([`dialect`]).

// Other crates' tests include this file too, from elsewhere.
#[path = "gcs/dialect.rs"]
mod dialect;
#[path = "gcs/signature.rs"]
mod signature;

use std::net::SocketAddr;
use std::process::Command;

use super::seaweed::process::{Process, Program, free_ports};
use crate::store::StoreLocation;
use crate::store::location::{GcsLocation, SecretReference};
pub(super) use signature::Strictness;

/// As `cargo xtask test` installs it too: a folder of Python packages.
const EMULATOR: Program = Program {
    variable: "TOMBOLO_GCS_EMULATOR",
    folder: "gcp-storage-emulator-2026.7.19",
    entry: "gcp_storage_emulator",
    install: &[
        "python3",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        "FOLDER",
        "gcp-storage-emulator==2026.7.19",
        "google-crc32c==1.9.0",
    ],
};
const BUCKET: &str = "bucket";
/// Made for these tests. It opens nothing.
const TEST_KEY: &str = include_str!("gcs/test-key.pem");

pub(super) struct Server {
    pub(super) address: SocketAddr,
    _dialect: dialect::Dialect,
    _process: Process,
}

impl Server {
    pub(super) async fn start(strictness: Strictness) -> Self {
        let package = tokio::task::spawn_blocking(|| EMULATOR.find()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let emulator = SocketAddr::from(([127, 0, 0, 1], free_ports(1)[0]));
        let mut command = Command::new("python3");
        command
            .args(["-m", "gcp_storage_emulator", "--data-dir"])
            .arg(folder.path())
            .args(["start", "--quiet", "--in-memory", "--default-bucket", BUCKET])
            .args(["--host", "127.0.0.1", "--port", &emulator.port().to_string()])
            .env("PYTHONPATH", package.parent().unwrap())
            // The program is shared with other runs.
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let bucket = format!("http://{emulator}/storage/v1/b/{BUCKET}");
        let is_ready = async || {
            let answer = http.get(&bucket).send().await.map_err(|error| error.to_string())?;
            answer.error_for_status().map(drop).map_err(|error| error.to_string())
        };
        let process = Process::start(command, folder, is_ready).await;
        let dialect = dialect::Dialect::start(emulator, strictness).await;
        Self {
            address: dialect.address,
            _dialect: dialect,
            _process: process,
        }
    }

    pub(super) fn location(&self, prefix: &str) -> StoreLocation {
        location(self.address, prefix)
    }
}

pub(super) fn location(address: SocketAddr, prefix: &str) -> StoreLocation {
    let _ = rustls::crypto::ring::default_provider().install_default();
    StoreLocation::Gcs(Box::new(GcsLocation {
        bucket: BUCKET.to_owned(),
        endpoint: Some(format!("http://{address}")),
        prefix: prefix.to_owned(),
        allow_http: true,
        service_account_key: Some(SecretReference::Value(account_key(TEST_KEY).into())),
        ..GcsLocation::default()
    }))
}

/// The key of a service account as Google writes it.
pub(super) fn account_key(private_key: &str) -> String {
    let key = serde_json::json!({
        "type": "service_account",
        "project_id": "tests",
        "private_key_id": "1",
        "private_key": private_key,
        "client_email": "tester@tests.invalid",
        "token_uri": "http://127.0.0.1:9/never-asked",
    });
    key.to_string()
}
