use std::path::PathBuf;
use std::sync::Arc;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::bucket::{BucketSettings, as_path, fault_of_name, no_retries};
use super::{Binding, Connected, Credentials, Fault, Faults, Pace, SecretReference, Signers};
use crate::store::DirectAccess;

/// What the surroundings of a process on Amazon's machines say of its identity.
const AMBIENT: [(&str, AmazonS3ConfigKey); 9] = [
    ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
    ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    ),
    (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
    ),
    (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
    ),
];

/// A bucket of S3 or of a store that speaks like it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Location {
    /// The bucket; it must exist.
    pub bucket: String,
    /// The region; stores that have none take any text.
    pub region: String,
    /// The address (`https://host:port`) of a store other than Amazon's.
    pub endpoint: Option<String>,
    /// What the names of all objects begin with; a bucket can so hold the stores of several members.
    pub prefix: String,
    /// Whether an endpoint without TLS is accepted.
    pub allow_http: bool,
    /// PEM file with further certificate authorities that the endpoint's certificate may be signed by.
    pub ca_file: Option<PathBuf>,
    /// Where the credentials come from. They are looked for elsewhere only if this says so.
    pub credentials: Credentials,
    /// The name of the access key.
    pub access_key_id: Option<String>,
    /// The access key itself.
    pub secret_access_key: Option<SecretReference>,
}

impl Default for S3Location {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            region: "us-east-1".to_owned(),
            endpoint: None,
            prefix: String::new(),
            allow_http: false,
            ca_file: None,
            credentials: Credentials::Given,
            access_key_id: None,
            secret_access_key: None,
        }
    }
}

impl S3Location {
    pub(super) fn bucket_settings(&self) -> BucketSettings<'_> {
        BucketSettings {
            prefix: &self.prefix,
            endpoint: self.endpoint.as_deref(),
            allow_http: self.allow_http,
            ca_file: as_path(self.ca_file.as_ref()),
            allow_http_key: "s3.allow_http",
        }
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::of("s3");
        faults.note("bucket", fault_of_name(&self.bucket, "bucket"));
        if self.region.trim().is_empty() {
            faults.add("region", "it is empty: leave it out for a store that has none");
        }
        self.bucket_settings().check(&mut faults);
        self.check_credentials(&mut faults);
        faults.finish()
    }

    fn check_credentials(&self, faults: &mut Faults) {
        let (id, secret) = (&self.access_key_id, &self.secret_access_key);
        let hint = "give `access_key_id` and `secret_access_key` (`{ env = \"NAME\" }` or `{ file = \"PATH\" }`), or \
                    `credentials = \"ambient\"` to take those of the place where this runs";
        match (self.credentials, id, secret) {
            (Credentials::Ambient, None, None) => {}
            (Credentials::Ambient, _, _) => faults.add("credentials", "they are given twice: `ambient` and a key"),
            (Credentials::Given, None, None) => faults.add("credentials", format!("there are none: {hint}")),
            (Credentials::Given, id, secret) => {
                if id.as_ref().is_none_or(|id| id.trim().is_empty()) {
                    faults.add(
                        "access_key_id",
                        "it is empty or missing: give the name of the access key",
                    );
                }
                match secret {
                    Some(secret) => faults.note("secret_access_key", secret.fault()),
                    None => faults.add("secret_access_key", format!("it is missing: {hint}")),
                }
            }
        }
    }

    pub(super) fn connect(&self, access: &DirectAccess) -> Result<Connected, String> {
        let settings = self.bucket_settings();
        let secret = self.secret_access_key.as_ref();
        let secret = secret.map(|secret| secret.read("s3.secret_access_key")).transpose()?;
        let (prefix, certificates) = (settings.prefix()?, settings.certificates()?);
        let pace = Pace::default();
        let build = |endpoint: Option<&str>| self.build(secret.as_ref(), certificates.as_deref(), endpoint, &pace);
        let objects = Arc::new(build(self.endpoint.as_deref())?);
        let at = |endpoint: &Option<String>, key| match endpoint {
            Some(endpoint) => build(Some(endpoint))
                .map(Arc::new)
                .map_err(|error| format!("`{key}`: {error}")),
            None => Ok(Arc::clone(&objects)),
        };
        let others = at(&access.endpoint, "direct_endpoint")?;
        let members = at(&access.members_endpoint, "signed_endpoint")?;
        Ok(Connected {
            objects: objects.clone(),
            place: format!("s3://{}/{}{}", self.bucket, self.prefix, settings.at_endpoint()),
            prefix,
            signers: Some(Signers {
                own: objects,
                others,
                members,
                certificates,
                binding: Some(Binding::S3),
            }),
            pace,
        })
    }

    fn build(
        &self,
        secret: Option<&SecretString>,
        certificates: Option<&str>,
        endpoint: Option<&str>,
        pace: &Pace,
    ) -> Result<AmazonS3, String> {
        let mut builder = AmazonS3Builder::new()
            .with_client_options(self.bucket_settings().client(certificates)?)
            .with_retry(no_retries())
            .with_http_connector(pace.connector())
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_allow_http(self.allow_http);
        if let (Some(id), Some(secret)) = (&self.access_key_id, secret) {
            builder = builder
                .with_access_key_id(id)
                .with_secret_access_key(secret.expose_secret());
        } else {
            let given = AMBIENT
                .into_iter()
                .filter_map(|(name, key)| Some((key, std::env::var(name).ok()?)));
            builder = given.fold(builder, |builder, (key, value)| builder.with_config(key, value));
        }
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder.build().map_err(|error| error.to_string())
    }
}
