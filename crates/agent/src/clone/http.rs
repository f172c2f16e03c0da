//! A git server by HTTP, read as one reads a file: every wait has its end, and nobody is led anywhere.

use std::io::{self, Read};
use std::net::IpAddr;
use std::time::Duration;

use bytes::{Buf, Bytes};
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use url::{Host, Url};

use super::failure::{Failure, chain, through_reader};

const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// How often it may lead on.
const REDIRECTS: usize = 3;

/// Who asks.
pub(super) struct Login {
    username: Option<String>,
    password: Option<SecretString>,
}

impl Login {
    pub(super) const fn new(username: Option<String>, password: Option<SecretString>) -> Self {
        Self { username, password }
    }

    const fn is_given(&self) -> bool {
        self.password.is_some()
    }
}

/// A repository on a server.
pub(super) struct Server {
    client: Client,
    runtime: Runtime,
    /// Without a slash at its end.
    base: Url,
    login: Login,
    silence: Duration,
}

impl Server {
    pub(super) fn new(url: &str, login: Login, silence: Duration) -> Result<Self, Failure> {
        let address = |reason: &str| Failure::Address {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let mut base = Url::parse(url).map_err(|error| address(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(address("only `https` and `http` are spoken"));
        }
        if login.is_given() && base.scheme() != "https" && !is_loopback(&base) {
            return Err(Failure::Clear(host(&base)));
        }
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        base.set_query(None);
        base.set_fragment(None);
        let client = Client::builder()
            .user_agent(AGENT)
            .connect_timeout(CONNECT_WITHIN.min(silence))
            .redirect(Policy::none())
            .build()
            .map_err(|error| Failure::Unreachable {
                host: host(&base),
                reason: chain(&error),
            })?;
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            client,
            runtime: runtime.map_err(Failure::system("start a runtime"))?,
            base,
            login,
            silence,
        })
    }

    /// Who it is, for messages.
    pub(super) fn host(&self) -> String {
        host(&self.base)
    }

    /// Asks what there is. Where the server leads on, that is where it is from now on.
    pub(super) fn advertisement(&mut self) -> Result<Body<'_>, Failure> {
        const QUESTION: &str = "service=git-upload-pack";
        for _ in 0..=REDIRECTS {
            let mut url = self.base.clone();
            url.set_path(&format!("{}/info/refs", self.base.path().trim_end_matches('/')));
            url.set_query(Some(QUESTION));
            let request = self.client.get(url.clone()).header("Git-Protocol", "version=2");
            let response = self.send(request)?;
            if !response.status().is_redirection() {
                return self.body(response, "application/x-git-upload-pack-advertisement");
            }
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.and_then(|to| url.join(to).ok());
            self.base = self.led_on(to)?;
        }
        Err(Failure::LedOn {
            host: self.host(),
            to: "place after place".to_owned(),
        })
    }

    /// Asks for something in git's own words.
    pub(super) fn ask(&self, words: Vec<u8>) -> Result<Body<'_>, Failure> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/git-upload-pack", self.base.path().trim_end_matches('/')));
        let request = self
            .client
            .post(url)
            .header("Git-Protocol", "version=2")
            .header(CONTENT_TYPE, "application/x-git-upload-pack-request")
            .header(ACCEPT, "application/x-git-upload-pack-result")
            .body(words);
        let response = self.send(request)?;
        self.body(response, "application/x-git-upload-pack-result")
    }

    fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let request = match (&self.login.username, &self.login.password) {
            (user, Some(password)) => {
                let user = user.as_deref().unwrap_or("git");
                request.basic_auth(user, Some(password.expose_secret()))
            }
            (Some(user), None) => request.basic_auth(user, None::<&str>),
            (None, None) => request,
        };
        let sending = async { timeout(self.silence, request.send()).await };
        match self.runtime.block_on(sending) {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Failure::Unreachable {
                host: self.host(),
                reason: chain(&error.without_url()),
            }),
            Err(_) => Err(Failure::Silent {
                host: self.host(),
                after: self.silence,
            }),
        }
    }

    /// What an answer says, if it is one.
    fn body(&self, response: Response, expected: &str) -> Result<Body<'_>, Failure> {
        let (host, status) = (self.host(), response.status());
        let code = status.as_u16();
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED if !self.login.is_given() => return Err(Failure::AsksForPassword { host }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(Failure::Denied { host, status: code }),
            StatusCode::NOT_FOUND | StatusCode::GONE => return Err(Failure::NoRepository { host, status: code }),
            _ => return Err(Failure::Status { host, status: code }),
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_none_or(|kind| !kind.starts_with(expected)) {
            let reason = "what is there is something else, or an old server without the smart protocol".to_owned();
            return Err(Failure::NotGit { host, reason });
        }
        Ok(Body {
            server: self,
            response,
            bytes: Bytes::new(),
        })
    }

    /// The repository's address as the server gives it: its own, and never one without TLS after one with it.
    fn led_on(&self, to: Option<Url>) -> Result<Url, Failure> {
        let refused = |to: &str| Failure::LedOn {
            host: self.host(),
            to: super::failure::words(to),
        };
        let mut to = to.ok_or_else(|| refused("nowhere"))?;
        let same_host = to.host() == self.base.host();
        let same_port = to.port_or_known_default() == self.base.port_or_known_default();
        let is_safer = self.base.scheme() == "http" && to.scheme() == "https";
        if !same_host || !(to.scheme() == self.base.scheme() && same_port || is_safer) {
            return Err(refused(to.as_str()));
        }
        let path = to.path().strip_suffix("/info/refs").map(str::to_owned);
        let path = path.ok_or_else(|| refused(to.as_str()))?;
        to.set_path(&path);
        to.set_query(None);
        Ok(to)
    }
}

/// How we are called.
pub(super) const AGENT: &str = concat!("tombolo/", env!("CARGO_PKG_VERSION"));

fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or("the server");
    url.port()
        .map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// What a server says, as it comes.
pub(super) struct Body<'server> {
    server: &'server Server,
    response: Response,
    bytes: Bytes,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (host, silence) = (self.server.host(), self.server.silence);
        while self.bytes.is_empty() {
            let response = &mut self.response;
            let next = self
                .server
                .runtime
                .block_on(async { timeout(silence, response.chunk()).await });
            self.bytes = match next {
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) => return Ok(0),
                Ok(Err(error)) => {
                    let reason = chain(&error.without_url());
                    return Err(through_reader(Failure::Unreachable { host, reason }));
                }
                Err(_) => {
                    return Err(through_reader(Failure::Silent { host, after: silence }));
                }
            };
        }
        let count = self.bytes.len().min(buffer.len());
        self.bytes.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
