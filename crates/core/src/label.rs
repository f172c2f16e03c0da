//! Labels of clusters, and the selectors of jobs that they are matched against.

mod change;
mod contradiction;
mod grammar;
mod parse;
mod selector;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use change::Change;
pub use selector::{Operator, ParseSelectorError, Requirement, Selector};

use crate::name::ClusterName;

/// The key of the label that every cluster has: its own name.
pub const CLUSTER: &str = "cluster";

/// Keys that begin with this are for what an agent says of its own nodes.
pub const NODE_PREFIX: &str = "node.";

/// Why nobody can set a label with this key, if so: what it says of a cluster is what the cluster is.
pub fn reserved(key: &str) -> Option<&'static str> {
    if key == CLUSTER {
        return Some("it is the cluster's own name, by which it has joined");
    }
    key.starts_with(NODE_PREFIX)
        .then_some("keys under `node.` are reported by the cluster's agent")
}

/// A label that cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The key does not follow its grammar.
    #[error("`{key}` is not a valid label key: {rule}")]
    Key {
        /// The key, cut to 100 characters.
        key: String,
        /// The rule that it must follow.
        rule: &'static str,
    },
    /// The value does not follow its grammar.
    #[error("`{value}` is not a valid value of label `{key}`: {rule}")]
    Value {
        /// The key.
        key: String,
        /// The value, cut to 100 characters.
        value: String,
        /// The rule that it must follow.
        rule: &'static str,
    },
    /// The key is not for users to set.
    #[error("label `{key}` is reserved: {reason}")]
    Reserved {
        /// The key.
        key: String,
        /// Who sets it.
        reason: &'static str,
    },
    /// The key has been given before.
    #[error("label `{0}` is given twice")]
    Duplicate(String),
    /// There are more than [`Labels::MAX`].
    #[error("a cluster has at most {} labels", Labels::MAX)]
    TooMany,
}

impl Error {
    /// What to give instead.
    pub fn hint(&self) -> String {
        match self {
            Self::Key { .. } => {
                "a label is a key with a value or a bare key: `gpu=8`, `example.com/tier=gold`, `SSD`".to_owned()
            }
            Self::Value { key, .. } => format!("give one like `{key}=eu-west.1`, or the bare key `{key}`"),
            Self::Reserved { key, .. } if key == CLUSTER => {
                "every cluster has this label already, and jobs can ask for it; take another key for a label of yours"
                    .to_owned()
            }
            Self::Reserved { .. } => {
                "it follows the nodes by itself; take a key that does not begin with `node.` for a label of yours"
                    .to_owned()
            }
            Self::Duplicate(key) => format!("give `{key}` once; for several values take several keys"),
            Self::TooMany => "leave out those that no job asks for".to_owned(),
        }
    }
}

/// One label, whose key and value follow the grammar. Written `key=value`, or `FLAG` if the value is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    key: String,
    value: String,
}

impl Label {
    /// Checks the grammar of both. Reserved keys are labels too: only [`Labels`] refuses them.
    pub fn new(key: &str, value: &str) -> Result<Self, Error> {
        if !grammar::is_key(key) {
            return Err(Error::Key {
                key: excerpt(key),
                rule: grammar::KEY_RULE,
            });
        }
        if !grammar::is_value(value) {
            return Err(Error::Value {
                key: key.to_owned(),
                value: excerpt(value),
                rule: grammar::VALUE_RULE,
            });
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value; empty for a bare flag.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for Label {
    type Err = Error;

    /// Reads `key=value` or a bare `FLAG`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        Self::new(key, value)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_label(formatter, &self.key, &self.value)
    }
}

/// The labels of a cluster. A bare flag such as `GCP` is a label with an empty value.
///
/// Deserialization takes what was stored, reserved keys included; what users and agents send goes through
/// [`Labels::insert`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// The most labels that users can give to one cluster: every placement reads them.
    pub const MAX: usize = 64;

    /// No labels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Labels that a user gives, as keys and values. Refuses what [`Labels::insert`] refuses.
    pub fn from_pairs<Key: AsRef<str>, Value: AsRef<str>>(
        pairs: impl IntoIterator<Item = (Key, Value)>,
    ) -> Result<Self, Error> {
        let mut labels = Self::new();
        for (key, value) in pairs {
            labels.insert(key.as_ref(), value.as_ref())?;
        }
        Ok(labels)
    }

    /// Labels that a user gives, each as `key=value` or a bare `FLAG`. Refuses what [`Labels::insert`] refuses.
    pub fn parse<Text: AsRef<str>>(texts: impl IntoIterator<Item = Text>) -> Result<Self, Error> {
        let mut labels = Self::new();
        for text in texts {
            let label: Label = text.as_ref().parse()?;
            labels.insert(&label.key, &label.value)?;
        }
        Ok(labels)
    }

    /// Adds a label that a user gives. Refuses keys and values outside the grammar, the reserved keys (`cluster` and
    /// all that begin with `node.`), a key that is there already, and more labels than [`Labels::MAX`].
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let Label { key, value } = Label::new(key, value)?;
        if let Some(reason) = reserved(&key) {
            return Err(Error::Reserved { key, reason });
        }
        if self.0.contains_key(&key) {
            return Err(Error::Duplicate(key));
        }
        if self.0.len() >= Self::MAX {
            return Err(Error::TooMany);
        }
        self.0.insert(key, value);
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value of `key`; empty for a bare flag, none if there is no such label.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All labels, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// These labels and the implied `cluster=<name>`, which nobody else can set.
    #[must_use]
    pub fn with_cluster(mut self, name: &ClusterName) -> Self {
        self.0.insert(CLUSTER.to_owned(), name.to_string());
        self
    }

    /// These labels and what the cluster's agent found out, under `node.`: the fact `os=linux` as `node.os=linux`.
    #[must_use]
    pub fn with_facts(mut self, facts: &Self) -> Self {
        self.0.extend(
            facts
                .iter()
                .map(|(key, value)| (format!("{NODE_PREFIX}{key}"), value.to_owned())),
        );
        self
    }
}

impl fmt::Display for Labels {
    /// All labels, by key, separated by commas: `GCP,region=eu`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.iter().enumerate() {
            if index > 0 {
                formatter.write_str(",")?;
            }
            write_label(formatter, key, value)?;
        }
        Ok(())
    }
}

