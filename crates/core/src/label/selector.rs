//! Selectors, in the syntax of Kubernetes' label requirements.

use serde::{Deserialize, Serialize};

use super::Labels;

/// A list of requirements that must all hold. An empty one matches every cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selector {
    /// The requirements, in the order of the file.
    pub requirements: Vec<Requirement>,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold for its value.
    pub operator: Operator,
}

/// What must hold for a label's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// `GCP`: the label is there, whatever its value.
    Exists,
    /// `!spot`: the label is not there.
    Missing,
    /// `region in (eu, us)` and `region=eu`: the label is there with one of the values.
    In(Vec<String>),
    /// `tier notin (dev)` and `tier!=dev`: the label is not there, or has none of the values.
    NotIn(Vec<String>),
    /// `gpu>0`: the label's value is a whole number above this one.
    Above(i64),
    /// `gpu<4`: the label's value is a whole number below this one.
    Below(i64),
}

/// A requirement that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at character {position} of `{text}`")]
pub struct ParseSelectorError {
    /// The text of the requirement.
    pub text: String,
    /// Where in it, in characters from 1.
    pub position: usize,
    /// What was expected.
    pub message: String,
}

impl Selector {
    /// Whether all requirements hold for `labels`.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    /// Whether it holds for `labels`.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.operator {
            Operator::Exists => value.is_some(),
            Operator::Missing => value.is_none(),
            Operator::In(values) => value.is_some_and(|value| values.iter().any(|other| other == value)),
            Operator::NotIn(values) => value.is_none_or(|value| values.iter().all(|other| other != value)),
            Operator::Above(bound) => number().is_some_and(|number| number > *bound),
            Operator::Below(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}
