//! What administrators say of the use of a cluster.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which jobs a cluster takes, as an administrator has said. It stays so until somebody says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// All that suit it.
    #[default]
    Open,
    /// No new ones. Those that it has go on.
    Cordoned,
    /// No new ones, but for jobs that could run nowhere else: of builds whose shared volume it has, and those that have to run where another did. Those that
    /// it has go on, and outputs that others wait for are copied elsewhere.
    Draining,
    /// None, and its agent is refused.
    Disabled,
}

impl Availability {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Cordoned, Self::Draining, Self::Disabled];

    /// The name in the store, the API and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for Availability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}
