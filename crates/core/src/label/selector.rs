//! Selectors, in the syntax of Kubernetes' label requirements.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Labels, parse};

/// A list of requirements that must all hold. An empty one matches every cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selector {
    /// The requirements, in the order of the file. Shared by all jobs that ask the same: there may be a million of them.
    pub requirements: Arc<[Requirement]>,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold for its value.
    pub operator: Operator,
    /// The job's project requires it, and not the job, whose users cannot leave it out. A requirement that is read from text never has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_project: bool,
}

/// What must hold for a label's value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// The text that was to be read, cut to 100 characters.
    pub text: String,
    /// Where in it, in characters from 1.
    pub position: usize,
    /// What was expected.
    pub message: String,
}

impl Selector {
    /// The longest selector that is read, in bytes: a long key and some sixty values.
    pub const MAX_BYTES: usize = 4096;
    /// The most requirements of one selector: every placement checks them.
    pub const MAX_REQUIREMENTS: usize = 64;

    /// Reads requirements that are separated by commas, as in Kubernetes: `GCP, region in (eu, us), !spot`.
    pub fn parse(text: &str) -> Result<Self, ParseSelectorError> {
        parse::selector(text)
    }

    /// Whether every cluster meets it.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// As well as what it says already.
    pub fn require(&mut self, other: &Self) {
        let new = other.without(self);
        self.requirements = self.requirements.iter().chain(&*new.requirements).cloned().collect();
    }

    /// The requirements that the other one does not have.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let own = self.requirements.iter();
        own.filter(|requirement| !other.requirements.contains(requirement))
            .cloned()
            .collect()
    }

    /// The same, as what a project requires of its jobs.
    #[must_use]
    pub fn by_project(&self) -> Self {
        let own = self.requirements.iter().cloned();
        own.map(|requirement| Requirement {
            by_project: true,
            ..requirement
        })
        .collect()
    }

    /// Whether all requirements hold for `labels`.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }
}

impl FromIterator<Requirement> for Selector {
    fn from_iter<Requirements: IntoIterator<Item = Requirement>>(requirements: Requirements) -> Self {
        let requirements = requirements.into_iter().collect();
        Self { requirements }
    }
}

impl Requirement {
    /// Whether it holds for `labels`.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.holds_for(labels.get(&self.key))
    }

    /// Whether it holds where its label has this value, or is not there.
    pub fn holds_for(&self, value: Option<&str>) -> bool {
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

impl FromStr for Requirement {
    type Err = ParseSelectorError;

    /// Reads one requirement of the syntax that [`Operator`] shows. Space between its parts does not matter.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::requirement(text)
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.operator {
            Operator::Exists => formatter.write_str(key),
            Operator::Missing => write!(formatter, "!{key}"),
            Operator::In(values) => match values.as_slice() {
                [value] => write!(formatter, "{key}={value}"),
                values => write!(formatter, "{key} in ({})", values.join(", ")),
            },
            Operator::NotIn(values) => match values.as_slice() {
                [value] => write!(formatter, "{key}!={value}"),
                values => write!(formatter, "{key} notin ({})", values.join(", ")),
            },
            Operator::Above(bound) => write!(formatter, "{key}>{bound}"),
            Operator::Below(bound) => write!(formatter, "{key}<{bound}"),
        }
    }
}

