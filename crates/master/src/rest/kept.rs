//! Which outputs are not kept any more.

use tombolo_core::control::record::{Build, JobNode};
use tombolo_core::time::Timestamp;

/// Why an output is not kept any more, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// Those of the whole build were given up.
    Released(Timestamp),
    /// Its job has it kept for some days only, which are over.
    Expired(Timestamp),
}

impl Removal {
    /// Since when.
    pub(super) const fn at(self) -> Timestamp {
        match self {
            Self::Released(at) | Self::Expired(at) => at,
        }
    }
}

/// Whether the output of a job is not kept any more, whatever else may have become of it.
pub(super) fn removal(build: &Build, node: &JobNode, now: Timestamp) -> Option<Removal> {
    let released = build.released_at.map(Removal::Released);
    let expiry = node.output_expiry(build).filter(|expiry| *expiry <= now);
    released.or(expiry.map(Removal::Expired))
}
