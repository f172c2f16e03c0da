//! A typed configuration from one TOML file and the environment.
//!
//! A variable `<PREFIX>_PEER__LISTEN` overrides the key `peer.listen` of the file. Types decide what is valid: give them
//! `#[serde(deny_unknown_fields)]`, and a misspelt key or variable is an error instead of being ignored.

mod reading;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use ::config::{Config, Environment, File, FileFormat};
use serde::de::DeserializeOwned;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its text, or a variable's, is not what it must be. Names the key and where it was found.
    #[error("the configuration is not valid: {reason}{}", hint(file.as_deref(), prefix))]
    Invalid {
        /// The file that was read, if any.
        file: Option<PathBuf>,
        /// The prefix of the variables that were read.
        prefix: String,
        /// What is wrong, with key and origin.
        reason: String,
    },
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Which.
    pub key: Cow<'static, str>,
    /// Why.
    pub reason: String,
}

/// All settings that cannot be: whoever corrects one is to hear of the others too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Invalid>);

impl Faults {
    /// Notes a setting that cannot be.
    pub fn add(&mut self, key: impl Into<Cow<'static, str>>, reason: impl fmt::Display) {
        self.0.push(Invalid {
            key: key.into(),
            reason: reason.to_string(),
        });
    }

    /// The value, or a note of why there is none.
    pub fn take<T, E: fmt::Display>(&mut self, key: &'static str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(key, error)).ok()
    }

    /// In the order in which they were found.
    pub fn all(&self) -> &[Invalid] {
        &self.0
    }

