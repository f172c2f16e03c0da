//! Asks the agent how long a command may go on that ends with its cluster's lease.
//!
//! The lease is counted here from before the question was sent, so that it never ends later than the agent's own, whatever the way between them does.

use std::time::Duration;

use http::HeaderValue;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::courier_client::CourierClient;
use tombolo_runtime::clock;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::observer::Wish;
use super::session::Authorized;
use crate::link::Granted;

/// How long one answer is waited for: a late one is of less use than the next.
const DEADLINE: Duration = Duration::from_secs(3);
/// How often is asked in the time of one lease.
const TIMES: u32 = 10;
/// The bounds of the pause between two questions.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// Asks for as long as the command may run.
pub(super) struct Tenure {
    client: CourierClient<InterceptedService<Channel, Authorized>>,
    wish: watch::Sender<Wish>,
}

impl Tenure {
    pub(super) fn new(agent: Channel, authorization: HeaderValue, wish: watch::Sender<Wish>) -> Self {
        Self {
            client: CourierClient::with_interceptor(agent, Authorized(authorization)),
            wish,
        }
    }

    /// For ever: what ends a courier is its supervisor.
    pub(super) async fn run(mut self) {
        let mut wishes = self.wish.subscribe();
        // The sender lives as long as this value.
        let _ = wishes.wait_for(|wish| wish.begin && wish.exclusive).await;
        loop {
            let asked_at = clock::now().steady;
            let answer = timeout(DEADLINE, self.client.hold_lease(wire::HoldLeaseRequest {})).await;
            match answer {
                Ok(Ok(answer)) => self.take(asked_at, answer.get_ref()),
                Ok(Err(status)) => tracing::warn!(%status, "the agent does not say how long the command may go on"),
                Err(_) => tracing::warn!("the agent does not say in time how long the command may go on"),
            }
            let length = wishes.borrow().lease.map(|lease| lease.length).unwrap_or_default();
            sleep((length / TIMES).clamp(PAUSES.0, PAUSES.1)).await;
        }
    }

    fn take(&self, asked_at: Duration, answer: &wire::HoldLeaseResponse) {
        if answer.remaining_milliseconds == 0 {
            return;
        }
        let lease = Granted {
            until: asked_at.saturating_add(Duration::from_millis(answer.remaining_milliseconds)),
            length: Duration::from_millis(answer.length_milliseconds),
        };
        self.wish.send_modify(|wish| wish.lease = Some(lease));
    }
}
