//! Jobs of a build that run when the others are over.

use serde::{Deserialize, Serialize};

use super::extensions::Extensions;
use super::{JobSpec, TerminalState};

/// When a job runs that is not one of those that the build is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// When these are over, and the build would end as `error` or `failure`.
    OnError,
    /// When all others are over, however they ended.
    After,
}

impl Hook {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 2] = [Self::OnError, Self::After];

    /// The name in job files and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnError => "on_error",
            Self::After => "after",
        }
    }

    /// Whether it has something to do in a build that would end like this without it.
    pub const fn is_called_by(self, state: TerminalState) -> bool {
        match self {
            Self::OnError => matches!(state, TerminalState::Error | TerminalState::Failure),
            Self::After => true,
        }
    }
}

impl Extensions {
    /// Of a job that says nothing of it, none.
    pub fn hook_of(extensions: Option<&Self>) -> Option<Hook> {
        extensions?.hook
    }
}

impl JobSpec {
    /// The list of hooks that it is in, if it is in one.
    pub fn hook(&self) -> Option<Hook> {
        Extensions::hook_of(self.extensions.as_deref())
    }

    /// Puts it into a list of hooks, if it is to be in one.
    pub fn set_hook(&mut self, hook: Option<Hook>) {
        if let Some(hook) = hook {
            self.extensions.get_or_insert_default().hook = Some(hook);
        }
    }
}
