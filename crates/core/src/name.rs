//! Names that users choose. Each kind has its grammar, and a value of the type satisfies it.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name that does not follow its grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a valid {kind} name: {rule}")]
pub struct InvalidName {
    /// What was to be named.
    pub kind: &'static str,
    /// The name that was given, cut to 100 characters.
    pub name: String,
    /// The rule that it must follow.
    pub rule: &'static str,
}

macro_rules! typed_name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The grammar in words.
            pub const RULE: &'static str = $rule;

            /// Checks the grammar.
            pub fn new(name: &str) -> Result<Self, InvalidName> {
                if $valid(name) {
                    Ok(Self(Arc::from(name)))
                } else {
                    Err(InvalidName { kind: $kind, name: name.chars().take(100).collect(), rule: $rule })
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, Self::Error> {
                Self::new(&name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

typed_name!(
    /// The name of a cluster; also the last segment of its SPIFFE name and a DNS label.
    ClusterName, "cluster", "1 to 63 of a-z, 0-9 and `-`, beginning and ending with a letter or digit", is_dns_label
);
typed_name!(
    /// The name of a project.
    ProjectName, "project", "1 to 63 of a-z, 0-9 and `-`, beginning and ending with a letter or digit", is_dns_label
);
typed_name!(
    /// The name of a job within its build; expanded jobs are named `parent/child`.
    JobName, "job", "1 to 255 of a-z, 0-9, `_` and `-`, in segments separated by `/`", is_job_name
);
typed_name!(
    /// The name of a secret of a project. The rule is InfraBox's.
    SecretName, "secret", "1 to 255 of a-z, A-Z, 0-9 and `_`", is_secret_name
);
typed_name!(
    /// The name of a trigger of a project.
    TriggerName, "trigger", "1 to 63 of a-z, 0-9 and `-`, beginning and ending with a letter or digit", is_dns_label
);

impl JobName {
    /// The part after the last `/`: the folder under `inputs/` that a child finds this job's output in.
    pub fn last_segment(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Whether the job was expanded for `outer`: its name is `outer/...`.
    pub fn is_within(&self, outer: &Self) -> bool {
        self.0.strip_prefix(&*outer.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The name of an index of the array with this name.
    ///
    /// # Errors
    /// If it becomes too long.
    pub fn of_index(&self, index: u32) -> Result<Self, InvalidName> {
        Self::new(&format!("{self}/{index}"))
    }

    /// The name of the array, and the index, if this is the name of one.
    pub fn array_and_index(&self) -> Option<(&str, u32)> {
        let (array, index) = self.0.rsplit_once('/')?;
        let number: u32 = index.parse().ok()?;
        // As it is written: neither `+1` nor `01`.
        (number.to_string() == index).then_some((array, number))
    }

    /// The name of this job when it is expanded for `outer`.
    ///
    /// # Errors
    /// If it becomes too long.
    pub fn within(&self, outer: &Self) -> Result<Self, InvalidName> {
        Self::new(&format!("{outer}/{self}"))
    }
}

fn is_dns_label(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn is_job_name(name: &str) -> bool {
    name.len() <= 255
        && name.split('/').all(|segment| {
            !segment.is_empty()
                && segment
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
        })
}

fn is_secret_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=255).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammars() {
        for (name, cluster, job) in [
            ("east", true, true),
            ("a", true, true),
            ("a-b", true, true),
            ("-a", false, true),
            ("a_b", false, true),
            ("a/b", false, true),
            ("a//b", false, false),
            ("", false, false),
            ("East", false, false),
            ("a\0", false, false),
        ] {
            assert_eq!(ClusterName::new(name).is_ok(), cluster, "cluster {name:?}");
            assert_eq!(JobName::new(name).is_ok(), job, "job {name:?}");
        }
        for (name, index) in [
            ("a/0", Some(("a", 0))),
            ("a/b/17", Some(("a/b", 17))),
            ("a/01", None),
            ("a/b", None),
            ("17", None),
            ("a/4294967296", None),
        ] {
            assert_eq!(JobName::new(name).unwrap().array_and_index(), index, "{name}");
        }
        assert_eq!(JobName::new("a").unwrap().of_index(7).unwrap().as_str(), "a/7");
        assert!(ClusterName::new(&"a".repeat(64)).is_err());
        assert!(JobName::new(&"a".repeat(256)).is_err());
    }
}
