//! Where a store is, as configurations say it.

mod azure;
mod bucket;
mod fault;
mod gcs;
mod s3;
mod secret;

use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::signer::Signer;
use serde::Deserialize;

use super::direct::{Binding, DirectAccess};
use super::pace::Pace;
pub use azure::AzureLocation;
pub use fault::Fault;
use fault::Faults;
pub use gcs::GcsLocation;
pub use s3::S3Location;
pub use secret::{Credentials, SecretReference};

/// Where a store is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreLocation {
    /// A folder of this machine.
    Local(LocalLocation),
    /// A bucket of S3 or of a store that speaks like it.
    S3(Box<S3Location>),
    /// A container of Azure Blob Storage.
    Azure(Box<AzureLocation>),
    /// A bucket of Google Cloud Storage.
    Gcs(Box<GcsLocation>),
}

/// A folder of this machine.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalLocation {
    /// The folder; made if it does not exist.
    pub path: PathBuf,
}

/// Which kind of store it is: what its rights are called, and what it can sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder of this machine.
    Local,
    /// S3, or what speaks like it.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Gcs,
}

/// A store that can be talked to (nobody has tried yet).
pub(super) struct Connected {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) place: String,
    pub(super) prefix: Path,
    pub(super) signers: Option<Signers>,
    /// What the store has asked of those who call it.
    pub(super) pace: Pace,
}

/// Those who sign requests for a store, and what who makes such requests must know.
pub(super) struct Signers {
    /// For this process: at the address that it uses itself.
    pub(super) own: Arc<dyn Signer>,
    /// For pods, which may see the store at another address.
    pub(super) others: Arc<dyn Signer>,
    /// For other members, who may see it at yet another.
    pub(super) members: Arc<dyn Signer>,
    /// PEM text of further certificate authorities.
    pub(super) certificates: Option<String>,
    /// How an upload is bound to its bytes, if the kind of store knows a way.
    pub(super) binding: Option<Binding>,
}

impl StoreLocation {
    /// Local folder, for short.
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self::Local(LocalLocation { path: path.into() })
    }

    /// Which kind of store it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Local(_) => Kind::Local,
            Self::S3(_) => Kind::S3,
            Self::Azure(_) => Kind::Azure,
            Self::Gcs(_) => Kind::Gcs,
        }
    }

    /// All settings that cannot be, each with what to do. Nothing is read or asked for this: whether a secret is where it is
    /// said to be, only opening the store tells.
    pub fn faults(&self) -> Vec<Fault> {
        match self {
            Self::Local(location) => location.faults(),
            Self::S3(location) => location.faults(),
            Self::Azure(location) => location.faults(),
            Self::Gcs(location) => location.faults(),
        }
    }

    /// What is wrong with `endpoint` as the address at which others reach this store, if anything.
    pub fn fault_of_direct_endpoint(&self, endpoint: &str) -> Option<String> {
        match self {
            Self::Local(_) => Some("nobody else can reach a folder; leave it out".to_owned()),
            Self::S3(location) => location.bucket_settings().fault_of_origin(endpoint),
            Self::Azure(location) => location.bucket_settings().fault_of_endpoint(endpoint),
            Self::Gcs(_) => Some("Google's signatures are for its own host only; leave it out".to_owned()),
        }
    }

    /// `access`: the addresses that requests are signed for which are made by others.
    pub(super) fn connect(&self, access: &DirectAccess) -> Result<Connected, String> {
        let reasons = self.faults().into_iter().map(|fault| fault.to_string());
        let endpoints = [
            ("direct_endpoint", &access.endpoint),
            ("signed_endpoint", &access.members_endpoint),
        ];
        let reasons = reasons.chain(endpoints.into_iter().filter_map(|(key, endpoint)| {
            let reason = self.fault_of_direct_endpoint(endpoint.as_deref()?)?;
            Some(format!("`{key}`: {reason}"))
        }));
        let reasons: Vec<_> = reasons.collect();
        if !reasons.is_empty() {
            return Err(reasons.join("; "));
        }
        if self.kind() != Kind::Local && rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err("this program has not chosen its cryptography yet".to_owned());
        }
        match self {
            Self::Local(location) => location.connect(),
            Self::S3(location) => location.connect(access),
            Self::Azure(location) => location.connect(access),
            Self::Gcs(location) => location.connect(),
        }
    }
}

impl LocalLocation {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::of("local");
        if self.path.as_os_str().is_empty() {
            faults.add("path", "it is empty: give the folder");
        }
        faults.finish()
    }

    fn connect(&self) -> Result<Connected, String> {
        let place = self.path.display().to_string();
        std::fs::create_dir_all(&self.path).map_err(|error| format!("cannot make the folder {place}: {error}"))?;
        // What was acknowledged must survive the machine's crash too.
        let objects = LocalFileSystem::new_with_prefix(&self.path)
            .map_err(|error| format!("cannot use the folder {place}: {error}"))?
            .with_fsync(true);
        Ok(Connected {
            objects: Arc::new(objects),
            place,
            prefix: Path::default(),
            signers: None,
            pace: Pace::default(),
        })
    }
}
