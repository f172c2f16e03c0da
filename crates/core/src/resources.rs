//! What jobs need and clusters have.

use serde::{Deserialize, Serialize};

/// Processor and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a processor.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

impl Resources {
    /// What a cluster is said to have that nobody may look into: more than any job asks for.
    pub const UNKNOWN: Self = Self {
        cpu_milli: u64::MAX,
        memory_bytes: u64::MAX,
    };

    /// These, unless they are [`Self::UNKNOWN`].
    pub fn known(self) -> Option<Self> {
        (self != Self::UNKNOWN).then_some(self)
    }

    /// Whether `self` has room for `request`.
    pub const fn fits(&self, request: &Self) -> bool {
        request.cpu_milli <= self.cpu_milli && request.memory_bytes <= self.memory_bytes
    }

    /// What is left of `self`; never below zero.
    #[must_use]
    pub const fn minus(&self, other: &Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_sub(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
        }
    }

    /// The greater of each.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.max(other.cpu_milli),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
        }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }
}
