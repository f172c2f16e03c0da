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

impl JobId {
    /// Set in the ids of an array's indexes, and in no other: the highest bit of a UUID's version.
    const OF_INDEX: u128 = 1 << 79;
    /// What the version of an array's own id is turned into, and back.
    const VERSION: u128 = 0xF << 76;
    /// The part that says which index it is.
    const INDEX: u128 = u32::MAX as u128;

    /// This id as that of an array: it leaves room for the indexes.
    #[must_use]
    pub const fn for_array(self) -> Self {
        Self::from_u128(self.0.as_u128() & !Self::INDEX)
    }

    /// The id of an index of the array that has this id (see [`Self::for_array`]). It says whose it is, so that nobody has to look
    /// that up: a UUID of version 8.
    #[must_use]
    pub const fn of_index(self, index: u32) -> Self {
        Self::from_u128((self.for_array().0.as_u128() ^ Self::VERSION) | index as u128)
    }

    /// The array and the index that this is the id of; none for jobs that are no index of an array.
    pub const fn array_and_index(self) -> Option<(Self, u32)> {
        let bits = self.0.as_u128();
        if bits & Self::OF_INDEX == 0 {
            return None;
        }
        let array = Self::from_u128((bits & !Self::INDEX) ^ Self::VERSION);
        Some((array, (bits & Self::INDEX) as u32))
    }

    /// The job whose specification it has: the array of an index, and every other job itself.
    #[must_use]
    pub const fn specified_by(self) -> Self {
        match self.array_and_index() {
            Some((array, _)) => array,
            None => self,
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_indexes_say_whose_they_are() {
        for text in [
            "018f3c8e-1234-7abc-9def-0123456789ab",
            "00000000-0000-0000-0000-000000000000",
            "018f3c8e-1234-4abc-9def-ffffffffffff",
        ] {
            let id: JobId = text.parse().unwrap();
            assert_eq!(id.array_and_index(), None, "{text}");
            let array = id.for_array();
            assert_eq!((array.array_and_index(), array.for_array()), (None, array));
            for index in [0, 1, 99_999, u32::MAX] {
                let of_index = array.of_index(index);
                assert_eq!(of_index.array_and_index(), Some((array, index)), "{text}");
                assert_eq!(of_index.specified_by(), array);
            }
            assert!(
                array.of_index(9) < array.of_index(10),
                "they are in the order of the indexes"
            );
        }
        let array: JobId = "018f3c8e-1234-7abc-9def-012300000000".parse().unwrap();
        assert_eq!(array.of_index(17).to_string(), "018f3c8e-1234-8abc-9def-012300000011");
    }
}
