//! Contexts: which master to talk to, as whom, and which project is meant. Kept in one file of the user's.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use etcetera::{AppStrategy, AppStrategyArgs, choose_app_strategy};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use tombolo_core::name::ProjectName;
use url::Url;

use crate::failure::Failure;

/// The variable that names another file than the user's own.
pub(crate) const VARIABLE: &str = "TOMBOLO_CONFIG";

/// The variable whose token is used instead of the context's.
pub(crate) const TOKEN_VARIABLE: &str = "TOMBOLO_TOKEN";

/// All contexts.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that commands use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// By name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// One master and one user.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// Where the master's REST API is.
    pub(crate) server: Url,
    /// The name that the server's certificate must have, if it is not the host of `server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_name: Option<String>,
    /// Certificates (PEM) to trust instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate_authority: Option<String>,
    /// The user's token.
    #[serde(serialize_with = "expose")]
    pub(crate) token: SecretString,
    /// The project that is meant when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<ProjectName>,
}

fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// The file that contexts are kept in.
pub(crate) fn path() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os(VARIABLE) {
        return Ok(PathBuf::from(path));
    }
    let arguments = AppStrategyArgs {
        top_level_domain: "dev".to_owned(),
        author: "tombolo".to_owned(),
        app_name: "tombolo".to_owned(),
    };
    let strategy = choose_app_strategy(arguments)
        .map_err(|error| Failure::usage(error).hint(format!("set {VARIABLE} to a file for the contexts")))?;
    Ok(strategy.config_dir().join("cli.toml"))
}

impl Contexts {
    /// Reads the file; no contexts if there is none.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
        };
        toml::from_str(&text).map_err(|error| {
            Failure::usage(format!("{} is not valid: {error}", path.display()))
                .hint("correct it, or remove it and log in again")
        })
    }

    /// Writes the file whole or not at all; only the user can read it.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Failure> {
        let fail = |error: &dyn std::fmt::Display| Failure::usage(format!("cannot write {}: {error}", path.display()));
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|error| fail(&error))?;
        let text = toml::to_string(self).map_err(|error| fail(&error))?;
        let mut file = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(folder)
            .map_err(|error| fail(&error))?;
        file.write_all(text.as_bytes()).map_err(|error| fail(&error))?;
        file.persist(path).map_err(|error| fail(&error))?;
        Ok(())
    }

    /// The context to use: the named one, else the current one.
    pub(crate) fn select(&self, name: Option<&str>) -> Result<&Context, Failure> {
        let name = name.or(self.current.as_deref()).ok_or_else(|| {
            Failure::usage("you are not logged in anywhere").hint("`tombolo login URL`, or `tombolo dev` for a trial")
        })?;
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<_> = self.contexts.keys().map(String::as_str).collect();
            Failure::usage(format!("there is no context `{name}`")).hint(format!("known are: {}", known.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Contexts {
        let context = Context {
            server: Url::parse("https://localhost:8443").expect("valid"),
            server_name: None,
            certificate_authority: None,
            token: SecretString::from("s3cret"),
            project: None,
        };
        Contexts {
            current: Some("dev".to_owned()),
            contexts: BTreeMap::from([("dev".to_owned(), context)]),
        }
    }

    #[test]
    fn survive_the_file_which_only_the_user_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/cli.toml");
        sample().save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let contexts = Contexts::load(&path).unwrap();
        assert_eq!(contexts.select(None).unwrap().token.expose_secret(), "s3cret");
        assert_eq!(
            contexts.select(Some("prod")).unwrap_err().hint.as_deref(),
            Some("known are: dev")
        );
    }

    #[test]
    fn a_missing_file_is_no_contexts_and_a_broken_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cli.toml");
        assert!(Contexts::load(&path).unwrap().select(None).is_err());
        fs::write(&path, "current = 3").unwrap();
        assert!(
            Contexts::load(&path)
                .unwrap_err()
                .message
                .contains("cli.toml is not valid")
        );
    }
}
