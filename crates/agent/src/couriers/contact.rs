//! Whether the courier of an attempt is heard.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

/// Who speaks for a pod, and since when nobody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Voices {
    sessions: usize,
    since: Instant,
}

/// The sessions of one attempt's courier, counted.
#[derive(Debug)]
pub(crate) struct Contact(watch::Sender<Voices>);

impl Contact {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Voices {
            sessions: 0,
            since: Instant::now(),
        }))
    }

    /// The courier is heard until the answer is dropped.
    pub(crate) fn heard(self: &Arc<Self>) -> Heard {
        self.change(|sessions| sessions + 1);
        Heard(Arc::clone(self))
    }

    /// Tells of it from now on.
    pub(crate) fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }

    fn change(&self, change: impl FnOnce(usize) -> usize) {
        self.0.send_modify(|voices| {
            voices.sessions = change(voices.sessions);
            voices.since = Instant::now();
        });
    }
}

/// As long as this lives, the courier is heard.
pub(crate) struct Heard(Arc<Contact>);

impl Drop for Heard {
    fn drop(&mut self) {
        self.0.change(|sessions| sessions.saturating_sub(1));
    }
}

/// Hears whether a courier is heard.
#[derive(Debug, Clone)]
pub struct Listener(watch::Receiver<Voices>);

impl Listener {
    /// Since when nobody was heard; nothing while the courier is.
    pub fn silent_since(&mut self) -> Option<Instant> {
        let voices = *self.0.borrow_and_update();
        (voices.sessions == 0).then_some(voices.since)
    }

    /// Waits until the answer to [`Self::silent_since`] may be another.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody will ever be heard again.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_courier_is_silent_from_the_end_of_its_last_session() {
        let contact = Arc::new(Contact::new());
        let mut listener = contact.listen();
        let began = Instant::now();
        assert_eq!(listener.silent_since(), Some(began));
        let first = contact.heard();
        listener.changed().await;
        assert_eq!(listener.silent_since(), None);
        let second = contact.heard();
        tokio::time::advance(Duration::from_secs(7)).await;
        drop(first);
        assert_eq!(listener.silent_since(), None, "another session goes on");
        tokio::time::advance(Duration::from_secs(3)).await;
        drop(second);
        assert_eq!(listener.silent_since(), Some(began + Duration::from_secs(10)));
    }
}
