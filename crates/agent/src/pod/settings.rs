use std::path::PathBuf;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use tombolo_core::name::ClusterName;
use tombolo_identity::member::Member;
use tombolo_identity::tls::{self, ClientTls};
use tombolo_identity::transport::Address;
use tombolo_identity::trust::Trust;

/// What a courier must know, as the variables `TOMBOLO_COURIER_*` of its container say it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the agent listens to couriers.
    pub agent: Address,
    /// The agent's cluster; another's certificate is not believed.
    pub cluster: ClusterName,
    /// The roots by which the agent is believed.
    pub trust: Trust,
    /// The right to act for one attempt.
    pub token: SecretString,
}

/// A courier that does not know what it must.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such variable.
    #[error("the variable {0} is missing")]
    Missing(&'static str),
    /// It says what cannot be used.
    #[error("the variable {name}: {reason}")]
    Invalid {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// `host:port`.
const AGENT: &str = "TOMBOLO_COURIER_AGENT";
const CLUSTER: &str = "TOMBOLO_COURIER_CLUSTER";
/// A path, or the PEM text itself.
const TRUST: &str = "TOMBOLO_COURIER_TRUST";
const TOKEN_FILE: &str = "TOMBOLO_COURIER_TOKEN_FILE";

impl Settings {
    /// Reads the variables that `variable` gives, and the files that they name.
    ///
    /// # Errors
    /// See [`Error`]. No message shows the token.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let required = |name| variable(name).ok_or(Error::Missing(name));
        let file = |name, path: &str| {
            std::fs::read_to_string(path).map_err(|error| Error::Invalid {
                name,
                reason: format!("{}: {error}", PathBuf::from(path).display()),
            })
        };
        let trust = required(TRUST)?;
        let trust = if trust.trim_start().starts_with("-----BEGIN") {
            trust
        } else {
            file(TRUST, &trust)?
        };
        let token = file(TOKEN_FILE, &required(TOKEN_FILE)?)?;
        let settings = Self {
            agent: required(AGENT)?.parse().map_err(invalid(AGENT))?,
            cluster: required(CLUSTER)?.parse().map_err(invalid(CLUSTER))?,
            trust: Trust::from_pem(&trust).map_err(invalid(TRUST))?,
            token: SecretString::from(token.trim().to_owned()),
        };
        settings.authorization().map(|_| settings)
    }

    /// How the courier dials the agent.
    pub(super) fn tls(&self) -> Result<ClientTls, tls::Error> {
        tls::anonymous(&self.trust, &Member::Cluster(self.cluster.clone()))
    }

    /// What every call to the agent shows.
    pub(super) fn authorization(&self) -> Result<HeaderValue, Error> {
        let token = self.token.expose_secret();
        let value = HeaderValue::from_str(&format!("Bearer {token}"))
            .ok()
            .filter(|_| !token.is_empty());
        let mut value = value.ok_or(Error::Invalid {
            name: TOKEN_FILE,
            reason: "the file does not hold a token".to_owned(),
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn invalid<E: ToString>(name: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Invalid {
        name,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tombolo_core::time::Timestamp;
    use tombolo_identity::authority::Authority;
    use tombolo_identity::member::TrustDomain;

    use super::*;

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let trust = Authority::create(TrustDomain::default(), Timestamp(0))
            .unwrap()
            .trust()
            .pem();
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (bundle, token) = (path("trust.pem", &trust), path("token", "secret\n"));
        let good = [
            (AGENT, "agent:7444"),
            (CLUSTER, "east"),
            (TRUST, &bundle),
            (TOKEN_FILE, &token),
        ];
        let read = |change: Option<(&str, Option<&str>)>| {
            Settings::read(|name| match change {
                Some((changed, value)) if changed == name => value.map(str::to_owned),
                _ => good
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned()),
            })
        };
        assert_eq!(read(None).unwrap().authorization().unwrap(), "Bearer secret");
        read(Some((TRUST, Some(&trust)))).unwrap();
        for (name, _) in good {
            let error = read(Some((name, None))).unwrap_err().to_string();
            assert_eq!(error, format!("the variable {name} is missing"));
        }
        let empty = path("empty", "");
        for (name, value) in [
            (AGENT, "agent"),
            (CLUSTER, "East!"),
            (TRUST, "/nowhere"),
            (TRUST, "-----BEGIN NONSENSE-----"),
            (TOKEN_FILE, "/nowhere"),
            (TOKEN_FILE, &empty),
        ] {
            let error = read(Some((name, Some(value)))).unwrap_err().to_string();
            assert!(error.starts_with(&format!("the variable {name}: ")), "{error}");
        }
    }
}
