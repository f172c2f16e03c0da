//! How builds stand that have come to their hooks.

use tombolo_core::attempt::{BuildOutcome, ParentJob};

use super::Error;
use super::phase::terminal_state;
use crate::agent::v1 as wire;

impl From<BuildOutcome> for wire::BuildOutcome {
    fn from(outcome: BuildOutcome) -> Self {
        Self {
            state: wire::TerminalState::from(outcome.state).into(),
            failed: outcome.failed.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::BuildOutcome> for BuildOutcome {
    type Error = Error;

    fn try_from(outcome: wire::BuildOutcome) -> Result<Self, Error> {
        let failed = outcome.failed.into_iter().take(Self::MAX_FAILED);
        Ok(Self {
            state: terminal_state(outcome.state, "BuildOutcome.state")?,
            failed: failed.map(ParentJob::try_from).collect::<Result<_, _>>()?,
        })
    }
}
