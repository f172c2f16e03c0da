//! Which server and database, how to get in, and how far to trust the way there.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::tls::{self, Connector, Verification};

/// How long the way to one address may take.
const SOCKET_MAX: Duration = Duration::from_secs(5);
/// After how long without a word the peer is asked whether it is there, how often, and when it is given up.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long what was sent may stay without an acknowledgement by the peer's kernel.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// What this module reads of a URL's parameters itself.
const SSL_MODE: &str = "sslmode";
const SSL_ROOT: &str = "sslrootcert";

/// Where a database is, and how to get in.
#[derive(Debug, Clone)]
pub struct Location {
    /// `postgres://user@host[:port][,host[:port]...]/database[?parameters]`. It may have the password in it.
    pub url: SecretString,
    /// The password, if it is not in the URL.
    pub password: Option<SecretString>,
    /// PEM file with the authorities that may have signed the server's certificate, if the URL does not say so (`sslrootcert`).
    pub root_certificates: Option<PathBuf>,
}

/// Why a location cannot be. Says nothing that may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidLocation(pub String);

impl Location {
    /// A location with nothing but its URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: SecretString::from(url.into()),
            password: None,
            root_certificates: None,
        }
    }

    /// Whether the URL has a password in it.
    pub fn has_password_in_url(&self) -> bool {
        parse(&self.url).is_ok_and(|(config, _)| config.get_password().is_some())
    }

    /// What can be said against it without connecting, or reading files.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn check(&self) -> Result<(), InvalidLocation> {
        self.resolve().map(drop)
    }

    fn resolve(&self) -> Result<(Config, Verification, Option<PathBuf>), InvalidLocation> {
        let (mut config, own) = parse(&self.url)?;
        if let Some(password) = &self.password {
            if config.get_password().is_some() {
                return Err(invalid("there is a password in the URL, and another one beside it"));
            }
            config.password(password.expose_secret());
        }
        for (what, is_missing) in [
            ("database", config.get_dbname().is_none()),
            ("user", config.get_user().is_none()),
            ("host", config.get_hosts().is_empty()),
        ] {
            if is_missing {
                let reason = format!("the URL names no {what}: `postgres://user@host/database`");
                return Err(InvalidLocation(reason));
            }
        }
        // Part of a password would then be taken for a host, and shown.
        if config
            .get_hosts()
            .iter()
            .any(|host| matches!(host, Host::Tcp(name) if name.contains('@')))
        {
            return Err(invalid(
                "the URL has more than one `@`; in a password it is written as `%40`",
            ));
        }
        let verification = mode(&mut config, own.mode.as_deref())?;
        let roots = own.roots.or_else(|| self.root_certificates.clone());
        Ok((config, verification, roots))
    }
}

/// A location that was read.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) connector: Connector,
    /// For people: server and database, nothing secret.
    pub(super) place: String,
    /// For people.
    pub(super) user: String,
}

impl Target {
    pub(super) fn read(location: &Location) -> Result<Self, InvalidLocation> {
        let (mut config, verification, roots) = location.resolve()?;
        let connector = tls::connector(verification, roots.as_deref()).map_err(InvalidLocation)?;
        config
            .connect_timeout(SOCKET_MAX)
            .tcp_user_timeout(UNACKNOWLEDGED_MAX)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES)
            // Of several servers, the one that is written to.
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Self {
            connector,
            place: place(&config),
            user: config.get_user().unwrap_or_default().to_owned(),
            config,
        })
    }
}

fn invalid(reason: &str) -> InvalidLocation {
    InvalidLocation(reason.to_owned())
}

/// The parameters of a URL that the library does not know, or does not mean as they are meant here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Own {
    mode: Option<String>,
    roots: Option<PathBuf>,
}

fn parse(url: &SecretString) -> Result<(Config, Own), InvalidLocation> {
    let url = url.expose_secret();
    if !["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err(invalid(
            "the URL is not of the form `postgres://user@host[:port]/database`",
        ));
    }
    // A password may have a question mark in it; what comes after the last `@` has none but that of the parameters.
    let after_credentials = url.find('@').unwrap_or(0);
    let question = url[after_credentials..]
        .find('?')
        .map(|place| after_credentials + place);
    let (base, parameters) = question.map_or((url, ""), |place| (&url[..place], &url[place + 1..]));
    let mut own = Own::default();
    let mut others = Vec::new();
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some((SSL_MODE, value)) => own.mode = Some(value.to_owned()),
            Some((SSL_ROOT, value)) => own.roots = Some(PathBuf::from(decoded(value)?)),
            _ => others.push(parameter),
        }
    }
    let rest = format!("{base}?{}", others.join("&"));
    let rest = rest.strip_suffix('?').unwrap_or(&rest);
    let config: Config = rest.parse().map_err(|error: tokio_postgres::Error| {
        // What the parser says names parameters, but repeats none of their values.
        InvalidLocation(format!("the URL cannot be read: {}", super::error::text(&error)))
    })?;
    Ok((config, own))
}

