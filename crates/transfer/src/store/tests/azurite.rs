//! Azurite, an emulator of Azure Blob Storage, as a process of its own. It checks signatures and rights.

use std::net::SocketAddr;
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use url::form_urlencoded::Serializer;

use super::seaweed::process::{Process, Program, free_ports};
use crate::store::StoreLocation;
use crate::store::location::{AzureLocation, SecretReference};

/// As `cargo xtask test` installs it too.
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
const ACCOUNT: &str = "tester";
const KEY: &[u8] = b"a key that only tests know";
const CONTAINER: &str = "bucket";
/// The version of the protocol that shared access signatures here are written in.
const PROTOCOL: &str = "2020-12-06";
/// When they end.
const END: &str = "2090-01-01T00:00:00Z";

pub(super) struct Server {
    pub(super) address: SocketAddr,
    _process: Process,
}

impl Server {
    pub(super) async fn start() -> Self {
        let program = tokio::task::spawn_blocking(|| AZURITE.find()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_ports(1)[0]));
        let mut command = Command::new(program);
        command
            .args(["--blobHost", "127.0.0.1", "--blobPort", &address.port().to_string()])
            .arg("--location")
            .arg(folder.path())
            .args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"])
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{}", BASE64_STANDARD.encode(KEY)));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!(
            "http://{address}/{ACCOUNT}/{CONTAINER}?restype=container&{}",
            rights_to_make_the_container()
        );
        let is_ready = async || {
            let made = http.put(&url).header("content-length", 0).send().await;
            match made.map_err(|error| error.to_string())?.status().as_u16() {
                201 | 409 => Ok(()),
                status => Err(format!("it answered {status}")),
            }
        };
        let process = Process::start(command, folder, is_ready).await;
        Self {
            address,
            _process: process,
        }
    }

    pub(super) fn location(&self, prefix: &str) -> StoreLocation {
        location(self.address, prefix)
    }

    /// With no more than these rights (letters as in a shared access signature) instead of the account's key.
    pub(super) fn location_with(&self, prefix: &str, letters: &str) -> StoreLocation {
        let StoreLocation::Azure(mut azure) = location(self.address, prefix) else {
            unreachable!("it is one")
        };
        azure.access_key = None;
        azure.sas_token = Some(SecretReference::Value(rights(letters).into()));
        StoreLocation::Azure(azure)
    }
}

pub(super) fn location(address: SocketAddr, prefix: &str) -> StoreLocation {
    let _ = rustls::crypto::ring::default_provider().install_default();
    StoreLocation::Azure(Box::new(AzureLocation {
        account: ACCOUNT.to_owned(),
        container: CONTAINER.to_owned(),
        endpoint: Some(format!("http://{address}/{ACCOUNT}")),
        prefix: prefix.to_owned(),
        allow_http: true,
        access_key: Some(SecretReference::Value(BASE64_STANDARD.encode(KEY).into())),
        ..AzureLocation::default()
    }))
}

/// A shared access signature for the account: the container's does not allow to make it.
fn rights_to_make_the_container() -> String {
    let signed = format!("{ACCOUNT}\nc\nb\nc\n\n{END}\n\n\n{PROTOCOL}\n\n");
    let pairs = [("ss", "b"), ("srt", "c"), ("sp", "c")];
    signed_query(&signed, &pairs)
}

/// A shared access signature for the container and its blobs.
fn rights(letters: &str) -> String {
    let nothing = "\n".repeat(7);
    let signed = format!("{letters}\n\n{END}\n/blob/{ACCOUNT}/{CONTAINER}\n\n\n\n{PROTOCOL}\nc{nothing}");
    signed_query(&signed, &[("sr", "c"), ("sp", letters)])
}

fn signed_query(signed: &str, pairs: &[(&str, &str)]) -> String {
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), signed.as_bytes());
    Serializer::new(String::new())
        .extend_pairs([("sv", PROTOCOL), ("se", END)])
        .extend_pairs(pairs)
        .append_pair("sig", &BASE64_STANDARD.encode(signature))
        .finish()
}
