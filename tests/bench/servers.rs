//! The buckets, and their keys.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::measure;
use crate::process::{ACCESS_KEY, Process, Program, SECRET_KEY, Server, free_ports};

/// As `cargo xtask` installs it too.
const AZURITE: Program = Program {
    variable: "TOMBOLO_AZURITE",
    folder: "azurite-3.35.0",
    entry: "node_modules/.bin/azurite-blob",
    install: &[
        "npm",
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--omit=optional",
        "--prefix",
        "FOLDER",
        "azurite@3.35.0",
    ],
};
pub(crate) const BUCKET: &str = "bucket";
const ACCOUNT: &str = "tester";
const KEY: &[u8] = b"a key that only tests know";

/// SeaweedFS and Azurite, ended with this value.
pub(crate) struct Servers {
    s3: Server,
    azure: SocketAddr,
    _azurite: Process,
    pub(crate) processes: Vec<(&'static str, measure::Process)>,
}

fn rclone(variables: &[(String, String)], arguments: &[&str]) -> Result<(), String> {
    let program = program().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    let output = command.args(arguments).envs(variables.iter().cloned()).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// rclone, which `cargo xtask` installs.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    let program = std::env::var_os("TOMBOLO_RCLONE");
    program
        .map(PathBuf::from)
        .context("TOMBOLO_RCLONE is not set: run this by `cargo xtask bench transfer`")
}

impl Servers {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let s3 = Server::start(async |address| {
            let once = [
                "mkdir",
                "s3:bucket",
                "--retries=1",
                "--low-level-retries=1",
                "--contimeout=5s",
            ];
            rclone(&s3_variables(address), &once)
        })
        .await;
        let azure = SocketAddr::from(([127, 0, 0, 1], free_ports(1)[0]));
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(tokio::task::spawn_blocking(|| AZURITE.find()).await?);
        command
            .args(["--blobHost", "127.0.0.1", "--blobPort", &azure.port().to_string()])
            .arg("--location")
            .arg(folder.path())
            .args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"])
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{}", azure_key()));
        let is_ready = async || {
            let once = [
                "mkdir",
                "azure:bucket",
                "--retries=1",
                "--low-level-retries=1",
                "--contimeout=5s",
            ];
            rclone(&azure_variables(azure), &once)
        };
        let azurite = Process::start(command, folder, is_ready).await;
        let found = [
            ("SeaweedFS", format!("-s3.port={}", s3.address.port())),
            ("Azurite", azure.port().to_string()),
        ];
        let processes = found
            .into_iter()
            .map(|(name, word)| Some((name, measure::Process::with_argument(&word)?)))
            .collect::<Option<_>>()
            .context("a server is gone")?;
        Ok(Self {
            s3,
            azure,
            _azurite: azurite,
            processes,
        })
    }

    /// What rclone has to know to find both as `s3:` and `azure:`.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        [s3_variables(self.s3.address), azure_variables(self.azure)].concat()
    }

    /// The stores of agents.
    pub(crate) fn stores(&self) -> [Value; 2] {
        let s3 = json!({"s3": {
            "endpoint": format!("http://{}", self.s3.address), "allow_http": true, "bucket": BUCKET, "prefix": "agent",
            "access_key_id": ACCESS_KEY, "secret_access_key": {"value": SECRET_KEY},
        }});
        let azure = json!({"azure": {
            "endpoint": self.azure_endpoint(), "allow_http": true, "account": ACCOUNT, "container": BUCKET, "prefix": "agent",
            "access_key": {"value": azure_key()},
        }});
        [s3, azure]
    }

    /// The buckets, by the library that agents use, and nothing else.
    pub(crate) fn bare(&self) -> anyhow::Result<(object_store::aws::AmazonS3, object_store::azure::MicrosoftAzure)> {
        let s3 = object_store::aws::AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.s3.address))
            .with_allow_http(true)
            .with_bucket_name(BUCKET)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .build()?;
        let azure = object_store::azure::MicrosoftAzureBuilder::new()
            .with_endpoint(self.azure_endpoint())
            .with_allow_http(true)
            .with_account(ACCOUNT)
            .with_access_key(azure_key())
            .with_container_name(BUCKET)
            .build()?;
        Ok((s3, azure))
    }

    fn azure_endpoint(&self) -> String {
        format!("http://{}/{ACCOUNT}", self.azure)
    }
}

fn azure_key() -> String {
    BASE64_STANDARD.encode(KEY)
}

fn s3_variables(address: SocketAddr) -> Vec<(String, String)> {
    variables(
        "S3",
        &[
            ("TYPE", "s3"),
            ("PROVIDER", "Other"),
            ("ACCESS_KEY_ID", ACCESS_KEY),
            ("SECRET_ACCESS_KEY", SECRET_KEY),
            ("ENDPOINT", &format!("http://{address}")),
            ("FORCE_PATH_STYLE", "true"),
        ],
    )
}

fn azure_variables(address: SocketAddr) -> Vec<(String, String)> {
    variables(
        "AZURE",
        &[
            ("TYPE", "azureblob"),
            ("USE_EMULATOR", "true"),
            ("ACCOUNT", ACCOUNT),
            ("KEY", &azure_key()),
            ("ENDPOINT", &format!("http://{address}/{ACCOUNT}")),
        ],
    )
}

fn variables(remote: &str, settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let variable = |(name, value): &(&str, &str)| (format!("RCLONE_CONFIG_{remote}_{name}"), (*value).to_owned());
    let no_file = ("RCLONE_CONFIG".to_owned(), String::new());
    settings.iter().map(variable).chain([no_file]).collect()
}
