//! Where a store is, as configurations say it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{Certificate, ClientOptions, ObjectStore, RetryConfig};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a store is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreLocation {
    /// A folder of this machine.
    Local(LocalLocation),
    /// A bucket of S3 or of a store that speaks like it.
    S3(Box<S3Location>),
}

/// A folder of this machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalLocation {
    /// The folder; made if it does not exist.
    pub path: PathBuf,
}

/// A bucket of S3 or of a store that speaks like it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Location {
    /// The bucket; it must exist.
    pub bucket: String,
    /// The region; stores that have none take any text.
    #[serde(default = "default_region")]
    pub region: String,
    /// The address (`https://host:port`) of a store other than Amazon's.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// What the names of all objects begin with; a bucket can so hold the stores of several members.
    #[serde(default)]
    pub prefix: String,
    /// Whether an endpoint without TLS is accepted.
    #[serde(default)]
    pub allow_http: bool,
    /// PEM file with further certificate authorities that the endpoint's certificate may be signed by.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The name of the access key. Always needed: credentials are never looked for elsewhere.
    pub access_key_id: String,
    /// The access key itself.
    pub secret_access_key: SecretReference,
}

/// A secret, or where it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretReference {
    /// The secret itself.
    Value(SecretString),
    /// The name of an environment variable.
    Env(String),
    /// A file whose content, less white space around it, is the secret.
    File(PathBuf),
}

/// A store that can be talked to (nobody has tried yet).
pub(super) struct Connected {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) place: String,
    pub(super) prefix: Path,
    pub(super) signers: Option<Signers>,
}

/// Those who sign requests for a store, and what who makes such requests must know.
pub(super) struct Signers {
    /// For this process: at the address that it uses itself.
    pub(super) own: Arc<dyn Signer>,
    /// For others, who may see the store at another address.
    pub(super) others: Arc<dyn Signer>,
    /// PEM text of further certificate authorities.
    pub(super) certificates: Option<String>,
}

impl StoreLocation {
    /// Local folder, for short.
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self::Local(LocalLocation { path: path.into() })
    }

    /// `endpoint`: the address that requests are signed for which are made by others.
    pub(super) fn connect(&self, endpoint: Option<&str>) -> Result<Connected, String> {
        match (self, endpoint) {
            (Self::Local(_), Some(_)) => Err("a folder cannot be reached at `direct_endpoint`".to_owned()),
            (Self::Local(location), None) => location.connect(),
            (Self::S3(location), endpoint) => location.connect(endpoint),
        }
    }
}

impl LocalLocation {
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
        })
    }
}

impl S3Location {
    fn connect(&self, direct_endpoint: Option<&str>) -> Result<Connected, String> {
        if self.access_key_id.is_empty() {
            return Err("`access_key_id` is empty: credentials must be given".to_owned());
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err("this program has not chosen its cryptography yet".to_owned());
        }
        let secret = self.secret_access_key.read()?;
        let prefix = Path::parse(&self.prefix).map_err(|error| format!("the prefix `{}`: {error}", self.prefix))?;
        let read = |file: &PathBuf| {
            // Between certificates there may be words in any coding.
            let text = std::fs::read(file).map(|text| String::from_utf8_lossy(&text).into_owned());
            text.map_err(|error| format!("cannot read {}: {error}", file.display()))
        };
        let certificates = self.ca_file.as_ref().map(read).transpose()?;
        let build = |endpoint: Option<&str>| self.build(&secret, certificates.as_deref(), endpoint);
        let objects = Arc::new(build(self.endpoint.as_deref())?);
        let others = match direct_endpoint {
            Some(endpoint) => Arc::new(build(Some(endpoint)).map_err(|error| format!("`direct_endpoint`: {error}"))?),
            None => Arc::clone(&objects),
        };
        let endpoint = self
            .endpoint
            .as_deref()
            .map(|endpoint| format!(" at {endpoint}"))
            .unwrap_or_default();
        let place = format!("s3://{}/{}{endpoint}", self.bucket, self.prefix);
        Ok(Connected {
            objects: objects.clone(),
            place,
            prefix,
            signers: Some(Signers {
                own: objects,
                others,
                certificates,
            }),
        })
    }

    fn build(
        &self,
        secret: &SecretString,
        certificates: Option<&str>,
        endpoint: Option<&str>,
    ) -> Result<AmazonS3, String> {
        let mut client = ClientOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout_disabled();
        if let (Some(pem), Some(file)) = (certificates, &self.ca_file) {
            let certificates = Certificate::from_pem_bundle(pem.as_bytes())
                .map_err(|error| format!("no certificates in {}: {error}", file.display()))?;
            client = certificates
                .into_iter()
                .fold(client, ClientOptions::with_root_certificate);
        }
        let mut builder = AmazonS3Builder::new()
            .with_client_options(client.with_allow_http(self.allow_http))
            // Repetition and deadlines are ours, the same for every kind of store.
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            })
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_allow_http(self.allow_http)
            .with_access_key_id(&self.access_key_id)
            .with_secret_access_key(secret.expose_secret());
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder.build().map_err(|error| error.to_string())
    }
}

impl SecretReference {
    fn read(&self) -> Result<SecretString, String> {
        let secret = match self {
            Self::Value(secret) => secret.clone(),
            Self::Env(name) => std::env::var(name)
                .map_err(|_| format!("the environment variable {name}, which should hold the secret, is not set"))?
                .into(),
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| text.trim().to_owned().into())
                .map_err(|error| format!("cannot read the secret from {}: {error}", path.display()))?,
        };
        if secret.expose_secret().is_empty() {
            Err("the secret access key is empty".to_owned())
        } else {
            Ok(secret)
        }
    }
}

fn default_region() -> String {
    "us-east-1".to_owned()
}