impl fmt::Display for Selector {
    /// The requirements, separated by commas.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                formatter.write_str(", ")?;
            }
            requirement.fmt(formatter)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn requirements_are_read_and_written_back() {
        for (text, key, operator, written) in [
            ("GCP", "GCP", Operator::Exists, "GCP"),
            (" GCP\t", "GCP", Operator::Exists, "GCP"),
            ("!spot", "spot", Operator::Missing, "!spot"),
            ("! spot", "spot", Operator::Missing, "!spot"),
            ("region=eu", "region", Operator::In(values(&["eu"])), "region=eu"),
            ("region == eu", "region", Operator::In(values(&["eu"])), "region=eu"),
            ("region=", "region", Operator::In(values(&[""])), "region="),
            ("tier!=dev", "tier", Operator::NotIn(values(&["dev"])), "tier!=dev"),
            (
                "region in (eu, us)",
                "region",
                Operator::In(values(&["eu", "us"])),
                "region in (eu, us)",
            ),
            (
                "region in(eu,us)",
                "region",
                Operator::In(values(&["eu", "us"])),
                "region in (eu, us)",
            ),
            (
                "tier notin (dev)",
                "tier",
                Operator::NotIn(values(&["dev"])),
                "tier!=dev",
            ),
            ("gpu>0", "gpu", Operator::Above(0), "gpu>0"),
            ("gpu < 4", "gpu", Operator::Below(4), "gpu<4"),
            ("gpu>-1", "gpu", Operator::Above(-1), "gpu>-1"),
            ("in in (in)", "in", Operator::In(values(&["in"])), "in=in"),
            (
                "example.com/a=b",
                "example.com/a",
                Operator::In(values(&["b"])),
                "example.com/a=b",
            ),
        ] {
            let requirement: Requirement = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(
                requirement,
                Requirement {
                    key: key.to_owned(),
                    operator,
                    by_project: false
                },
                "{text}"
            );
            assert_eq!(requirement.to_string(), written);
        }
    }

    #[test]
    fn errors_say_where_and_what() {
        for (text, position, message) in [
            ("", 1, "expected a label's key, found the end"),
            ("!", 2, "expected a label's key, found the end"),
            ("=eu", 1, "expected a label's key, found `=`"),
            ("ü", 1, "expected a label's key, found `ü`"),
            ("-a=b", 1, "is not a label's key"),
            ("region eu", 8, "expected an operator"),
            ("region=eu us", 11, "expected the end, found `u`"),
            ("region= =eu", 9, "expected the end, found `=`"),
            ("region=-", 8, "is not a label's value"),
            ("région=eu", 2, "expected an operator"),
            ("a!b", 3, "expected `=` after `!`"),
            ("region in", 10, "expected `(`, found the end"),
            ("region in ()", 12, "expected a value, found `)`"),
            ("region in (eu,,us)", 15, "expected a value, found `,`"),
            ("region in (eu", 14, "expected `,` or `)`, found the end"),
            ("region in (eu us)", 15, "expected `,` or `)`, found `u`"),
            ("gpu>many", 5, "expected a whole number, found `m`"),
            ("gpu>=1", 5, "expected a whole number, found `=`"),
            ("gpu>1.5", 5, "expected a whole number"),
            ("gpu>99999999999999999999", 5, "expected a whole number"),
            ("a,b", 2, "one requirement is expected here"),
            ("a\0", 2, "found `\\0`"),
        ] {
            let error = text.parse::<Requirement>().expect_err(text);
            assert_eq!(error.position, position, "{error}");
            assert!(error.message.contains(message), "{error}");
        }
    }

    #[test]
    fn selectors_are_lists_of_requirements() {
        let selector = Selector::parse("GCP, region in (eu, us),!spot").expect("a valid selector");
        assert_eq!(selector.requirements.len(), 3);
        assert_eq!(selector.to_string(), "GCP, region in (eu, us), !spot");
        assert_eq!(Selector::parse("  "), Ok(Selector::default()));
        for (text, position) in [("a,", 3), (",a", 1), ("a,,b", 3), ("a b", 3)] {
            assert_eq!(Selector::parse(text).expect_err(text).position, position, "{text}");
        }
        assert!(Selector::parse(&vec!["a"; Selector::MAX_REQUIREMENTS].join(",")).is_ok());
        assert!(Selector::parse(&vec!["a"; Selector::MAX_REQUIREMENTS + 1].join(",")).is_err());
        assert!(Selector::parse(&" ".repeat(Selector::MAX_BYTES + 1)).is_err());
    }

    #[test]
    fn requirements_match_labels() {
        let labels = Labels::parse(["GCP", "region=eu", "gpu=1", "tier=dev"]).expect("valid labels");
        for (text, expected) in [
            ("GCP", true),
            ("AWS", false),
            ("!spot", true),
            ("!GCP", false),
            ("GCP=", true),
            ("region=eu", true),
            ("region=us", false),
            ("region in (us, eu)", true),
            ("tier!=dev", false),
            ("tier notin (dev, test)", false),
            ("zone notin (a)", true),
            ("gpu>0", true),
            ("gpu>1", false),
            ("gpu<2", true),
            ("region>0", false),
            ("missing<1", false),
        ] {
            let requirement: Requirement = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(requirement.matches(&labels), expected, "{text}");
        }
    }

    fn key() -> impl Strategy<Value = String> {
        "([a-z0-9]{1,9}(\\.[a-z0-9]{1,5}){0,2}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,20}[A-Za-z0-9])?"
    }

    fn value() -> impl Strategy<Value = String> {
        "[A-Za-z0-9]([A-Za-z0-9_.-]{0,20}[A-Za-z0-9])?"
    }

    fn operator() -> impl Strategy<Value = Operator> {
        prop_oneof![
            Just(Operator::Exists),
            Just(Operator::Missing),
            Just(Operator::In(values(&[""]))),
            prop::collection::vec(value(), 1..4).prop_map(Operator::In),
            prop::collection::vec(value(), 1..4).prop_map(Operator::NotIn),
            any::<i64>().prop_map(Operator::Above),
            any::<i64>().prop_map(Operator::Below),
        ]
    }

    fn requirement() -> impl Strategy<Value = Requirement> {
        (key(), operator()).prop_map(|(key, operator)| Requirement {
            key,
            operator,
            by_project: false,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(requirements in prop::collection::vec(requirement(), 0..8)) {
            for requirement in &requirements {
                prop_assert_eq!(requirement.to_string().parse::<Requirement>(), Ok(requirement.clone()));
            }
            let selector = Selector::from_iter(requirements);
            prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
        }

        #[test]
        fn reading_never_panics_and_points_into_the_text(text in "[a-b!=<>(), \\tinotü/0-1.\\x00-]{0,24}") {
            if let Err(error) = Selector::parse(&text) {
                prop_assert!(error.position <= text.chars().count() + 1, "{}", error);
            }
            if let Ok(requirement) = text.parse::<Requirement>() {
                prop_assert_eq!(requirement.to_string().parse::<Requirement>(), Ok(requirement));
            }
        }
    }
}
