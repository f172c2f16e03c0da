//! What a job can say in files of Tombolo's own, and not in those of InfraBox.

use serde::{Deserialize, Serialize};

use super::retry::Retry;

/// What a job says beyond InfraBox's fields. Most jobs say nothing of it, so it is kept apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extensions {
    /// When it runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

impl Extensions {
    /// As it is kept: in a box, and not at all if it says nothing.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}