fn decoded(value: &str) -> Result<String, InvalidLocation> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
        let [Some(high), Some(low)] = digits else {
            return Err(invalid(
                "`sslrootcert` has a `%` that two hexadecimal digits must follow",
            ));
        };
        bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
    }
    String::from_utf8(bytes).map_err(|_| invalid("`sslrootcert` is no text"))
}

/// What `sslmode` means here, where it is `require` as well as `verify-full` that the certificate is verified, and where nobody is
/// trusted who is not on this machine unless the URL says so.
fn mode(config: &mut Config, mode: Option<&str>) -> Result<Verification, InvalidLocation> {
    let (mode, verification) = match mode {
        Some("disable") => (SslMode::Disable, Verification::Full),
        Some("prefer") => (SslMode::Prefer, Verification::None),
        Some("require" | "verify-full") => (SslMode::Require, Verification::Full),
        Some(other) => {
            return Err(InvalidLocation(format!(
                "`sslmode={}` is not known: give `disable`, `prefer` (encrypted if the server can, not verified), or `verify-full`",
                other.escape_debug()
            )));
        }
        None if config.get_hosts().iter().all(is_here) && config.get_hostaddrs().iter().all(|ip| ip.is_loopback()) => {
            (SslMode::Disable, Verification::Full)
        }
        None => (SslMode::Require, Verification::Full),
    };
    config.ssl_mode(mode);
    Ok(verification)
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
    }
}

fn place(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(index, host)| {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        })
        .collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Target, InvalidLocation> {
        Target::read(&Location::new(url))
    }

    #[test]
    fn a_url_says_where_and_how() {
        for (url, place, mode) in [
            (
                "postgres://tombolo@localhost/builds",
                "localhost:5432/builds",
                SslMode::Disable,
            ),
            ("postgresql://tombolo@127.0.0.1:7/b", "127.0.0.1:7/b", SslMode::Disable),
            (
                "postgres://t@/b?host=/run/postgresql",
                "/run/postgresql:5432/b",
                SslMode::Disable,
            ),
            ("postgres://t@db.example/b", "db.example:5432/b", SslMode::Require),
            ("postgres://t@one:1,two:2/b", "one:1,two:2/b", SslMode::Require),
            (
                "postgres://t@localhost,two/b",
                "localhost:5432,two:5432/b",
                SslMode::Require,
            ),
            (
                "postgres://t@localhost/b?sslmode=require",
                "localhost:5432/b",
                SslMode::Require,
            ),
            ("postgres://t@db/b?sslmode=verify-full", "db:5432/b", SslMode::Require),
            (
                "postgres://t@db/b?sslmode=prefer&connect_timeout=3",
                "db:5432/b",
                SslMode::Prefer,
            ),
            ("postgres://t:a%3Fb@db/b?sslmode=disable", "db:5432/b", SslMode::Disable),
        ] {
            let target = read(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(
                (target.place.as_str(), target.config.get_ssl_mode()),
                (place, mode),
                "{url}"
            );
        }
    }

    #[test]
    fn what_cannot_be_is_said_without_the_password() {
        for (url, word) in [
            ("mysql://t:hunter2@db/b", "postgres://"),
            ("host=db password=hunter2", "postgres://"),
            ("postgres://t:hunter2@db", "no database"),
            ("postgres://db/b", "no user"),
            ("postgres://t:hunter2@/b", "no host"),
            ("postgres://t:hunter2@db:port/b", "cannot be read"),
            ("postgres://t:hun@hunter2@db/b", "%40"),
            ("postgres://t:hunter2@db/b?sslmode=verify-ca", "verify-ca"),
            ("postgres://t:hunter2@db/b?sslcrl=x", "sslcrl"),
            ("postgres://t:hunter2@db/b?sslrootcert=%2", "sslrootcert"),
            (
                "postgres://t:hunter2@db/b?sslrootcert=/nowhere/ca.pem",
                "/nowhere/ca.pem",
            ),
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.contains(word), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
            assert!(!format!("{:?}", Location::new(url)).contains("hunter2"));
        }
        let mut twice = Location::new("postgres://t:hunter2@db/b");
        assert!(twice.has_password_in_url());
        twice.password = Some(SecretString::from("hunter3".to_owned()));
        let error = twice.check().unwrap_err().to_string();
        assert!(error.contains("beside") && !error.contains("hunter"), "{error}");
    }

    #[test]
    fn a_password_beside_the_url_is_used() {
        let mut location = Location::new("postgres://t@db/b?sslmode=disable");
        assert!(!location.has_password_in_url());
        location.password = Some(SecretString::from("hunter2".to_owned()));
        let target = Target::read(&location).unwrap();
        assert_eq!(target.config.get_password(), Some(&b"hunter2"[..]));
        assert!(!format!("{target:?}").contains("hunter2"));
    }
}
