//! The distribution protocol, as far as it takes to read one image's configuration.

mod challenge;

use std::fmt::Display;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode};
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use self::challenge::Challenge;
use super::Error;
use super::credentials::Credential;
use super::image::Image;
use super::reference::{Reference, is_digest};
use crate::executor::kubernetes::settings::Settings;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long a registry may be silent in the middle of an answer.
const SILENT_AT_MOST: Duration = Duration::from_secs(10);
/// The largest manifest: what registries themselves take.
const MANIFEST_LIMIT: usize = 4 << 20;
/// The largest configuration: those with a long history have some hundred KiB.
const CONFIGURATION_LIMIT: usize = 4 << 20;
/// The largest answer that is a token or an error.
const SMALL_LIMIT: usize = 64 << 10;
/// How much of a registry's words is shown.
const WORDS_LIMIT: usize = 300;
/// How often an answer may lead on: registries send blobs from elsewhere.
const REDIRECTS: usize = 5;

const INDEX_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const MANIFEST_TYPES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Any registry, as it shows itself to one cluster.
#[derive(Debug)]
pub(super) struct Registry {
    http: Client,
    insecure: Vec<String>,
    operating_system: String,
    architecture: String,
}

/// Why a registry gave no image, without the name of the image.
#[derive(Debug)]
pub(super) enum Fault {
    Missing(String),
    Denied(String),
    Other(String),
}

impl Fault {
    pub(super) fn of(self, image: &str) -> Error {
        let image = image.to_owned();
        match self {
            Self::Missing(words) => Error::Missing { image, words },
            Self::Denied(words) => Error::Denied { image, words },
            Self::Other(words) => Error::Registry { image, words },
        }
    }

    fn other(words: impl Display) -> Self {
        Self::Other(words.to_string())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: SecretString,
}

#[derive(Deserialize)]
struct Refusal {
    errors: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Registry {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let insecure = settings.insecure_registries.clone();
        let allowed = insecure.clone();
        // A secure registry must not send anybody to where others listen.
        let follow = move |attempt: Attempt<'_>| {
            let insecure = attempt.url().scheme() != "https" && !allowed.contains(&authority(attempt.url()));
            if insecure {
                attempt.error("the registry leads to a place without TLS")
            } else if attempt.previous().len() > REDIRECTS {
                attempt.error("the registry leads on and on")
            } else {
                attempt.follow()
            }
        };
        let http = Client::builder()
            .user_agent(concat!("tombolo/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENT_AT_MOST)
            .redirect(Policy::custom(follow))
            .build()
            .map_err(|error| error.to_string())?;
        let machine = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Ok(Self {
            http,
            insecure,
            operating_system: settings.operating_system.clone(),
            architecture: settings.architecture.clone().unwrap_or_else(|| machine.to_owned()),
        })
    }

    pub(super) async fn image(&self, reference: &Reference, credential: Option<&Credential>) -> Result<Image, Fault> {
        let mut session = Session {
            registry: self,
            reference,
            credential,
            authorization: None,
        };
        let manifest = session.manifest(reference.version()).await?;
        let configuration = match manifest.config {
            Some(configuration) => configuration,
            None => {
                let digest = self.choose(&manifest.manifests)?;
                let manifest = session.manifest(&digest).await?;
                manifest
                    .config
                    .ok_or_else(|| Fault::other("its manifest names no configuration"))?
            }
        };
        let bytes = session.blob(&configuration.digest).await?;
        Image::parse(&bytes).map_err(|error| Fault::Other(format!("its configuration cannot be read: {error}")))
    }

    /// The image for the nodes' system among those of an index. Entrypoints hardly ever differ.
    fn choose(&self, manifests: &[Descriptor]) -> Result<String, Fault> {
        let fits = |descriptor: &&Descriptor| {
            let platform = descriptor.platform.as_ref();
            platform.is_some_and(|platform| {
                platform.os == self.operating_system && platform.architecture == self.architecture
            })
        };
        let found = manifests.iter().find(fits);
        let found = found.ok_or_else(|| {
            Fault::Other(format!(
                "it is not made for {}/{}",
                self.operating_system, self.architecture
            ))
        })?;
        Ok(found.digest.clone())
    }

    fn url(&self, reference: &Reference, path: &str) -> Result<Url, Fault> {
        let host = reference.host();
        let insecure = self.insecure.iter().any(|registry| registry == host);
        let scheme = if insecure { "http" } else { "https" };
        let url = format!("{scheme}://{host}/v2/{}/{path}", reference.repository());
        Url::parse(&url).map_err(Fault::other)
    }
}

/// One image's way through its registry.
struct Session<'image> {
    registry: &'image Registry,
    reference: &'image Reference,
    credential: Option<&'image Credential>,
    authorization: Option<HeaderValue>,
}

impl Session<'_> {
    async fn manifest(&mut self, version: &str) -> Result<Manifest, Fault> {
        let url = self.registry.url(self.reference, &format!("manifests/{version}"))?;
        let accept = [INDEX_TYPES, MANIFEST_TYPES].concat().join(", ");
        let bytes = self.get(url, &accept, MANIFEST_LIMIT).await?;
        check(version, &bytes)?;
        serde_json::from_slice(&bytes).map_err(|error| Fault::Other(format!("its manifest cannot be read: {error}")))
    }