    /// The result of a check that has come to its end; none of `checked` if something was needed and not there.
    ///
    /// # Errors
    /// The faults, if there are any.
    pub fn finish<T>(self, checked: Option<T>) -> Result<T, Self> {
        match checked {
            Some(checked) if self.0.is_empty() => Ok(checked),
            _ => Err(self),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [Invalid { key, reason }] = self.0.as_slice() {
            return write!(formatter, "the setting `{key}` is not valid: {reason}");
        }
        write!(formatter, "{} settings are not valid:", self.0.len())?;
        self.0
            .iter()
            .try_for_each(|Invalid { key, reason }| write!(formatter, "\n  `{key}`: {reason}"))
    }
}

impl std::error::Error for Faults {}

fn hint(file: Option<&Path>, prefix: &str) -> String {
    match file {
        Some(file) => format!(" (read from {} and the variables {prefix}_*)", file.display()),
        None => format!(" (read from the variables {prefix}_*)"),
    }
}

/// Reads the file (if one is given; it must exist then) and this process's environment.
///
/// # Errors
/// See [`Error`].
pub fn load<T: DeserializeOwned>(file: Option<&Path>, prefix: &str) -> Result<T, Error> {
    load_from(file, prefix, std::env::vars().collect())
}

/// As [`load`], with an environment that the caller gives.
///
/// # Errors
/// See [`Error`].
pub fn load_from<T: DeserializeOwned>(
    file: Option<&Path>,
    prefix: &str,
    environment: HashMap<String, String>,
) -> Result<T, Error> {
    let invalid = |reason: String| Error::Invalid {
        file: file.map(Path::to_owned),
        prefix: prefix.to_owned(),
        reason,
    };
    let mut builder = Config::builder();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
    }
    let variables = Environment::with_prefix(prefix)
        .prefix_separator("_")
        .separator("__")
        .source(Some(environment));
    let merged = builder
        .add_source(variables)
        .build()
        .map_err(|error| invalid(error.to_string()))?;
    T::deserialize(reading::Read(merged.cache)).map_err(|fault| invalid(fault.to_string()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        slots: u32,
        #[serde(default, with = "humantime_serde")]
        grace: Duration,
        #[serde(default)]
        peer: Peer,
        #[serde(default)]
        ways: Vec<Way>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Way {
        mode: Mode,
        secret: Option<Secret>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        Auto,
        IfAsked,
        Never,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Secret {
        Value(String),
        Env(String),
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Peer {
        listen: Option<SocketAddr>,
    }

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Sample, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let environment = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        load_from(Some(file.path()), "TOMBOLO_TEST", environment)
    }

    #[test]
    fn environment_overrides_file() {
        let sample = read(
            "name = 'east'\nslots = 2\ngrace = '10s'\n",
            &[
                ("TOMBOLO_TEST_NAME", "007"),
                ("TOMBOLO_TEST_SLOTS", "3"),
                ("TOMBOLO_TEST_PEER__LISTEN", "127.0.0.1:7444"),
                ("TOMBOLO_JOB_ID", "of somebody else"),
            ],
        )
        .unwrap();
        let peer = Peer {
            listen: Some("127.0.0.1:7444".parse().unwrap()),
        };
        let expected = Sample {
            name: "007".to_owned(),
            slots: 3,
            grace: Duration::from_secs(10),
            peer,
            ways: Vec::new(),
        };
        assert_eq!(sample, expected);
    }

    #[test]
    fn choices_are_read() {
        let text = "name = 'a'\n[[ways]]\nmode = 'if_asked'\nsecret.env = 'A'\n[[ways]]\nmode = 'never'\n";
        let ways = vec![
            Way {
                mode: Mode::IfAsked,
                secret: Some(Secret::Env("A".to_owned())),
            },
            Way {
                mode: Mode::Never,
                secret: None,
            },
        ];
        assert_eq!(read(text, &[]).unwrap().ways, ways);
    }

    #[test]
    fn whoever_chooses_what_there_is_not_hears_what_there_is() {
        const MODES: &str = "give `auto`, `if_asked` or `never` for key `ways[0].mode` (";
        const FORMS: &str = ": it must be written as `{ value = ... }` or `{ env = ... }` for key `ways[0].secret` (";
        for (way, words) in [
            ("mode = 'always'", &["`always` is not a choice: ", MODES][..]),
            ("mode = 1", &["`1` is not", MODES]),
            ("mode = { auto = 1 }", &["`auto` is not", MODES]),
            ("mode = { auto = 1, never = 2 }", &["`a table` is not", MODES]),
            ("secret = 'plain'", &[FORMS]),
            ("secret = 'value'", &[FORMS]),
            ("secret = { plain = 'plain' }", &[FORMS]),
            ("secret = { value = 'plain', env = 'A' }", &[FORMS]),
            ("secret = 7", &[FORMS]),
            ("secret = { env = [] }", &["for key `ways[0].secret.env`"]),
            ("modes = 1", &["modes", "for key `ways[0]`"]),
            ("secret.env = 'A'", &["there is no value for key `ways[0].mode`"]),
        ] {
            let message = read(&format!("name = 'a'\n[[ways]]\n{way}\n"), &[])
                .unwrap_err()
                .to_string();
            for word in words {
                assert!(message.contains(word), "{way}: {message:?} lacks {word:?}");
            }
            assert!(!message.contains("plain"), "{message}");
        }
    }

    #[test]
    fn faults_name_key_and_place() {
        for (text, variables, words) in [
            ("", &[][..], &["name"][..]),
            ("name = 'a'\nslot = 1\n", &[], &["slot"]),
            ("name = 'a'\nslots = 'many'\n", &[], &["slots", "many"]),
            ("name = 'a'\n[peer]\nlisen = 1\n", &[], &["peer", "lisen"]),
            ("name = 'a'\ngrace = 'soon'\n", &[], &["grace"]),
            ("name = \n", &[], &["line 1"]),
            (
                "name = 'a'\n",
                &[("TOMBOLO_TEST_SLOT", "1")],
                &["slot", "TOMBOLO_TEST_"],
            ),
            (
                "name = 'a'\n",
                &[("TOMBOLO_TEST_SLOTS", "x")],
                &["slots", "environment"],
            ),
        ] {
            let message = read(text, variables).unwrap_err().to_string();
            for word in words {
                assert!(
                    message.contains(word),
                    "{text:?} {variables:?}: {message:?} lacks {word:?}"
                );
            }
        }
        let missing = load_from::<Sample>(Some(Path::new("/nowhere/agent.toml")), "X", HashMap::new()).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/agent.toml"), "{missing}");
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let mut faults = Faults::default();
        assert_eq!(faults.take("slots", "3".parse::<u32>()), Some(3));
        assert_eq!(faults.clone().finish(Some(1)), Ok(1));
        faults.add("peer.listen", "it is nowhere");
        let one = faults.clone().finish(Some(1)).unwrap_err().to_string();
        assert_eq!(one, "the setting `peer.listen` is not valid: it is nowhere");
        assert_eq!(faults.take("name", Err::<(), _>("it is empty")), None);
        let both = faults.finish::<()>(None).unwrap_err().to_string();
        assert_eq!(
            both,
            "2 settings are not valid:\n  `peer.listen`: it is nowhere\n  `name`: it is empty"
        );
    }
}
