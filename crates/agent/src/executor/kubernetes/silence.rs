//! How long nothing was heard of a pod: neither of its node by Kubernetes, nor of its courier by this agent. A kubelet alone that
//! is away is no reason to give up a job that goes on.

use std::time::Duration;

use tokio::time::Instant;

use crate::couriers::Listener;

/// What the silence of a node means now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// The pod itself is heard.
    NodeOnly,
    /// Nothing is heard, which may last until then.
    Until(Instant),
    /// Nothing was heard for too long.
    TooLong,
}

/// The silence around one pod.
pub(super) struct Silences {
    courier: Listener,
    node_since: Option<Instant>,
    limit: Duration,
}

impl Silences {
    pub(super) fn new(courier: Listener, limit: Duration) -> Self {
        Self {
            courier,
            node_since: None,
            limit,
        }
    }

    /// The node is heard.
    pub(super) fn node_answers(&mut self) {
        self.node_since = None;
    }

    /// The node is not heard.
    pub(super) fn node_is_silent(&mut self) -> Silence {
        let node_since = *self.node_since.get_or_insert_with(Instant::now);
        let Some(courier_since) = self.courier.silent_since() else {
            return Silence::NodeOnly;
        };
        let until = node_since.max(courier_since) + self.limit;
        if Instant::now() >= until {
            Silence::TooLong
        } else {
            Silence::Until(until)
        }
    }

    /// Waits until the courier comes or goes.
    pub(super) async fn courier_comes_or_goes(&mut self) {
        self.courier.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::couriers::Contact;

    const LIMIT: Duration = Duration::from_secs(300);

    #[tokio::test(start_paused = true)]
    async fn both_must_be_silent_for_the_whole_time() {
        let contact = Arc::new(Contact::new());
        let mut silences = Silences::new(contact.listen(), LIMIT);
        let heard = contact.heard();
        assert_eq!(silences.node_is_silent(), Silence::NodeOnly);
        tokio::time::advance(LIMIT * 2).await;
        assert_eq!(silences.node_is_silent(), Silence::NodeOnly, "the pod goes on");
        drop(heard);
        silences.courier_comes_or_goes().await;
        assert_eq!(silences.node_is_silent(), Silence::Until(Instant::now() + LIMIT));
        tokio::time::advance(LIMIT - Duration::from_secs(1)).await;
        assert!(matches!(silences.node_is_silent(), Silence::Until(_)));
        silences.node_answers();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(
            silences.node_is_silent(),
            Silence::Until(Instant::now() + LIMIT),
            "it begins anew"
        );
        tokio::time::advance(LIMIT).await;
        assert_eq!(silences.node_is_silent(), Silence::TooLong);
        let _back = contact.heard();
        assert_eq!(silences.node_is_silent(), Silence::NodeOnly);
    }
}
