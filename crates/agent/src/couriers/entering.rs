//! Commands that are wanted beside that of an attempt, until its courier attends to them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::exec::{Failure, Far, Reason, Request};

/// How many may wait for one courier.
const LIMIT: usize = 16;

/// Those that wait, by their numbers.
#[derive(Default)]
pub(super) struct Entering {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    waiting: BTreeMap<u64, Entrant>,
}

/// One that waits.
pub(super) struct Entrant {
    pub(super) request: Request,
    pub(super) far: Far,
    pub(super) attended: oneshot::Sender<()>,
}

impl Entering {
    /// Lets one more wait, under a number of its own, each larger than those before.
    pub(super) fn add(&self, entrant: Entrant) -> Result<u64, Failure> {
        let mut state = self.lock();
        if state.waiting.len() >= LIMIT {
            let message = "too many commands wait for the job's pod to start them";
            return Err(Failure::new(Reason::TooMany, message));
        }
        state.last += 1;
        let number = state.last;
        state.waiting.insert(number, entrant);
        Ok(number)
    }

    /// Takes the one of this number, if it still waits.
    pub(super) fn take(&self, number: u64) -> Option<Entrant> {
        self.lock().waiting.remove(&number)
    }

    /// The numbers of those that wait, as far as they are larger than this one.
    pub(super) fn after(&self, number: u64) -> Vec<u64> {
        let state = self.lock();
        state
            .waiting
            .range(number.saturating_add(1)..)
            .map(|(number, _)| *number)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
