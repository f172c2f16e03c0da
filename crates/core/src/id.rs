//! Typed identifiers. Two kinds of id cannot be confused, and none is ever made here: the caller brings the bits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An identifier in a text that is not a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind} id")]
pub struct ParseIdError {
    /// What was to be identified.
    pub kind: &'static str,
    /// The text that was given.
    pub text: String,
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID. Time-ordered UUIDs (version 7) keep database indexes compact.
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// An id from 128 given bits, for simulations and tests.
            pub const fn from_u128(bits: u128) -> Self {
                Self(Uuid::from_u128(bits))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($kind, "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self).map_err(|_| ParseIdError { kind: $kind, text: text.to_owned() })
            }
        }
    };
}

typed_id!(
    /// A project: the owner of builds, secrets, caches and rights.
    ProjectId, "project"
);
typed_id!(
    /// One submission of a job file.
    BuildId, "build"
);
typed_id!(
    /// A node of a build's graph.
    JobId, "job"
);
typed_id!(
    /// A byte stream between two members.
    TunnelId, "tunnel"
);
typed_id!(
    /// The one-time right of a cluster to join.
    InviteId, "invite"
);
typed_id!(
    /// A user's access token (its name, not its secret).
    TokenId, "token"
);

/// The fencing number of an attempt: 1 for the first, one more for each that replaces it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch of the attempt that replaces this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// One execution of a job on one cluster. Written `<job>.<epoch>`; pods and folders carry this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The job that is executed.
    pub job: JobId,
    /// Which execution of it.
    pub epoch: Epoch,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.job, self.epoch)
    }
}

impl FromStr for AttemptId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || ParseIdError {
            kind: "attempt",
            text: text.to_owned(),
        };
        let (job, epoch) = text.split_once('.').ok_or_else(invalid)?;
        Ok(Self {
            job: job.parse()?,
            epoch: Epoch(epoch.parse().map_err(|_| invalid())?),
        })
    }
}

/// One life of the link between an agent and the master. A new one is given at each hello, higher than all before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);
