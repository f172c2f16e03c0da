//! Why attempts do not go on, as their executor last said.
//!
//! It owns the words, bounded, of attempts that are held up now; the master keeps none of it durable, so that all is said again
//! on every connection. It never says anything of an attempt that the session does not have.

use std::collections::BTreeMap;

use crate::id::AttemptId;
use crate::session::AgentFrame;

/// The longest reason, in bytes.
const REASON_LIMIT: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Waits(BTreeMap<AttemptId, String>);

impl Waits {
    /// Takes in a reason, or (if it is empty) that there is none. Gives what the master is to be told, if that is news.
    pub(super) fn set(&mut self, attempt: AttemptId, mut reason: String) -> Option<AgentFrame> {
        reason.truncate(reason.floor_char_boundary(REASON_LIMIT));
        let is_news = if reason.is_empty() {
            self.0.remove(&attempt).is_some()
        } else {
            self.0.insert(attempt, reason.clone()).as_ref() != Some(&reason)
        };
        is_news.then_some(AgentFrame::Waits { attempt, reason })
    }

    /// All of it, for a new connection.
    pub(super) fn frames(&self) -> impl Iterator<Item = AgentFrame> {
        self.0.iter().map(|(attempt, reason)| AgentFrame::Waits {
            attempt: *attempt,
            reason: reason.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Epoch, JobId};

    const ATTEMPT: AttemptId = AttemptId {
        job: JobId::from_u128(1),
        epoch: Epoch(1),
    };

    fn frame(reason: &str) -> AgentFrame {
        AgentFrame::Waits {
            attempt: ATTEMPT,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn only_news_is_told_and_all_of_it_again() {
        let mut waits = Waits::default();
        let mut set = |reason: &str| waits.set(ATTEMPT, reason.to_owned());
        assert_eq!(set(""), None);
        assert_eq!(set("a node"), Some(frame("a node")));
        assert_eq!(set("a node"), None);
        assert_eq!(set("an image"), Some(frame("an image")));
        assert_eq!(waits.frames().collect::<Vec<_>>(), [frame("an image")]);
        assert_eq!(waits.set(ATTEMPT, String::new()), Some(frame("")));
        assert_eq!(waits.frames().count(), 0);
        let long = waits.set(ATTEMPT, "é".repeat(1000));
        assert_eq!(long, Some(frame(&"é".repeat(512))));
    }
}