fn write_label(formatter: &mut fmt::Formatter<'_>, key: &str, value: &str) -> fmt::Result {
    match value {
        "" => formatter.write_str(key),
        value => write!(formatter, "{key}={value}"),
    }
}

/// The beginning of a text that somebody sent, short enough for a message and without control characters.
fn excerpt(text: &str) -> String {
    let clean = |character: char| {
        if character.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            character
        }
    };
    text.chars().take(100).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_and_written_back() {
        for (text, key, value, written) in [
            ("GCP", "GCP", "", "GCP"),
            ("GCP=", "GCP", "", "GCP"),
            ("region=eu", "region", "eu", "region=eu"),
            ("gpu=1", "gpu", "1", "gpu=1"),
            (
                "example.com/tier=dev_1.a-b",
                "example.com/tier",
                "dev_1.a-b",
                "example.com/tier=dev_1.a-b",
            ),
            ("cluster=west", "cluster", "west", "cluster=west"),
        ] {
            let label: Label = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((label.key(), label.value()), (key, value), "{text}");
            assert_eq!(label.to_string(), written);
        }
    }

    #[test]
    fn labels_outside_the_grammar_are_refused() {
        let long_name = "a".repeat(64);
        let long_prefix = format!("{}/a", "a".repeat(254));
        for (key, value, expected) in [
            ("", "", "key"),
            ("-a", "", "key"),
            ("a-", "", "key"),
            ("a b", "", "key"),
            ("ü", "", "key"),
            ("a\0", "", "key"),
            (long_name.as_str(), "", "key"),
            (long_prefix.as_str(), "", "key"),
            ("/a", "", "key"),
            ("a/", "", "key"),
            ("a/b/c", "", "key"),
            ("Upper.Case/a", "", "key"),
            ("a..b/a", "", "key"),
            ("a", "-", "value"),
            ("a", "x y", "value"),
            ("a", "b=c", "value"),
            ("a", long_name.as_str(), "value"),
            ("cluster", "east", "reserved"),
            ("node.os", "linux", "reserved"),
            ("node.example.com/os", "linux", "reserved"),
        ] {
            let error = Labels::new().insert(key, value).expect_err(key);
            let found = match error {
                Error::Key { .. } => "key",
                Error::Value { .. } => "value",
                Error::Reserved { .. } => "reserved",
                Error::Duplicate(_) | Error::TooMany => "other",
            };
            assert_eq!(found, expected, "{key:?} = {value:?}");
        }
        assert!(Labels::new().insert(&"a".repeat(63), &"b".repeat(63)).is_ok());
        assert!(
            Labels::new().insert("node", "x").is_ok(),
            "only what is under `node.` is reserved"
        );
    }

    #[test]
    fn a_key_is_given_once_and_the_number_is_bounded() {
        assert_eq!(Labels::parse(["a=1", "a=1"]), Err(Error::Duplicate("a".to_owned())));
        let many = |count: usize| (0..count).map(|number| (format!("k{number}"), "v"));
        assert_eq!(
            Labels::from_pairs(many(Labels::MAX)).map(|labels| labels.len()),
            Ok(Labels::MAX)
        );
        assert_eq!(Labels::from_pairs(many(Labels::MAX + 1)), Err(Error::TooMany));
    }

    #[test]
    fn facts_cannot_take_the_place_of_labels() {
        let facts = Labels::from_pairs([("os", "linux"), ("region", "us")]).expect("valid facts");
        let labels = Labels::parse(["region=eu"]).expect("valid labels").with_facts(&facts);
        assert_eq!(labels.to_string(), "node.os=linux,node.region=us,region=eu");
    }

    #[test]
    fn labels_are_shown_by_key() {
        let labels = Labels::parse(["region=eu", "GCP", "gpu=1"]).expect("valid labels");
        assert_eq!(labels.to_string(), "GCP,gpu=1,region=eu");
        assert_eq!(Labels::new().to_string(), "");
    }
}
