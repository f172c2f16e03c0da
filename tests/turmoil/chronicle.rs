//! Writes down what happens in a world.

use std::fmt::Display;
use std::sync::{Arc, Mutex};

use tombolo_tests::history::{Fact, History, Recording};

use crate::chance::elapsed;
use crate::pipe::lock;

/// Clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Chronicle(Arc<Mutex<History>>);

impl Chronicle {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(History::new(Recording::Full))))
    }

    pub(crate) fn fact(&self, fact: Fact) {
        lock(&self.0).fact(elapsed(), fact);
    }

    pub(crate) fn note(&self, words: impl Display) {
        lock(&self.0).note(elapsed(), || words.to_string());
    }

    /// Looks at it.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&History) -> R) -> R {
        look(&lock(&self.0))
    }

    /// All of it; nothing is left here.
    pub(crate) fn take(&self) -> History {
        std::mem::replace(&mut lock(&self.0), History::new(Recording::Facts))
    }
}
