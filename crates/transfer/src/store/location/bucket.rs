//! What all kinds of buckets have in common.

use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use object_store::path::Path;
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};
use url::Url;

use super::Faults;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings that every kind of bucket has.
#[derive(Clone, Copy)]
pub(super) struct BucketSettings<'location> {
    pub(super) prefix: &'location str,
    pub(super) endpoint: Option<&'location str>,
    pub(super) allow_http: bool,
    pub(super) ca_file: Option<&'location FilePath>,
    /// How `allow_http` is called in messages.
    pub(super) allow_http_key: &'static str,
}

impl BucketSettings<'_> {
    pub(super) fn check(&self, faults: &mut Faults) {
        if let Err(error) = Path::parse(self.prefix) {
            faults.add("prefix", format!("`{}` cannot begin names: {error}", self.prefix));
        }
        let endpoint = self.endpoint.and_then(|endpoint| self.fault_of_endpoint(endpoint));
        faults.note("endpoint", endpoint);
    }

    /// What is wrong with the address of a store, if anything. It may have a path.
    pub(super) fn fault_of_endpoint(&self, endpoint: &str) -> Option<String> {
        self.parse(endpoint).err()
    }

    /// As [`Self::fault_of_endpoint`], for one that has no path.
    pub(super) fn fault_of_origin(&self, endpoint: &str) -> Option<String> {
        match self.parse(endpoint) {
            Ok(url) if matches!(url.path(), "" | "/") => None,
            Ok(_) => Some(format!("`{endpoint}` is not `https://host:port`")),
            Err(reason) => Some(reason),
        }
    }

    fn parse(&self, endpoint: &str) -> Result<Url, String> {
        let url = Url::parse(endpoint)
            .map_err(|error| format!("`{endpoint}` is no address ({error}): give `https://host:port`"))?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => {
                let key = self.allow_http_key;
                return Err(format!(
                    "`{endpoint}` has no TLS, which `{key} = true` would have to allow"
                ));
            }
            _ => return Err(format!("`{endpoint}` does not begin with https://")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has credentials in it, which would be shown in messages: give them as such".to_owned());
        }
        if url.host().is_none() || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("`{endpoint}` is not `https://host:port`"));
        }
        Ok(url)
    }

    /// The prefix of all names.
    pub(super) fn prefix(&self) -> Result<Path, String> {
        Path::parse(self.prefix).map_err(|error| format!("the prefix `{}`: {error}", self.prefix))
    }

    /// PEM text of the further certificate authorities.
    pub(super) fn certificates(&self) -> Result<Option<String>, String> {
        let read = |file: &FilePath| {
            // Between certificates there may be words in any coding.
            let text = std::fs::read(file).map(|text| String::from_utf8_lossy(&text).into_owned());
            text.map_err(|error| format!("`ca_file`: cannot read {}: {error}", file.display()))
        };
        self.ca_file.map(read).transpose()
    }

    pub(super) fn client(&self, certificates: Option<&str>) -> Result<ClientOptions, String> {
        let mut client = ClientOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout_disabled()
            .with_allow_http(self.allow_http);
        if let (Some(pem), Some(file)) = (certificates, self.ca_file) {
            let certificates = Certificate::from_pem_bundle(pem.as_bytes())
                .map_err(|error| format!("`ca_file`: no certificates in {}: {error}", file.display()))?;
            client = certificates
                .into_iter()
                .fold(client, ClientOptions::with_root_certificate);
        }
        Ok(client)
    }

    /// ` at ENDPOINT`, for messages.
    pub(super) fn at_endpoint(&self) -> String {
        self.endpoint
            .map(|endpoint| format!(" at {endpoint}"))
            .unwrap_or_default()
    }
}

/// Repetition and deadlines are ours, the same for every kind of store.
pub(super) fn no_retries() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        backoff: BackoffConfig::default(),
        retry_timeout: Duration::ZERO,
    }
}

/// What is wrong with the name of a bucket or a container, if anything. The store knows the finer points.
pub(super) fn fault_of_name(name: &str, what: &str) -> Option<String> {
    if name.is_empty() {
        return Some(format!("it is empty: give the name of the {what}, which must exist"));
    }
    let is_fine = |character: char| character.is_ascii_alphanumeric() || "-_.$".contains(character);
    if !name.chars().all(is_fine) || name.len() > 255 {
        return Some(format!(
            "`{name}` is no name of a {what}: give the name alone, without `scheme://`, host or path"
        ));
    }
    None
}

/// A path as its settings hold it.
pub(super) fn as_path(path: Option<&PathBuf>) -> Option<&FilePath> {
    path.map(PathBuf::as_path)
}
