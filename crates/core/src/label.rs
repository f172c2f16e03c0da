//! Labels of clusters, and the selectors of jobs that they are matched against.

mod selector;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use selector::{Operator, ParseSelectorError, Requirement, Selector};

use crate::name::ClusterName;

/// The key of the label that every cluster has: its own name.
pub const CLUSTER: &str = "cluster";

/// The labels of a cluster. A bare flag such as `GCP` is a label with an empty value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// No labels.
    pub fn new() -> Self {
        Self::default()
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
}
