use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::bucket::{BucketSettings, as_path, fault_of_name, no_retries};
use super::{Connected, Credentials, Fault, Faults, Pace, SecretReference, Signers};
use crate::store::DirectAccess;

/// What the surroundings of a process on Azure's machines say of its identity.
const AMBIENT: [(&str, AzureConfigKey); 5] = [
    ("AZURE_CLIENT_ID", AzureConfigKey::ClientId),
    ("AZURE_TENANT_ID", AzureConfigKey::AuthorityId),
    ("AZURE_FEDERATED_TOKEN_FILE", AzureConfigKey::FederatedTokenFile),
    ("AZURE_AUTHORITY_HOST", AzureConfigKey::AuthorityHost),
    ("IDENTITY_ENDPOINT", AzureConfigKey::MsiEndpoint),
];

/// A container of Azure Blob Storage.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AzureLocation {
    /// The storage account.
    pub account: String,
    /// The container; it must exist.
    pub container: String,
    /// The address of the account's blobs, if it is not `https://<account>.blob.core.windows.net`: a private or sovereign
    /// cloud's, or an emulator's (`http://host:port/<account>`).
    pub endpoint: Option<String>,
    /// What the names of all blobs begin with; a container can so hold the stores of several members.
    pub prefix: String,
    /// Whether an endpoint without TLS is accepted.
    pub allow_http: bool,
    /// PEM file with further certificate authorities that the endpoint's certificate may be signed by.
    pub ca_file: Option<PathBuf>,
    /// Where the credentials come from. They are looked for elsewhere only if this says so.
    pub credentials: Credentials,
    /// One of the account's two keys, in base64.
    pub access_key: Option<SecretReference>,
    /// A shared access signature for the container (what follows the `?`). Nothing can be signed with it.
    pub sas_token: Option<SecretReference>,
    /// The directory (tenant) of a service principal.
    pub tenant_id: Option<String>,
    /// The name of a service principal.
    pub client_id: Option<String>,
    /// The secret of a service principal.
    pub client_secret: Option<SecretReference>,
    /// Where a service principal gets its tokens, if it is not `https://login.microsoftonline.com`.
    pub authority_host: Option<String>,
}

/// The credentials that are given.
enum Given {
    AccessKey(SecretString),
    SasToken(SecretString),
    ClientSecret(SecretString),
    Ambient,
}