    async fn blob(&mut self, digest: &str) -> Result<Vec<u8>, Fault> {
        if !is_digest(digest) {
            return Err(Fault::other(
                "its manifest names a configuration by something that is no SHA-256",
            ));
        }
        let url = self.registry.url(self.reference, &format!("blobs/{digest}"))?;
        let bytes = self.get(url, "*/*", CONFIGURATION_LIMIT).await?;
        check(digest, &bytes)?;
        Ok(bytes)
    }

    /// Asks; and again, with a right that it gets where the registry says, if the registry wants one.
    async fn get(&mut self, url: Url, accept: &str, limit: usize) -> Result<Vec<u8>, Fault> {
        let mut response = self.ask(url.clone(), accept).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.authorization.is_none() {
            self.authorization = self.authorize(response.headers()).await?;
            if self.authorization.is_some() {
                response = self.ask(url, accept).await?;
            }
        }
        let status = response.status();
        if status.is_success() {
            return read(response, limit).await;
        }
        let words = words_of(response).await;
        match status {
            StatusCode::NOT_FOUND => Err(Fault::Missing(words)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Fault::Denied(words)),
            _ => Err(Fault::Other(words)),
        }
    }

    async fn ask(&self, url: Url, accept: &str) -> Result<Response, Fault> {
        let mut request = self.registry.http.get(url).header(ACCEPT, accept);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        request.send().await.map_err(|error| Fault::Other(chain(&error)))
    }

    /// The right that a refusal asks for; none if this cluster has nothing to show.
    async fn authorize(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Fault> {
        let challenges = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| Challenge::parse(value.to_str().ok()?));
        for challenge in challenges {
            match challenge {
                Challenge::Basic => {
                    let Some(credential) = self.credential else { continue };
                    return Ok(Some(basic(credential)?));
                }
                Challenge::Bearer { realm, service } => return self.token(&realm, service.as_deref()).await.map(Some),
            }
        }
        Ok(None)
    }

    async fn token(&self, realm: &str, service: Option<&str>) -> Result<HeaderValue, Fault> {
        let mut url = Url::parse(realm).map_err(|_| Fault::other("the registry names no place for tokens"))?;
        // A password goes nowhere without TLS, unless that is how the registry is set up here.
        if url.scheme() != "https" && !self.registry.insecure.contains(&authority(&url)) {
            return Err(Fault::other("the registry's place for tokens has no TLS"));
        }
        let scope = format!("repository:{}:pull", self.reference.repository());
        url.query_pairs_mut()
            .append_pair("scope", &scope)
            .extend_pairs(service.map(|service| ("service", service)));
        let mut request = self.registry.http.get(url);
        if let Some(credential) = self.credential {
            request = request.header(AUTHORIZATION, basic(credential)?);
        }
        let response = request.send().await.map_err(|error| Fault::Other(chain(&error)))?;
        if !response.status().is_success() {
            return Err(Fault::Denied(words_of(response).await));
        }
        let bytes = read(response, SMALL_LIMIT).await?;
        let token: Token =
            serde_json::from_slice(&bytes).map_err(|_| Fault::other("the registry's token makes no sense"))?;
        secret_header(format!("Bearer {}", token.token.expose_secret()))
    }
}

fn basic(credential: &Credential) -> Result<HeaderValue, Fault> {
    use base64::Engine;
    let pair = format!("{}:{}", credential.user, credential.password.expose_secret());
    secret_header(format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    ))
}

fn secret_header(text: String) -> Result<HeaderValue, Fault> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| Fault::other("a credential has characters that no request can have"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// `host`, or `host:port` if the port is not the usual one.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What was asked for by its digest must have it.
fn check(version: &str, bytes: &[u8]) -> Result<(), Fault> {
    let Some(expected) = version.strip_prefix("sha256:") else {
        return Ok(());
    };
    let found: String = digest(&SHA256, bytes)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if found == expected {
        Ok(())
    } else {
        Err(Fault::other("the registry sent something else than what it names"))
    }
}

async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Fault::Other(chain(&error)))? {
        if bytes.len() + chunk.len() > limit {
            return Err(Fault::Other(format!("the registry sent more than {limit} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// What a registry says in a refusal, if it says it as registries do; else only the status.
async fn words_of(response: Response) -> String {
    let status = response.status();
    let bytes = read(response, SMALL_LIMIT).await.unwrap_or_default();
    let said: Option<Refusal> = serde_json::from_slice(&bytes).ok();
    let words = said.and_then(|refusal| refusal.errors.into_iter().next());
    let words = words.map(|said| {
        if said.message.is_empty() {
            said.code
        } else {
            said.message
        }
    });
    let words = words
        .filter(|words| !words.is_empty())
        .unwrap_or_else(|| status.to_string());
    words
        .chars()
        .filter(|character| !character.is_control())
        .take(WORDS_LIMIT)
        .collect()
}

/// An error with its causes: the outermost alone says `error sending request`.
fn chain(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words.chars().take(WORDS_LIMIT).collect()
}
