//! The credentials in pull secrets: Docker's configuration, new (`.dockerconfigjson`) and old (`.dockercfg`).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::reference::Reference;

/// A user of a registry.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The user's name.
    pub user: String,
    /// The user's password or token.
    pub password: SecretString,
}

/// A pull secret that makes no sense. Its text is in no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredentials {
    /// It is not JSON of the right form.
    #[error("it is not a Docker configuration")]
    Form,
    /// An entry has neither name and password nor both in `auth`.
    #[error("its entry for `{0}` has neither `auth` nor `username` and `password`")]
    Entry(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Configuration {
    New { auths: BTreeMap<String, Entry> },
    Old(BTreeMap<String, Entry>),
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<SecretString>,
    username: Option<String>,
    password: Option<SecretString>,
}

/// The credential for an image; none if no secret has one. The entry that names the registry, or most of the repository, wins;
/// among equal ones the first.
///
/// # Errors
/// See [`InvalidCredentials`]; of entries for other registries only the form is looked at.
pub fn find(pull_secrets: &[SecretString], reference: &Reference) -> Result<Option<Credential>, InvalidCredentials> {
    let mut best: Option<(usize, Credential)> = None;
    for secret in pull_secrets {
        let configuration = serde_json::from_str(secret.expose_secret()).map_err(|_| InvalidCredentials::Form)?;
        let (Configuration::New { auths: entries } | Configuration::Old(entries)) = configuration;
        for (key, entry) in entries {
            let Some(precision) = precision(&key, reference) else {
                continue;
            };
            if best.as_ref().is_none_or(|(known, _)| precision > *known) {
                best = Some((precision, credential(&key, entry)?));
            }
        }
    }
    Ok(best.map(|(_, credential)| credential))
}

fn credential(key: &str, entry: Entry) -> Result<Credential, InvalidCredentials> {
    let invalid = || InvalidCredentials::Entry(key.to_owned());
    if let (Some(user), Some(password)) = (entry.username, entry.password) {
        return Ok(Credential { user, password });
    }
    let auth = entry.auth.ok_or_else(invalid)?;
    let bytes = STANDARD.decode(auth.expose_secret().trim()).map_err(|_| invalid())?;
    let text = String::from_utf8(bytes).map_err(|_| invalid())?;
    let (user, password) = text.split_once(':').ok_or_else(invalid)?;
    Ok(Credential {
        user: user.to_owned(),
        password: password.to_owned().into(),
    })
}

/// How precisely a key names an image; none if it names others. Keys are `registry`, `https://registry/v1/`,
/// `registry/part/of/repository` or `*.example.org`.
fn precision(key: &str, reference: &Reference) -> Option<usize> {
    let key = key
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .trim_end_matches('/');
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    let within = |repository: &str| {
        repository == path || repository.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
    };
    let holds = is_host(host, reference.registry()) && (path.is_empty() || within(reference.repository()));
    let exact = usize::from(!host.contains('*'));
    holds.then_some(1 + exact + path.len() * 2)
}

/// `*` stands for one label of a host's name.
fn is_host(pattern: &str, host: &str) -> bool {
    let (pattern, host): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern.len() == host.len()
        && pattern
            .iter()
            .zip(host)
            .all(|(pattern, label)| *pattern == "*" || *pattern == label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(secrets: &[&str], image: &str) -> Option<String> {
        let secrets: Vec<_> = secrets.iter().map(|&text| SecretString::from(text)).collect();
        let found = find(&secrets, &Reference::parse(image).unwrap()).unwrap();
        found.map(|credential| format!("{}:{}", credential.user, credential.password.expose_secret()))
    }

    #[test]
    fn every_form_and_the_most_precise_entry() {
        let whole = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"aHViOnBhc3M6d29yZA=="},
            "registry.example.org:5000":{"username":"plain","password":"p"},
            "registry.example.org:5000/team":{"username":"team","password":"t"},
            "*.cloud.org":{"username":"any","password":"a"},
            "eu.cloud.org":{"username":"eu","password":"e"}}}"#;
        let old = r#"{"old.example.org":{"username":"old","password":"o","email":"x"}}"#;
        for (image, expected) in [
            ("node:22", Some("hub:pass:word")),
            ("registry.example.org:5000/other/x", Some("plain:p")),
            ("registry.example.org:5000/team/x", Some("team:t")),
            ("registry.example.org:5000/teamwork/x", Some("plain:p")),
            ("registry.example.org/x", None),
            ("us.cloud.org/x", Some("any:a")),
            ("eu.cloud.org/x", Some("eu:e")),
            ("a.b.cloud.org/x", None),
            ("old.example.org/x", Some("old:o")),
        ] {
            assert_eq!(user(&[whole, old], image).as_deref(), expected, "{image}");
        }
        assert_eq!(user(&[], "node"), None);
    }

    #[test]
    fn faults_name_the_entry_and_no_secret() {
        let reference = Reference::parse("r.org/x").unwrap();
        for text in [
            r#"{"auths":{"r.org":{}}}"#,
            r#"{"auths":{"r.org":{"auth":"topsecret!"}}}"#,
            r#"{"auths":{"r.org":{"auth":"bm9jb2xvbg=="}}}"#,
        ] {
            let error = find(&[text.into()], &reference).unwrap_err();
            assert_eq!(error, InvalidCredentials::Entry("r.org".to_owned()), "{text}");
            assert!(!format!("{error} {error:?}").contains("topsecret"));
        }
        for text in ["", "[]", "{\"auths\": 3}"] {
            assert_eq!(
                find(&[text.into()], &reference).unwrap_err(),
                InvalidCredentials::Form,
                "{text}"
            );
        }
    }
}