impl AzureLocation {
    pub(super) fn bucket_settings(&self) -> BucketSettings<'_> {
        BucketSettings {
            prefix: &self.prefix,
            endpoint: self.endpoint.as_deref(),
            allow_http: self.allow_http,
            ca_file: as_path(self.ca_file.as_ref()),
            allow_http_key: "azure.allow_http",
        }
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::of("azure");
        let is_fine = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
        if !(3..=24).contains(&self.account.len()) || !self.account.chars().all(is_fine) {
            let account = &self.account;
            faults.add(
                "account",
                format!("`{account}` is no storage account: give its name alone, 3 to 24 small letters and digits"),
            );
        }
        faults.note("container", fault_of_name(&self.container, "container"));
        self.bucket_settings().check(&mut faults);
        if let Some(host) = self.authority_host.as_deref() {
            // Secrets go there: never without TLS.
            let settings = BucketSettings {
                allow_http: false,
                ..self.bucket_settings()
            };
            faults.note("authority_host", settings.fault_of_endpoint(host));
        }
        self.check_credentials(&mut faults);
        faults.finish()
    }

    fn check_credentials(&self, faults: &mut Faults) {
        let principal = self.tenant_id.is_some() || self.client_id.is_some() || self.client_secret.is_some();
        let ways = [
            self.credentials == Credentials::Ambient,
            self.access_key.is_some(),
            self.sas_token.is_some(),
            principal,
        ];
        let hint = "`access_key`, `sas_token`, a service principal (`tenant_id`, `client_id`, `client_secret`), or \
                    `credentials = \"ambient\"` to take those of the place where this runs; secrets as `{ env = \"NAME\" }` \
                    or `{ file = \"PATH\" }`";
        match ways.into_iter().filter(|way| *way).count() {
            0 => faults.add("credentials", format!("there are none: give {hint}")),
            1 => {}
            _ => faults.add("credentials", format!("there are several: give one of {hint}")),
        }
        for (key, secret) in [
            ("access_key", &self.access_key),
            ("sas_token", &self.sas_token),
            ("client_secret", &self.client_secret),
        ] {
            faults.note(key, secret.as_ref().and_then(SecretReference::fault));
        }
        if principal {
            let words = "it is missing: a service principal is `tenant_id`, `client_id` and `client_secret`";
            for (key, is_given) in [
                ("tenant_id", is_text(self.tenant_id.as_ref())),
                ("client_id", is_text(self.client_id.as_ref())),
                ("client_secret", self.client_secret.is_some()),
            ] {
                if !is_given {
                    faults.add(key, words);
                }
            }
        }
    }

    fn given(&self) -> Result<Given, String> {
        if let Some(key) = &self.access_key {
            let key = key.read("azure.access_key")?;
            // What the library says of one that is wrong shows a part of it.
            if BASE64_STANDARD.decode(key.expose_secret()).is_err() {
                return Err("`azure.access_key`: it is not base64: copy the whole key, without quotes".to_owned());
            }
            return Ok(Given::AccessKey(key));
        }
        if let Some(token) = &self.sas_token {
            let token = token.read("azure.sas_token")?;
            if !token.expose_secret().contains("sig=") {
                return Err("`azure.sas_token`: it has no `sig=`: give all that follows the `?`".to_owned());
            }
            return Ok(Given::SasToken(token.expose_secret().trim_start_matches('?').into()));
        }
        match &self.client_secret {
            Some(secret) => Ok(Given::ClientSecret(secret.read("azure.client_secret")?)),
            None => Ok(Given::Ambient),
        }
    }

    pub(super) fn connect(&self, access: &DirectAccess) -> Result<Connected, String> {
        let settings = self.bucket_settings();
        let given = self.given()?;
        let (prefix, certificates) = (settings.prefix()?, settings.certificates()?);
        let pace = Pace::default();
        let build = |endpoint: Option<&str>| self.build(&given, certificates.as_deref(), endpoint, &pace);
        let objects = Arc::new(build(self.endpoint.as_deref())?);
        let at = |endpoint: &Option<String>, key| match endpoint {
            Some(endpoint) => build(Some(endpoint))
                .map(Arc::new)
                .map_err(|error| format!("`{key}`: {error}")),
            None => Ok(Arc::clone(&objects)),
        };
        let others = at(&access.endpoint, "direct_endpoint")?;
        let members = at(&access.members_endpoint, "signed_endpoint")?;
        let (account, container) = (&self.account, &self.container);
        let signers = Signers {
            own: Arc::clone(&objects) as _,
            others,
            members,
            certificates,
            // A shared access signature says who may do what with which blob, and nothing of bytes or conditions.
            binding: None,
        };
        Ok(Connected {
            objects,
            place: format!(
                "azure://{account}/{container}/{}{}",
                self.prefix,
                settings.at_endpoint()
            ),
            prefix,
            signers: (!matches!(given, Given::SasToken(_))).then_some(signers),
            pace,
        })
    }

    fn build(
        &self,
        given: &Given,
        certificates: Option<&str>,
        endpoint: Option<&str>,
        pace: &Pace,
    ) -> Result<MicrosoftAzure, String> {
        let mut builder = MicrosoftAzureBuilder::new()
            .with_client_options(self.bucket_settings().client(certificates)?)
            .with_retry(no_retries())
            .with_http_connector(pace.connector())
            .with_account(&self.account)
            .with_container_name(&self.container)
            .with_allow_http(self.allow_http);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        if let Some(host) = &self.authority_host {
            builder = builder.with_authority_host(host);
        }
        builder = match given {
            Given::AccessKey(key) => builder.with_access_key(key.expose_secret()),
            Given::SasToken(token) => builder.with_config(AzureConfigKey::SasKey, token.expose_secret()),
            Given::ClientSecret(secret) => builder.with_client_secret_authorization(
                self.client_id.as_deref().unwrap_or_default(),
                secret.expose_secret(),
                self.tenant_id.as_deref().unwrap_or_default(),
            ),
            Given::Ambient => AMBIENT
                .into_iter()
                .filter_map(|(name, key)| Some((key, std::env::var(name).ok()?)))
                .fold(builder, |builder, (key, value)| builder.with_config(key, value)),
        };
        builder.build().map_err(|error| error.to_string())
    }
}

fn is_text(value: Option<&String>) -> bool {
    value.is_some_and(|text| !text.trim().is_empty())
}
