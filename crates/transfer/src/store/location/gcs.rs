use std::path::PathBuf;
use std::sync::Arc;

use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::bucket::{BucketSettings, as_path, fault_of_name, no_retries};
use super::{Binding, Connected, Credentials, Fault, Faults, Pace, SecretReference, Signers};

/// Where Google's own tools look for the file that says who a process is.
const APPLICATION_CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// A bucket of Google Cloud Storage.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GcsLocation {
    /// The bucket; it must exist.
    pub bucket: String,
    /// The address (`https://host:port`) of a store other than Google's.
    pub endpoint: Option<String>,
    /// What the names of all objects begin with; a bucket can so hold the stores of several members.
    pub prefix: String,
    /// Whether an endpoint without TLS is accepted.
    pub allow_http: bool,
    /// PEM file with further certificate authorities that the endpoint's certificate may be signed by.
    pub ca_file: Option<PathBuf>,
    /// Where the credentials come from. They are looked for elsewhere only if this says so.
    pub credentials: Credentials,
    /// The key of a service account, as the JSON text that Google gives.
    pub service_account_key: Option<SecretReference>,
}

/// What is needed of a service account's key. What else the text says (other addresses, say) has no effect.
#[derive(Deserialize)]
struct ServiceAccount {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    client_email: String,
    #[serde(default)]
    private_key_id: String,
    private_key: Option<SecretString>,
}

impl GcsLocation {
    pub(super) fn bucket_settings(&self) -> BucketSettings<'_> {
        BucketSettings {
            prefix: &self.prefix,
            endpoint: self.endpoint.as_deref(),
            allow_http: self.allow_http,
            ca_file: as_path(self.ca_file.as_ref()),
            allow_http_key: "gcs.allow_http",
        }
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::of("gcs");
        faults.note("bucket", fault_of_name(&self.bucket, "bucket"));
        self.bucket_settings().check(&mut faults);
        match (self.credentials, &self.service_account_key) {
            (Credentials::Ambient, None) => {}
            (Credentials::Ambient, Some(_)) => {
                faults.add("credentials", "they are given twice: `ambient` and a key");
            }
            (Credentials::Given, Some(key)) => faults.note("service_account_key", key.fault()),
            (Credentials::Given, None) => faults.add(
                "credentials",
                "there are none: give `service_account_key` (`{ env = \"NAME\" }` or `{ file = \"PATH\" }`), or \
                 `credentials = \"ambient\"` to take those of the place where this runs",
            ),
        }
        faults.finish()
    }

    pub(super) fn connect(&self) -> Result<Connected, String> {
        let settings = self.bucket_settings();
        let (prefix, certificates) = (settings.prefix()?, settings.certificates()?);
        let pace = Pace::default();
        let objects = Arc::new(self.build(certificates.as_deref(), &pace)?);
        Ok(Connected {
            objects: objects.clone(),
            place: format!("gs://{}/{}{}", self.bucket, self.prefix, settings.at_endpoint()),
            prefix,
            signers: Some(Signers {
                own: objects.clone(),
                members: objects.clone(),
                others: objects,
                certificates,
                binding: Some(Binding::Gcs),
            }),
            pace,
        })
    }

    fn build(&self, certificates: Option<&str>, pace: &Pace) -> Result<GoogleCloudStorage, String> {
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_client_options(self.bucket_settings().client(certificates)?)
            .with_retry(no_retries())
            .with_http_connector(pace.connector())
            .with_bucket_name(&self.bucket);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_base_url(endpoint.trim_end_matches('/'));
        }
        match &self.service_account_key {
            Some(key) => {
                let key = plain_key(&key.read("gcs.service_account_key")?)?;
                builder = builder.with_service_account_key(key.expose_secret());
            }
            None => {
                if let Ok(file) = std::env::var(APPLICATION_CREDENTIALS) {
                    builder = builder.with_application_credentials(file);
                }
            }
        }
        builder.build().map_err(|error| error.to_string())
    }
}

/// The key with what is needed of it.
fn plain_key(text: &SecretString) -> Result<SecretString, String> {
    const HINT: &str = "give the JSON text of a service account's key (`gcloud iam service-accounts keys create`)";
    let fault = |reason: String| format!("`gcs.service_account_key`: {reason}: {HINT}");
    // The parser's own words may show what it has read.
    let account: ServiceAccount = serde_json::from_str(text.expose_secret()).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        fault(format!("it cannot be read at line {line}, column {column}"))
    })?;
    if account.kind != "service_account" {
        let kind: String = account.kind.chars().take(40).collect();
        return Err(fault(format!(
            "it is of the type `{kind}` instead of `service_account`"
        )));
    }
    let private_key = account.private_key.as_ref().map_or("", ExposeSecret::expose_secret);
    for (key, value) in [
        ("client_email", account.client_email.as_str()),
        ("private_key_id", &account.private_key_id),
        ("private_key", private_key),
    ] {
        if value.is_empty() {
            return Err(fault(format!("it has no `{key}`")));
        }
    }
    let plain = serde_json::json!({
        "client_email": account.client_email,
        "private_key_id": account.private_key_id,
        "private_key": private_key,
    });
    Ok(plain.to_string().into())
}
